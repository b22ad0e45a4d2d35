"""A violated contract as text: which, where, what was false, why, and how to see it again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from masfire.contracts.language.syntax import Path
from masfire.contracts.model import Contract, Status, Verdict, Violation
from masfire.errors import RefusedValue
from masfire.reporting.checked import Check, Checked, Told, shortened, violating
from masfire.reporting.printable import printable
from masfire.trace.model import Action, Decision, Message, Observation, Step

WIDTH = 100
"""Characters of a payload that one line shows."""

MARKS = ("»", "«")
"""What the guilty value is put between."""

_LISTED = 12
"""Step numbers that are listed before it is said how many more there are."""

_FIELD = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")


def check_lines(check: Check) -> Iterator[str]:
    """Yield the lines of a whole check: what was violated or undecided, then the count."""
    named = {contract.id: contract for contract in check.contracts}
    for one in check.checked:
        if one.status is Status.SATISFIED and not one.damage and not any(one.violations):
            continue
        yield from _trace_lines(one, named)
    yield from summary_lines(check)


def summary_lines(check: Check) -> Iterator[str]:
    """Yield the closing lines: counts, contracts that never applied, and what could not be judged."""
    traces = f"{len(check.checked)} trace{'' if len(check.checked) == 1 else 's'}"
    counts = ", ".join(
        f"{check.count(status)} {status.value}" for status in reversed(Status) if check.count(status)
    )
    contracts = f"{len(check.contracts)} contract{'' if len(check.contracts) == 1 else 's'}"
    yield f"{contracts}, {traces}: {counts or 'nothing was checked'}"
    if check.never_applied:
        yield f"never applied: {printable(', '.join(check.never_applied))}"
    for contract, causes in check.causes.items():
        for cause, steps in list(causes.items())[:5]:
            yield f"inconclusive: {printable(contract)} at {_steps(steps)}: {printable(cause, limit=300)}"
    if check.count(Status.VACUOUS) == len(check.checked):
        yield "Not one contract applied to anything: a check of nothing is not a pass."


def told_lines(told: Told, contract: Contract, checked: Checked) -> list[str]:
    """Return the report of one violation, in the order in which one reads it."""
    found = told.violation
    lines = [f"{printable(found.contract)}  {printable(found.where or contract.where)}".rstrip()]
    if contract.description:
        lines.append(f"  {printable(contract.description.strip(), limit=300)}")
    if found.reason:
        lines.append(f"  {printable(found.reason, limit=500)}")
    blame = f", blame {_place(found.blame, checked)}" if found.blame != found.violated_at else ""
    lines.append(f"  at       {_place(found.violated_at, checked)}{blame}")
    if found.agent:
        role = f"   role {printable(found.role, limit=60)}" if found.role else ""
        lines.append(f"  agent    {printable(found.agent, limit=60)}{role}")
    if found.binding:
        lines.append(f"  for      {_values(found.binding)}")
    if found.formula:
        lines.append(f"  false    {printable(found.formula, limit=400)}")
    if found.saw:
        lines.append(f"  saw      {_values(found.saw)}")
    lines += [
        f"  witness  {_place(witness.step, checked)} {printable(witness.text, limit=200)}"
        for witness in found.witnesses[:10]
    ]
    if found.path:
        lines.append(f"  path     {printable(_dotted(found.path), limit=200)}")
    if len(told.lineage) > 1:
        links = [_link(index, told.steps, checked) for index in shortened(told.lineage)]
        if len(links) < len(told.lineage):
            links.insert(2, "…")
        lines.append(f"  lineage  {' → '.join(links)}")
    lines += _slice(told, checked)
    if checked.replay and found.blame >= 0:
        lines.append(f"  replay   {printable(checked.replay.replace('{step}', str(found.blame)))}")
    return lines


def marked(step: Step, path: Path = (), *, width: int = WIDTH) -> str:
    """Return a step's payload as one line of text, the value at a field's `path` between marks."""
    try:
        value = step.value
    except RefusedValue as refused:
        return printable(refused.message, limit=width)
    place = _within(step, value, path) if path else None
    if step.kind == "event" and isinstance(value, dict) and list(value) == ["args"]:
        value, place = value["args"], place[1:] if place else None
    if place is None:
        return printable(_text(value), limit=width)
    before, guilty, after = _parted(value, place)
    shown = printable(guilty, limit=width // 2)
    left = max(0, width - len(shown))
    head, tail = printable(before), printable(after)
    room = max(left // 2, left - len(tail))
    head = head if len(head) <= room else f"…{head[len(head) - room + 1 :]}"
    room = left - len(head)
    tail = tail if len(tail) <= room else f"{tail[: max(0, room - 1)]}…"
    return f"{head}{MARKS[0]}{shown}{MARKS[1]}{tail}"


def _trace_lines(one: Checked, named: Mapping[str, Contract]) -> Iterator[str]:
    yield f"{printable(one.source)}: {one.status.value}"
    if one.damage:
        yield f"  damaged: {printable(one.damage, limit=400)}"
    for verdict in one.verdicts:
        if verdict.status is Status.VIOLATED:
            yield f"  {printable(verdict.contract)}: {_verdict_text(verdict, one)}"
        elif verdict.status in (Status.INCONCLUSIVE, Status.PENDING):
            cause = verdict.causes[0][0] if verdict.causes else _open(one)
            yield f"  {printable(verdict.contract)}: {verdict.status.value} ({printable(cause, limit=300)})"
    for told in one.told:
        yield ""
        yield from told_lines(told, named[told.violation.contract], one)
    yield ""


def _verdict_text(verdict: Verdict, one: Checked) -> str:
    at = violating(verdict)
    places = ", ".join(_place(step, one) for step in at[:_LISTED])
    more = f" and {len(at) - _LISTED} more" if len(at) > _LISTED else ""
    severity = "" if verdict.severity == "error" else f" ({verdict.severity})"
    return f"violated{severity} at {places}{more}"


def _open(one: Checked) -> str:
    return "an obligation is open" + ("" if one.ended else ", and the run has no end")


def _place(step: int, checked: Checked) -> str:
    if step >= checked.steps:
        return "the end"
    if checked.log:
        return f"line {checked.lines[step]}" if step in checked.lines else f"event {step + 1}"
    return f"#{step}"


def _link(index: int, steps: Mapping[int, Step], checked: Checked) -> str:
    step = steps.get(index)
    if step is None:
        return _place(index, checked)
    return f"{_place(index, checked)} {printable(step.agent, limit=24)} {_what(step)}"


def _what(step: Step) -> str:
    name = "" if isinstance(step.body, (Message, Decision)) else getattr(step.body, "name", "")
    return f"{printable(step.kind, limit=30)}{f' {printable(name, limit=40)}' if name else ''}"


def _slice(told: Told, checked: Checked) -> list[str]:
    found = told.violation
    lines = []
    previous = -1
    for index in sorted(told.steps):
        step = told.steps[index]
        if previous >= 0 and index != previous + 1:
            lines.append("        …")
        previous = index
        guilty = index == found.blame
        path = _guilty(step, found) if guilty else ()
        head = f"{_place(index, checked):<8} {printable(step.agent, limit=20):<12} {_what(step)}"
        lines.append(f"  {'>' if guilty else ' '} {head}  {marked(step, path)}".rstrip())
    return lines


def _guilty(step: Step, found: Violation) -> Path:
    """Return the field of the step at fault that is to be marked: as told, or the first one compared."""
    if found.path:
        return found.path
    try:
        value = step.value
    except RefusedValue:
        return ()
    for name, _ in found.saw:
        if _FIELD.fullmatch(name):
            path = tuple(int(part) if part.isdecimal() else part for part in name.split("."))
            if _within(step, value, path) is not None:
                return path
    return ()


def _within(step: Step, value: Any, path: Path) -> Path | None:
    """Return where in the payload `value` a field of its step lies; None when it is not part of it."""
    first, rest = path[0], path[1:]
    body = step.body
    place: Path | None = None
    if isinstance(body, Message):
        place = rest if first == "content" else () if first == "text" else None
    elif isinstance(body, Action):
        if first == "args":
            place = path if isinstance(value, dict) and "args" in value else rest
        elif first == "request":
            place = rest
    elif isinstance(body, Observation):
        if first == "outcome" and rest:
            first, rest = ("result" if rest[0] == "value" else rest[0]), rest[1:]
        if first == "result":
            place = rest
        elif first == "error":
            place = ("error", *rest) if isinstance(value, dict) and "error" in value else rest
        elif first in ("content", "text"):
            place = ("content",)
        elif first in ("tool_calls", "finish_reason"):
            place = path
    return place if place is not None and _holds(value, place) else None


def _holds(value: Any, path: Path) -> bool:
    for part in path:
        if isinstance(value, dict):
            part = str(part)
            if part not in value:
                return False
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            value = value[part]
        else:
            return False
    return True


def _parted(value: Any, path: Path) -> tuple[str, str, str]:
    """Return JSON text in three: before the value at `path`, that value, after it."""
    if not path:
        return "", _text(value), ""
    part, rest = path[0], path[1:]
    if isinstance(value, dict):
        keys = list(value)
        at = keys.index(str(part))
        texts = [f"{_text(key)}: " for key in keys]
        items = [value[key] for key in keys]
        opening, closing = "{", "}"
    else:
        at = int(part)
        texts, items = [""] * len(value), value
        opening, closing = "[", "]"
    before, guilty, after = _parted(items[at], rest)
    left = "".join(f"{text}{_text(item)}, " for text, item in zip(texts[:at], items[:at], strict=True))
    right = "".join(
        f", {text}{_text(item)}" for text, item in zip(texts[at + 1 :], items[at + 1 :], strict=True)
    )
    return f"{opening}{left}{texts[at]}{before}", guilty, f"{after}{right}{closing}"


def _text(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
        return repr(value)  # half a character, or a number no JSON has


def _values(pairs: Sequence[tuple[str, Any]]) -> str:
    return ", ".join(
        f"{printable(name, limit=120)} = {printable(_text(value), limit=120)}" for name, value in pairs[:12]
    )


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
