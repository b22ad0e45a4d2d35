"""Which earlier step a piece of text came from: an index of everything agents and tools said."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from masfire.recorder import Recorder

MIN_TEXT = 8
"""Shorter texts (characters) are never traced: they turn up everywhere by chance."""

MIN_LINE = 12
"""Shorter lines and JSON leaves are not traced on their own."""

RECENT = 64
"""How many of the latest outputs are searched for inside longer texts; older ones match whole or by line."""

_CACHED = 8192
_NEEDLES = 6
_OCCURRENCES = 8
_EDGES = " \t\r\n\"'`*-•>"


class Span(NamedTuple):
    """Characters `start` to `end` of a text stem from step `step`, said by `agent`."""

    step: int
    agent: str
    start: int
    end: int


class _Region(NamedTuple):
    start: int
    end: int
    key: int


class _Needle(NamedTuple):
    text: str
    key: int
    word: str


class Index:
    """Guards one run's memory of outputs; a look-up costs the same however long the run is.

    Whole texts, their long lines and their long JSON leaves are found by hash at any age; inside
    longer lines the latest `RECENT` outputs are searched for as substrings. Thread-safe.
    """

    def __init__(self) -> None:
        self._origins: dict[int, dict[str, int]] = {}
        self._recent: dict[int, list[_Needle]] = {}
        self._by_word: dict[str, list[_Needle]] = {}
        self._pinned: list[_Needle] = []
        self._scanned: dict[int, tuple[_Region, ...]] = {}
        self._lock = threading.Lock()

    def add(self, step: int, agent: str, text: str, *, pinned: bool = False) -> None:
        """Remember that `agent` said `text` at step `step`.

        A `pinned` text (the task) may be short, and is searched for in every text at any age.
        """
        text = text.strip()
        if len(text) < (2 if pinned else MIN_TEXT):
            return
        key = hash(text)
        forms = [text] if text[0] not in "{[`" else list(dict.fromkeys((text, *_renderings(text))))
        with self._lock:
            self._credit(key, agent, step)
            for form in forms[1:]:
                self._credit(hash(form), agent, step)
            if "\n" in text:
                for line in _lines(text):
                    self._credit(hash(line), agent, step)
            if pinned:
                self._pinned.append(_needle(text))
                self._scanned.clear()
            elif key in self._recent:  # said again: it is searched for once, as the latest
                self._recent[key] = self._recent.pop(key)
            else:
                needles = self._recent[key] = [_needle(form) for form in forms[:_NEEDLES]]
                for needle in needles:
                    self._by_word.setdefault(needle.word, []).append(needle)
                if len(self._recent) > RECENT:
                    self._forget(next(iter(self._recent)))

    def find(self, text: str, *, reader: str = "", own: bool = False) -> list[Span]:
        """Return which stretches of `text` were said before, in order, without overlap.

        When several agents said the same, the latest one other than `reader` counts; with `own`,
        `reader` itself is preferred (its own words in its history).
        """
        if len(text) < MIN_TEXT and not self._pinned:
            return []
        key = hash(text)
        if self._scanned.get(key) == () and key not in self._origins and text.strip() == text:
            return []  # a prompt that is sent again and again
        with self._lock:
            regions = self._regions(text)
            spans: list[Span] = []
            for region in regions:
                agent, step = self._speaker(region.key, reader, own)
                last = spans[-1] if spans else None
                if last is not None and last.step == step and not text[last.end : region.start].strip():
                    spans[-1] = Span(step, agent, last.start, region.end)
                else:
                    spans.append(Span(step, agent, region.start, region.end))
            return spans

    def parents(self, texts: Iterable[str], *, reader: str = "") -> tuple[int, ...]:
        """Return the steps whose text is found in `texts` (those of one request), ascending.

        What several agents said word for word and the request holds several times stems from as many
        of them, the latest ones.
        """
        found: set[int] = set()
        held: Counter[int] = Counter()
        for text in texts:
            for span in self.find(text, reader=reader):
                found.add(span.step)
                held[hash(text[span.start : span.end].strip())] += 1
        with self._lock:
            for key, times in held.items():
                if times > 1:
                    sayings = self._origins.get(key, {})
                    latest = [step for agent, step in reversed(sayings.items()) if agent != reader]
                    found.update(latest[:times])
        return tuple(sorted(found))

    def _credit(self, key: int, agent: str, step: int) -> None:
        saying = self._origins.get(key)
        if saying is None:
            self._origins[key] = {agent: step}
        else:
            saying.pop(agent, None)  # the latest speaker comes last
            saying[agent] = step

    def _speaker(self, key: int, reader: str, own: bool) -> tuple[str, int]:
        saying = self._origins[key]
        if own and reader in saying:
            return reader, saying[reader]
        for agent in reversed(saying):
            if agent != reader:
                return agent, saying[agent]
        return next(iter(saying.items()))

    def _regions(self, text: str) -> tuple[_Region, ...]:
        stripped = text.strip()
        if stripped and hash(stripped) in self._origins:
            start = text.find(stripped)
            return (_Region(start, start + len(stripped), hash(stripped)),)
        key = hash(text)
        found = self._scanned.get(key)
        if found is None:
            # Causes precede effects: what was not in this text when it was first read never will be.
            if len(self._scanned) >= _CACHED:
                self._scanned.clear()
            regions = [*self._substrings(text), *self._hashed_lines(text)]
            found = self._scanned[key] = _without_overlap(regions) if regions else ()
        return found

    def _forget(self, output: int) -> None:
        for needle in self._recent.pop(output, ()):
            others = [other for other in self._by_word[needle.word] if other is not needle]
            if others:
                self._by_word[needle.word] = others
            else:
                del self._by_word[needle.word]

    def _substrings(self, text: str) -> list[_Region]:
        # A needle can only be in a text that has the needle's inner word: no need to try the others.
        likely = [*self._pinned, *self._by_word.get("", ())]
        for word in self._by_word.keys() & text.split():
            likely += self._by_word[word]
        found: list[_Region] = []
        for needle, key, _ in likely:
            start = text.find(needle)
            for _ in range(_OCCURRENCES):
                if start < 0:
                    break
                end = start + len(needle)
                if _stands_alone(text, start, end):
                    found.append(_Region(start, end, key))
                start = text.find(needle, end)
        return found

    def _hashed_lines(self, text: str) -> list[_Region]:
        found: list[_Region] = []
        offset = 0
        for line in text.split("\n"):
            if len(line) >= MIN_LINE:
                rest = line.partition(": ")[2]
                for part in (line.strip(), line.strip(_EDGES), rest.strip(_EDGES)):
                    if len(part) >= MIN_LINE and hash(part) in self._origins:
                        start = offset + line.find(part)
                        found.append(_Region(start, start + len(part), hash(part)))
                        break
            offset += len(line) + 1
        return found


def of(recorder: Recorder) -> Index:
    """Return the index of this run, made at first use."""
    index = recorder.notes.get("provenance")
    if index is None:
        index = recorder.notes.setdefault("provenance", Index())
    return index  # type: ignore[no-any-return]


def _needle(text: str) -> _Needle:
    """Return `text` with its longest word that has a space on both sides, "" if there is none."""
    return _Needle(text, hash(text), max(text.split()[1:-1], key=len, default=""))


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        for part in (line.strip(), line.strip(_EDGES)):
            if len(part) >= MIN_LINE:
                yield part


def _renderings(text: str) -> Iterator[str]:
    """Yield the ways in which code passes on a JSON reply: re-encoded, as repr, or leaf by leaf."""
    if text[0] not in "{[`":
        return
    bare = text.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if bare[:1] not in ("{", "["):
        return
    try:
        value = json.loads(bare)
    except (ValueError, RecursionError):
        return
    yield bare
    for rendering in (json.dumps(value), json.dumps(value, separators=(",", ":")), repr(value)):
        if len(rendering) >= MIN_LINE:
            yield rendering
    # A leaf like "send_confirmation" is vocabulary, not a message.
    leaves = (leaf for leaf in _leaves(value) if len(leaf) >= MIN_LINE and not leaf.isidentifier())
    yield from sorted(leaves, key=len, reverse=True)


def _leaves(value: Any) -> Iterator[str]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item.strip()
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _stands_alone(text: str, start: int, end: int) -> bool:
    before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    after = end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    return not (before or after)


def _without_overlap(regions: list[_Region]) -> tuple[_Region, ...]:
    chosen: list[_Region] = []
    for region in sorted(regions, key=lambda r: (r.start - r.end, r.start)):
        if all(region.end <= other.start or region.start >= other.end for other in chosen):
            chosen.append(region)
    return tuple(sorted(chosen))


__all__ = ["MIN_LINE", "MIN_TEXT", "RECENT", "Index", "Span", "of"]
