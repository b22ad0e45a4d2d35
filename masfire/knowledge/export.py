"""Lessons as files that people review: Markdown to read, YAML to keep under version control."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable

import msgspec

from masfire.errors import UsageError
from masfire.knowledge.model import ErrorSchema, MistakeNote, Slot
from masfire.knowledge.quoting import plain

VERSION = "lessons/v1"
MAX_BYTES = 16 * 1024 * 1024
MAX_NODES = 4_000_000
MAX_COUNT = 2**53
"""Counts and times below this are exact in every store."""
MAX_HEAD = 65_536
"""Characters in which a file says what it is."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!~])")


class Lessons(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a lessons file holds."""

    masfire: str
    schemata: tuple[ErrorSchema, ...] = ()
    notes: tuple[MistakeNote, ...] = ()


def to_yaml(schemata: Iterable[ErrorSchema], notes: Iterable[MistakeNote]) -> str:
    """Return the lessons as YAML, in order of their ids; `from_yaml` reads it back unchanged."""
    import yaml

    lessons = Lessons(VERSION, tuple(schemata), tuple(notes))
    return yaml.safe_dump(msgspec.to_builtins(lessons), sort_keys=False, allow_unicode=False, width=100)


def from_yaml(text: str, *, where: str = "") -> Lessons:
    """Return the lessons of a YAML file; raise UsageError, with all its mistakes, for anything else."""
    from masfire.knowledge.reading import mistakes_of
    from masfire.yamlfile import MAX_MISTAKES, Unreadable, compose, construct, refuse_other

    refuse_other(text[:MAX_HEAD], "lessons", where or "FILE")
    if len(text) > MAX_BYTES:
        raise UsageError(f"A lessons file has at most {MAX_BYTES} characters.", where=where)
    try:
        tree = compose(text, most=MAX_NODES)
        data = None if tree is None else construct(tree)
    except (Unreadable, RecursionError, ValueError):
        raise _no_lessons("it is no YAML", where) from None
    if tree is None or not isinstance(data, dict) or "masfire" not in data:
        raise _no_lessons(f"it does not begin with 'masfire: {VERSION}'", where)
    if data["masfire"] != VERSION:
        raise UsageError(f"It is {data['masfire']!r:.60}; this masfire reads {VERSION!r}.", where=where)
    wrong = sorted(set(itertools.islice(mistakes_of(tree, Lessons), MAX_MISTAKES)))
    if wrong:
        told = [f"{where or 'lessons'}:{one.line}:{one.column}: {one.what}" for one in wrong]
        count = "1 mistake" if len(told) == 1 else f"{len(told)} mistakes"
        raise UsageError("\n".join([f"The file of lessons {where} has {count}.".replace("  ", " "), *told]))
    try:
        lessons = msgspec.convert(data, Lessons)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise _no_lessons(" ".join(str(error).split()), where) from None
    entries: list[ErrorSchema | MistakeNote] = [*lessons.schemata, *lessons.notes]
    for entry in entries:
        _check_counts(entry, where)
    return lessons


def _no_lessons(why: str, where: str) -> UsageError:
    return UsageError(
        f"It holds no lessons: {why}.", hint="Export some by `masfire memory export FILE.yaml`.", where=where
    )


def _check_counts(entry: ErrorSchema | MistakeNote, where: str) -> None:
    """Raise UsageError for numbers that no store can hold: a memory with one of them cannot be read again."""
    counts = [entry.support, entry.hits, entry.last_used, *(one.step + 1 for one in entry.evidence)]
    if isinstance(entry, ErrorSchema):
        counts += [entry.replayed, entry.precision or 0.0]
    if not all(math.isfinite(count) and 0 <= count < MAX_COUNT for count in counts):
        raise UsageError(
            f"Entry {entry.id!r:.60} holds a number that is negative, too large or none.",
            hint="Look at its support, hits, last_used, replayed, precision and steps.",
            where=where,
        )


def to_markdown(schemata: Iterable[ErrorSchema], notes: Iterable[MistakeNote]) -> str:
    """Return the lessons to read; text from traces is escaped, so that it formats and links nothing."""
    lines = ["# Lessons", ""]
    for note in notes:
        trial = note.trial
        lines += [
            f"## {_safe(note.subject.key)} ({note.status})",
            "",
            f"* Mistake: {_safe(note.mistake)}",
            f"* Right: {_safe(note.approach)}",
            f"* Strategy: {_safe(note.strategy)}",
            f"* Not when: {_safe(note.anti_patterns)}",
            f"* From {note.support} failure(s): {_runs(note)}",
            *(f"* Copies: {_slot(slot)}" for slot in (note.habits.slots if note.habits else ())),
        ]
        if trial is not None:
            verdict = f"{trial.wins} wins, {trial.losses} losses of {len(trial.batch)} as a {trial.way}"
            lines.append(f"* Trial: {verdict}{_safe('; '.join(('', *trial.reasons)))}")
        lines += [*(f"* Seen: {_safe(example)}" for example in note.examples), ""]
    for schema in schemata:
        lines += [
            f"## How to recognise {_safe(schema.fault)} of {_safe(schema.role) or 'any agent'}",
            "",
            *(f"* {_safe(question)}" for question in schema.heuristics),
            f"* Learnt from {schema.support} failure(s), recalled {schema.hits} time(s): {_runs(schema)}",
            "",
        ]
    return "\n".join(lines)


def _slot(slot: Slot) -> str:
    values = ", ".join(_safe(value) for value in slot.values) or "a number"
    source = "the last message" if slot.where == "last" else "its sources"
    return f"{_safe(slot.key)} of a {slot.kind.replace('_', ' ')} from {source} ({values})"


def _runs(entry: ErrorSchema | MistakeNote) -> str:
    return ", ".join(f"{_safe(source.run)} step {source.step}" for source in entry.evidence[:5]) or "none"


def _safe(text: str) -> str:
    return _MARKUP.sub(r"\\\1", plain(text, 400))
