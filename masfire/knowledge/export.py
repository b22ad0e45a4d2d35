"""Lessons as files that people review: Markdown to read, YAML to keep under version control."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import msgspec

from masfire.errors import UsageError
from masfire.knowledge.model import ErrorSchema, MistakeNote, Slot, check_status
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
    """Return the lessons of a YAML file; raise UsageError for anything else."""
    from masfire.yamlfile import Unreadable, compose, construct, refuse_other

    refuse_other(text[:MAX_HEAD], "lessons", where or "FILE")
    if len(text) > MAX_BYTES:
        raise UsageError(f"A lessons file has at most {MAX_BYTES} characters.", where=where)
    try:
        tree = compose(text, most=MAX_NODES)
        lessons = msgspec.convert(None if tree is None else construct(tree), Lessons)
    except (Unreadable, msgspec.MsgspecError, RecursionError, ValueError) as error:
        why = " ".join(str(error).split()) if not isinstance(error, Unreadable) else "it is no YAML"
        raise UsageError(
            f"It holds no lessons: {why}.",
            hint="Export some by `masfire memory export FILE.yaml`.",
            where=where,
        ) from None
    if lessons.masfire != VERSION:
        raise UsageError(f"It is {lessons.masfire!r}; this masfire reads {VERSION!r}.", where=where)
    for note in lessons.notes:
        check_status(note.status)
    entries: list[ErrorSchema | MistakeNote] = [*lessons.schemata, *lessons.notes]
    for entry in entries:
        _check_counts(entry, where)
    return lessons


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
