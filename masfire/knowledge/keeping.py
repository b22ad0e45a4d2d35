"""Vectors that a store keeps, so that opening a memory embeds only what is new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable
from zlib import crc32

from masfire.knowledge.embedding import Embedder, Vectors

FEW = 64
"""So few documents are embedded sooner than all kept vectors are read."""


@runtime_checkable
class KeepsVectors(Protocol):
    """A store that keeps vectors beside the schemata (SQLite); a cache that may be deleted at any time."""

    def vectors(self, embedder: str) -> dict[str, tuple[int, bytes]]:
        """Return id → (CRC-32 of its document, float32 vector) as an embedder of this name made them."""

    def keep_vectors(self, embedder: str, vectors: Iterable[tuple[str, int, bytes]]) -> None:
        """Keep (id, CRC-32 of the document, float32 vector) for the next opening."""


def kept_or_made(
    store: KeepsVectors, embedder: Embedder, ids: Sequence[str], documents: Sequence[str]
) -> Vectors:
    """Return one unit vector a document: kept ones of the same text and size, the others made and kept."""
    import numpy as np

    marks = [crc32(document.encode("utf-8", "surrogatepass")) for document in documents]
    kept = store.vectors(embedder.name) if len(documents) > FEW else {}
    size = embedder.dimensions * 4
    missing = []
    rows = np.zeros((len(ids), embedder.dimensions), dtype=np.float32)
    for number, (entry, mark) in enumerate(zip(ids, marks, strict=True)):
        known = kept.get(entry)
        if known is None or known[0] != mark or len(known[1]) != size:
            missing.append(number)
        else:
            rows[number] = np.frombuffer(known[1], dtype="<f4")
    if missing:
        made = embedder.embed([documents[number] for number in missing])
        rows[missing] = made
        store.keep_vectors(
            embedder.name,
            (
                (ids[number], marks[number], made[place].astype("<f4").tobytes())
                for place, number in enumerate(missing)
            ),
        )
    return rows
