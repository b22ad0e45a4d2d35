"""The memory at work: it recalls, merges, recognises errors in a trace, and forgets."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from masfire.diagnosis.model import Recognition, Recognizer
from masfire.knowledge.embedding import Embedder, HashEmbedder, Vectors
from masfire.knowledge.keeping import KeepsVectors, kept_or_made
from masfire.knowledge.likeness import blend, merge, rarities, resemblance, similarity, window_document
from masfire.knowledge.model import ErrorSchema
from masfire.knowledge.search import LexicalIndex, VectorIndex, best
from masfire.knowledge.store import Store
from masfire.knowledge.traits import Traits, traits_of

if TYPE_CHECKING:
    from masfire.trace.model import Trace


class Settings(Struct, frozen=True):
    """How alike is alike, all in 0..1.

    Below `threshold` nothing is recalled; a first match less than `margin` ahead of the first of
    another fault is ambiguous; from `same` on, two schemata are one. `quota` is the most results that
    stem from one origin; results more alike than `same` collapse into the best supported.
    A schema that was replayed on stored runs recognises steps that show all its traits when its
    precision is at least `proven`; the word of one that was not counts `unproven` times its likeness.
    """

    threshold: float = 0.35
    margin: float = 0.02
    same: float = 0.9
    quota: int = 2
    proven: float = 0.15
    unproven: float = 0.2


class Recall(Struct, frozen=True):
    """A remembered schema and how similar it is to what was asked (0..1).

    `ambiguous`: a schema of another fault is as similar within the margin.
    """

    schema: ErrorSchema
    similarity: float
    ambiguous: bool = False


@runtime_checkable
class Searchable(Protocol):
    """A store that finds the nearest schemata itself (PostgreSQL with pgvector)."""

    def nearest(self, text: str, k: int) -> list[tuple[ErrorSchema, float]]:
        """Return the `k` nearest schemata with their cosine."""


class Memory:
    """Schemata of one store, searched in memory (or by the store, when it can).

    Thread-safe. What other processes add to a store searched in memory is seen after `refresh`.
    """

    def __init__(
        self,
        store: Store,
        *,
        embedder: Embedder | None = None,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.embedder = embedder or getattr(store, "embedder", None) or HashEmbedder()
        self.settings = settings or Settings()
        self._clock = clock
        self._lock = threading.RLock()
        self.refresh()

    def refresh(self) -> None:
        """Read the store anew."""
        with self._lock:
            self._entries: list[ErrorSchema | None] = []
            self._numbers: dict[str, int] = {}
            self._words = LexicalIndex()
            self._vectors = VectorIndex(self.embedder.dimensions)
            self._proven: dict[str, list[tuple[float, frozenset[str], ErrorSchema]]] | None = None
            if not isinstance(self.store, Searchable):
                self._index(list(self.store.schemata()))

    def __len__(self) -> int:
        return len(self._numbers)

    def learn(self, schema: ErrorSchema) -> ErrorSchema:
        """Remember a schema; return it, or the near-duplicate of the same fault that it was merged into."""
        with self._lock:
            near = [found.schema for found in self._candidates(schema.document, 8)]
            for known in sorted(near, key=lambda one: one.id != schema.id):
                if known.id == schema.id or (
                    not known.general
                    and known.fault == schema.fault
                    and known.role == schema.role
                    and similarity(known.signature, schema.signature) >= self.settings.same
                ):
                    merged = merge(known, schema)
                    self._replace(known, merged)
                    return merged
            self.store.put(schema)
            self.store.log("learnt", entry=schema.id, why=f"from {len(schema.evidence)} run(s)")
            if not isinstance(self.store, Searchable):
                self._index([schema])
            return schema

    def recall(self, text: str, *, k: int = 5, fault: str = "") -> list[Recall]:
        """Return at most `k` schemata that resemble `text`, most similar first; none below the threshold.

        No more than `quota` of one origin, and no two that say the same: a planted entry cannot crowd
        out the others by being there many times.
        """
        with self._lock:
            found = self._candidates(text, max(8 * k, 40))
        found = [
            recall
            for recall in found
            if recall.similarity >= self.settings.threshold and (not fault or recall.schema.fault == fault)
        ]
        return self._mark(self._diverse(found, k))

    def apart_from(self, origin: str) -> Recognizer:
        """Return this memory without what only one origin taught it: it recognises the rest."""
        return _Apart(self, origin)

    def recognize(self, trace: Trace, *, apart_from: str = "") -> Sequence[Recognition]:
        """Return known errors that steps of this (blind) trace show, the surest first.

        With `apart_from`, schemata that stem from this origin alone are passed over. `similarity` is the
        precision of a schema that was replayed on stored runs (see `masfire.knowledge.replaying`): how
        often a step that shows all this was at fault.
        """
        described = traits_of(trace)
        rarity = rarities(described)
        apart = self._only_from(apart_from) if apart_from else set()
        recognised = []
        for window in described:
            found = self._shown(window, apart)
            if found is None:
                found = self._resembled(window, rarity, apart)
            if found is not None:
                score, schema = found
                text = f"resembles {schema.fault} as learnt from {schema.support} run(s)"
                recognised.append(Recognition(window.step, schema.id, score, schema.fault, text))
        return sorted(recognised, key=lambda found: (-found.similarity, found.step))

    def _only_from(self, origin: str) -> set[str]:
        """Return the ids of the schemata that stem from one origin alone."""
        with self._lock:
            stored = self.store.schemata() if isinstance(self.store, Searchable) else self._entries
            known = [one for one in stored if one is not None and one.evidence]
        return {one.id for one in known if all(source.origin == origin for source in one.evidence)}

    def schemata(self) -> list[ErrorSchema]:
        """Return all schemata in order of their ids."""
        return list(self.store.schemata())

    def file(self, *schemata: ErrorSchema) -> None:
        """Put schemata on file as they are; those of the same id are replaced, nothing is merged."""
        with self._lock:
            self.store.put(*schemata)
            self._proven = None
            if isinstance(self.store, Searchable):
                return
            fresh = []
            for schema in schemata:
                number = self._numbers.get(schema.id)
                known = self._entries[number] if number is not None else None
                if number is not None and known is not None and known.document == schema.document:
                    self._entries[number] = schema
                else:
                    self._unindex(schema.id)
                    fresh.append(schema)
            self._index(fresh)

    def _shown(self, window: Traits, apart: Set[str]) -> tuple[float, ErrorSchema] | None:
        """Return the most precise replayed schema all of whose traits the step shows."""
        best_one: tuple[float, ErrorSchema] | None = None
        for trait in window.names:
            for precision, names, schema in self._by_trait().get(trait, ()):
                if best_one is not None and (-precision, schema.id) >= (-best_one[0], best_one[1].id):
                    break
                if names <= window.names and schema.id not in apart:
                    best_one = precision, schema
                    break
        return best_one

    def _by_trait(self) -> dict[str, list[tuple[float, frozenset[str], ErrorSchema]]]:
        """Return the proven schemata, each under its rarest trait, the most precise first."""
        with self._lock:
            if self._proven is None:
                known = [
                    (schema.precision, frozenset(schema.signature.traits), schema)
                    for schema in self.store.schemata()
                    if schema.precision is not None and schema.precision >= self.settings.proven
                ]
                counts = Counter(trait for _, names, _ in known for trait in names)
                index: dict[str, list[tuple[float, frozenset[str], ErrorSchema]]] = {}
                for one in sorted(known, key=lambda one: (-one[0], one[2].id)):
                    rarest = min(one[1], key=lambda trait: (counts[trait], trait))
                    index.setdefault(rarest, []).append(one)
                self._proven = index
            return self._proven

    def _resembled(
        self, window: Traits, rarity: dict[str, float], apart: Set[str]
    ) -> tuple[float, ErrorSchema] | None:
        """Return the schema, never replayed, that the step resembles most, unless two faults tie."""
        with self._lock:
            near = self._candidates(window_document(window), 12 + len(apart))
        best_by_fault: dict[str, tuple[float, ErrorSchema]] = {}
        for candidate in near:
            schema = candidate.schema
            if schema.precision is not None or schema.id in apart:
                continue
            score = resemblance(schema.signature, window, rarity)
            if score >= self.settings.threshold and score > best_by_fault.get(schema.fault, (0.0, 0))[0]:
                best_by_fault[schema.fault] = (score, schema)
        ranked = sorted(best_by_fault.values(), key=lambda pair: (-pair[0], pair[1].id))
        if not ranked or (len(ranked) > 1 and ranked[0][0] - ranked[1][0] < self.settings.margin):
            return None
        score, schema = ranked[0]
        return score * self.settings.unproven, schema

    def used(self, schema: ErrorSchema) -> ErrorSchema:
        """Count a use of a schema (it then outlives others when memory is short)."""
        with self._lock:
            current = self._current(schema)
            counted = msgspec.structs.replace(current, hits=current.hits + 1, last_used=self._clock())
            self._replace(current, counted)
            return counted

    def rewrite(
        self, schema: ErrorSchema, candidate: ErrorSchema, *, score: Callable[[ErrorSchema], float]
    ) -> ErrorSchema:
        """Replace a schema by a rewritten one only if that does better on stored runs.

        `score` replays one schema on stored, labelled runs and returns its precision (0..1). The
        decision is journalled either way.
        """
        old, new = score(schema), score(candidate)
        with self._lock:
            current = self._current(schema)
            if new <= old:
                self.store.log("rewrite refused", entry=schema.id, why=f"precision {new:.3f} <= {old:.3f}")
                kept = msgspec.structs.replace(current, precision=old)
                self._replace(current, kept)
                return kept
            better = msgspec.structs.replace(
                candidate, support=current.support, evidence=current.evidence, hits=current.hits,
                last_used=current.last_used, precision=new,
            )  # fmt: skip
            self.store.log("rewritten", entry=schema.id, why=f"precision {new:.3f} > {old:.3f}: {better.id}")
            self._replace(current, better)
            return better

    def forget(self, keep: int, *, half_life: float = 90 * 86400.0) -> list[str]:
        """Delete the least useful schemata beyond `keep`; return their ids.

        Usefulness is log(1 + support + hits), halved every `half_life` seconds without use; the last
        schema of a fault is never forgotten.
        """
        now = self._clock()

        def worth(schema: ErrorSchema) -> float:
            age = max(0.0, now - schema.last_used) if schema.last_used else 0.0
            return math.log1p(schema.support + schema.hits) * math.pow(0.5, age / half_life)

        with self._lock:
            known = sorted(self.store.schemata(), key=lambda schema: (worth(schema), schema.id))
            left = Counter(schema.fault for schema in known)
            doomed: list[ErrorSchema] = []
            for schema in known:
                if len(known) - len(doomed) <= keep:
                    break
                if left[schema.fault] > 1:
                    left[schema.fault] -= 1
                    doomed.append(schema)
            self.store.remove(*doomed)
            for schema in doomed:
                self.store.log("forgotten", entry=schema.id, why=f"worth {worth(schema):.3f}")
                self._unindex(schema.id)
            return [schema.id for schema in doomed]

    def _candidates(self, text: str, k: int) -> list[Recall]:
        if isinstance(self.store, Searchable):
            near = self.store.nearest(text, k)
            words = LexicalIndex()
            for schema, _ in near:
                words.add(schema.document)
            lexical = words.scores(text) if near else ()
            pairs = [
                Recall(schema, blend(cosine, float(score)))
                for (schema, cosine), score in zip(near, lexical, strict=True)
            ]
            return sorted(pairs, key=lambda recall: (-recall.similarity, recall.schema.id))
        if not self._numbers:
            return []
        (vector,) = self.embedder.embed([text])
        scores = (self._vectors.scores(vector).clip(0.0, 1.0) + self._words.scores(text)) / 2.0
        found = [(self._entries[number], float(scores[number])) for number in best(scores, k)]
        return [Recall(entry, score) for entry, score in found if entry is not None]

    def _diverse(self, found: list[Recall], most: int) -> list[Recall]:
        kept: list[Recall] = []
        origins: Counter[str] = Counter()
        for recall in found:
            if len(kept) == most:
                break
            origin = next((source.origin for source in recall.schema.evidence if source.origin), "")
            if origin and origins[origin] >= self.settings.quota:
                continue
            if any(
                similarity(recall.schema.signature, other.schema.signature) >= self.settings.same
                for other in kept
            ):
                continue
            origins[origin] += 1
            kept.append(recall)
        return kept

    def _mark(self, found: list[Recall]) -> list[Recall]:
        if not found:
            return found
        rival = next((other for other in found[1:] if other.schema.fault != found[0].schema.fault), None)
        if rival is not None and found[0].similarity - rival.similarity < self.settings.margin:
            return [msgspec.structs.replace(recall, ambiguous=True) for recall in found]
        return found

    def _current(self, schema: ErrorSchema) -> ErrorSchema:
        number = self._numbers.get(schema.id)
        return (self._entries[number] if number is not None else None) or schema

    def _replace(self, old: ErrorSchema, new: ErrorSchema) -> None:
        if old.id != new.id:
            self.store.remove(old)
        self.store.put(new)
        if isinstance(self.store, Searchable):
            return
        number = self._numbers.get(old.id)
        if number is not None and old.id == new.id and old.document == new.document:
            self._entries[number] = new
            self._proven = None
            return
        self._unindex(old.id)
        self._index([new])

    def _index(self, schemata: list[ErrorSchema]) -> None:
        if not schemata:
            return
        self._proven = None
        documents = [schema.document for schema in schemata]
        self._vectors.add(self._embedded(schemata, documents))
        for schema, document in zip(schemata, documents, strict=True):
            self._numbers[schema.id] = self._words.add(document)
            self._entries.append(schema)

    def _embedded(self, schemata: list[ErrorSchema], documents: list[str]) -> Vectors:
        """Return the vectors of documents: those that the store kept, the others made and kept."""
        if not isinstance(self.store, KeepsVectors):
            return self.embedder.embed(documents)
        return kept_or_made(self.store, self.embedder, [schema.id for schema in schemata], documents)

    def _unindex(self, entry: str) -> None:
        self._proven = None
        number = self._numbers.pop(entry, None)
        if number is not None:
            self._words.remove(number)
            self._vectors.remove(number)
            self._entries[number] = None


class _Apart:
    """A memory without what stems from one origin alone."""

    def __init__(self, memory: Memory, origin: str) -> None:
        self._memory, self._origin = memory, origin

    def recognize(self, trace: Trace) -> Sequence[Recognition]:
        """Return known errors that steps of this trace resemble."""
        return self._memory.recognize(trace, apart_from=self._origin)
