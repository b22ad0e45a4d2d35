"""A plan inside an output: its steps, what they wait for, and which names they rely on."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from masfire.claims import sentences
from masfire.claims.leaves import INSIDE, Path, embedded, spoken, texts

_ITEM = re.compile(r"^([ \t]*(?:(?:Step )?(\d+)[.):]|[-*•])[ \t]+)(.*)$", re.MULTILINE | re.IGNORECASE)
_SEPARATOR = re.compile(r"(?:\s*(?:;|->|→|,? \bthen\b)\s*)", re.IGNORECASE)
_WAITS = re.compile(r"(?:after|depends on|requires|needs|waits for)\s+step\s+(\d+)", re.IGNORECASE)
_NAME = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")
_CALLED = re.compile(r"`([^`\n]{1,60})`|\bthe ([\w-]{3,40}) (?:tool|agent|service|api)\b", re.IGNORECASE)
WAIT_KEYS = ("depends_on", "dependencies", "after", "requires", "needs")
ID_KEYS = ("id", "step", "number", "index")
_NOT_PLANS = ("messages", "tool_calls")


class Plan(Struct, frozen=True):
    """The steps of one plan.

    `path` leads to the text or list that is the plan. A text is `gaps` and `steps` interleaved (one
    gap more than steps); a JSON list has no gaps and its items as `steps`. `style` is `numbered`,
    `bulleted`, `separated`, `sentences` or `list`.
    """

    path: Path
    style: str
    steps: list[Any]
    gaps: list[str] = []

    def written(self, steps: list[Any], at: int = -1) -> Any:
        """Return the plan with other steps; `at` is where one was inserted (-1: none)."""
        if self.style == "list":
            return steps
        gaps = list(self.gaps)
        if at >= 0:
            gap = gaps[1] if len(gaps) > 2 else (" " if self.style == "sentences" else "; ")
            gaps.insert(max(at, 1), gap)
        if self.style == "numbered":
            gaps = [
                re.sub(r"\d+(?=[.):][ \t]+$)", str(n + 1), gap) for n, gap in enumerate(gaps[:-1])
            ] + gaps[-1:]
        pieces = [gap + step for gap, step in zip(gaps, [*steps, ""], strict=True)]
        return "".join(pieces)


def find(value: Any) -> Plan | None:
    """Return the plan in a payload: a JSON list of steps, or else the steps of its longest text."""
    lists = list(_lists(value, ()))
    if lists:
        path, items = max(lists, key=lambda found: len(found[1]))
        return Plan(path, "list", list(items))
    prose = [(path, leaf) for path, leaf in spoken(value) if isinstance(leaf, str) and INSIDE not in path]
    prose = [(path, leaf) for path, leaf in prose if embedded(leaf) is None and leaf.strip()]
    if not prose:
        return None
    path, text = max(prose, key=lambda found: len(found[1]))
    return _of_text(path, text)


def unresolved(value: Any, known: set[str]) -> set[str]:
    """Return the names of tools or agents that a plan relies on and nobody knows."""
    found: set[str] = set()
    for text in texts(value):
        found |= set(_NAME.findall(text))
        found |= {match[1] or match[2] for match in _CALLED.finditer(text)}
    return {name for name in found if name not in known}


def circular(value: Any) -> bool:
    """Return whether the steps of the plan in `value` wait for one another in a circle."""
    plan = find(value)
    if plan is None:
        return False
    waits_for: dict[str, set[str]] = {}
    for position, step in enumerate(plan.steps):
        name = str(position + 1)
        if isinstance(step, dict):
            name = str(next((step[key] for key in ID_KEYS if key in step), name))
            for key in WAIT_KEYS:
                waits = step.get(key)
                for other in waits if isinstance(waits, list) else [waits] if waits is not None else []:
                    waits_for.setdefault(name, set()).add(str(other))
        for text in texts(step):
            waits_for.setdefault(name, set()).update(_WAITS.findall(text))
    try:
        graphlib.TopologicalSorter(waits_for).prepare()
    except graphlib.CycleError:
        return True
    return False


def _lists(value: Any, path: Path) -> Iterator[tuple[Path, list[Any]]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in _NOT_PLANS:
                yield from _lists(item, (*path, key))
            elif key == "messages" and isinstance(item, list):
                for position, entry in enumerate(item):
                    if isinstance(entry, dict):
                        yield from _lists(entry.get("content"), (*path, key, position, "content"))
    elif isinstance(value, list):
        if value and all(isinstance(item, (str, dict)) for item in value):
            yield path, value
    elif isinstance(value, str):
        inner = embedded(value)
        if inner is not None:
            yield from _lists(inner.value, (*path, INSIDE))


def _of_text(path: Path, text: str) -> Plan:
    items = list(_ITEM.finditer(text))
    if len(items) >= 2:
        style = "numbered" if items[0][2] else "bulleted"
        return _cut(path, style, text, [item.span(3) for item in items])
    joints = list(_SEPARATOR.finditer(text))
    spans, start = [], 0
    for joint in joints:
        spans.append((start, joint.start()))
        start = joint.end()
    spans = [span for span in [*spans, (start, len(text))] if text[span[0] : span[1]].strip()]
    if len(spans) >= 2:
        return _cut(path, "separated", text, spans)
    whole = [(start, start + len(text[start:end].rstrip())) for start, end in sentences(text)]
    return _cut(path, "sentences", text, whole)


def _cut(path: Path, style: str, text: str, spans: list[tuple[int, int]]) -> Plan:
    gaps, last = [], 0
    for start, end in spans:
        gaps.append(text[last:start])
        last = end
    return Plan(path, style, [text[start:end] for start, end in spans], [*gaps, text[last:]])
