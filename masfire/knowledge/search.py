"""Exact search in memory: words by BM25 and vectors by cosine, over up to some hundred thousand entries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from masfire.knowledge.embedding import Vectors, words_of

K1, B = 1.2, 0.75
"""The usual constants of BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009)."""


class LexicalIndex:
    """BM25 over documents numbered by order of addition; `remove` takes one out of all later answers.

    Documents are split into words when somebody first asks, so that opening a large memory does not wait
    for it; postings are packed into arrays when their term is next asked for, so that a query costs the
    length of its postings.
    """

    def __init__(self) -> None:
        self._lists: dict[str, tuple[list[int], list[int]]] = {}
        self._packed: dict[str, tuple[Any, Any]] = {}
        self._lengths: list[int] = []
        self._waiting: list[str] = []
        self._gone: set[int] = set()
        self._total = 0
        self._norms: Any = None

    def __len__(self) -> int:
        return len(self._lengths) + len(self._waiting) - len(self._gone)

    def add(self, text: str) -> int:
        """Add a document; return its number."""
        self._waiting.append(text)
        return len(self._lengths) + len(self._waiting) - 1

    def _read(self) -> None:
        """Split the documents that wait."""
        for text in self._waiting:
            number = len(self._lengths)
            words = words_of(text)
            for word, count in Counter(words).items():
                documents, counts = self._lists.setdefault(word, ([], []))
                documents.append(number)
                counts.append(count)
                self._packed.pop(word, None)
            self._lengths.append(len(words))
            self._total += len(words)
            self._norms = None
        self._waiting.clear()

    def remove(self, number: int) -> None:
        """Leave a document out of all later answers."""
        self._read()
        if 0 <= number < len(self._lengths) and number not in self._gone:
            self._gone.add(number)
            self._total -= self._lengths[number]

    def scores(self, query: str) -> Any:
        """Return one score a document in 0..1, float32: its share of what a full match would get.

        1.0 is a document of mean length that holds each word of the query (known or not) once.
        """
        import numpy as np

        self._read()
        size = len(self._lengths)
        scores = np.zeros(size, dtype=np.float32)
        alive = len(self)
        if not alive:
            return scores
        if self._norms is None:
            mean = max(self._total / alive, 1.0)
            lengths = np.asarray(self._lengths, dtype=np.float32)
            self._norms = K1 * (1.0 - B + B * lengths / mean)
        best = 0.0
        for word in set(words_of(query)):
            documents, counts = self._postings(word)
            found = 0 if documents is None else len(documents)
            weight = math.log(1.0 + (alive - min(found, alive) + 0.5) / (found + 0.5))
            best += weight
            if documents is not None:
                scores[documents] += weight * (K1 + 1.0) * counts / (counts + self._norms[documents])
        if self._gone:
            scores[list(self._gone)] = 0.0
        return np.minimum(scores / best, 1.0) if best else scores

    def _postings(self, word: str) -> tuple[Any, Any]:
        import numpy as np

        found = self._packed.get(word)
        if found is None:
            lists = self._lists.get(word)
            if lists is None:
                return None, None
            found = self._packed[word] = (
                np.asarray(lists[0], dtype=np.int64),
                np.asarray(lists[1], dtype=np.float32),
            )
        return found


class VectorIndex:
    """Cosine similarity over unit vectors.

    Kept one dimension after the other, so that a query that is zero in most dimensions (a hashed bag of
    words is) costs only the others.
    """

    def __init__(self, dimensions: int) -> None:
        import numpy as np

        self._columns = np.zeros((dimensions, 64), dtype=np.float32)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, vectors: Vectors) -> None:
        """Add rows of shape (n, dimensions)."""
        import numpy as np

        needed = self._size + len(vectors)
        dimensions, room = self._columns.shape
        if needed > room:
            grown = np.zeros((dimensions, max(needed, 2 * room)), dtype=np.float32)
            grown[:, : self._size] = self._columns[:, : self._size]
            self._columns = grown
        self._columns[:, self._size : needed] = np.asarray(vectors).T
        self._size = needed

    def remove(self, number: int) -> None:
        """Leave a row out of all later answers (it becomes similar to nothing)."""
        self._columns[:, number] = 0.0

    def row(self, number: int) -> Any:
        """Return one stored vector, shape (dimensions,)."""
        return self._columns[:, number].copy()

    def scores(self, query: Any) -> Any:
        """Return the cosine of `query`, shape (dimensions,), with each row: float32 in -1..1."""
        import numpy as np

        columns = self._columns[:, : self._size]
        used = np.flatnonzero(query)
        if len(used) > len(query) // 2:
            return np.asarray(query, dtype=np.float32) @ columns
        total = np.zeros(self._size, dtype=np.float32)
        part = np.empty_like(total)
        for dimension in used:
            np.multiply(columns[dimension], np.float32(query[dimension]), out=part)
            total += part
        return total


def best(scores: Any, k: int) -> Sequence[int]:
    """Return the numbers of the `k` largest scores, largest first; ties go to the smaller number."""
    import numpy as np

    if k < len(scores):
        at_least = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= at_least)
    else:
        candidates = np.arange(len(scores))
    order = np.lexsort((candidates, -scores[candidates]))
    return [int(number) for number in candidates[order][:k]]
