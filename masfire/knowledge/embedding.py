"""Text as a vector: a hashed bag of words by default, any embedding model behind the same protocol."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from zlib import crc32

if TYPE_CHECKING:
    import numpy as np

Vectors: TypeAlias = "np.ndarray[Any, Any]"
"""float32 of shape (texts, dimensions), each row of length 1 (or 0 for a text without words)."""

_WORD = re.compile(r"[a-z0-9_:+.\-]{2,40}")
MAX_WORDS = 4_000
"""Words of a text that are looked at; later ones do not count."""


class Embedder(Protocol):
    """Turns texts into unit vectors; equal texts give equal vectors."""

    @property
    def name(self) -> str:
        """Return a name that changes whenever its vectors would."""

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, float32 of shape (texts, dimensions)."""


def words_of(text: str) -> list[str]:
    """Return the lower-case words of a text, in order, at most `MAX_WORDS`."""
    words = []
    for match in _WORD.finditer(text.lower()):
        word = match[0].strip(".:-")
        if len(word) > 1:
            words.append(word)
            if len(words) == MAX_WORDS:
                break
    return words


class HashEmbedder:
    """Words and pairs of neighbouring words, hashed to a fixed number of signed dimensions.

    Needs no model and no vocabulary; the same text gives the same vector on every machine. Counts are
    damped (1 + log n), so that repeating a word buys little.
    """

    def __init__(self, dimensions: int = 384) -> None:
        self._dimensions = dimensions

    @property
    def name(self) -> str:
        """Return the name with the number of dimensions."""
        return f"hash-{self._dimensions}"

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text."""
        import numpy as np

        matrix = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            words = words_of(text)
            counts = Counter(words)
            counts.update(f"{first} {second}" for first, second in itertools.pairwise(words))
            for term, count in counts.items():
                code = crc32(term.encode())
                weight = (1.0 + float(np.log(count))) * (0.5 if " " in term else 1.0)
                matrix[row, code % self._dimensions] += weight if code & 0x8000_0000 else -weight
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        np.divide(matrix, lengths, out=matrix, where=lengths > 0)
        return matrix
