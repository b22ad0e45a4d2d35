"""A few lines of a trace around what was injected, safe for any terminal."""

from __future__ import annotations

from collections.abc import Iterator

from masfire.trace.model import Action, Injection, Message, Observation, Step, Trace

BEFORE, AFTER = 2, 4
"""How many steps before and after an injection are shown."""

WIDTH = 110
"""Longest text of one step, in characters."""


def shown(text: object, width: int = 400) -> str:
    """Return `text` with everything that is not printable escaped, cut in its middle to `width`.

    The answer is one line that every encoder takes: control characters, bidirectional marks and lone
    surrogates become backslash escapes.
    """
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in str(text)
    )
    if len(escaped) <= width:
        return escaped
    head = (width - 1) * 2 // 3
    return f"{escaped[:head]}…{escaped[len(escaped) - (width - 1 - head) :]}"


def excerpt(trace: Trace) -> list[str]:
    """Return lines about the steps around each injection, or about the last steps when there is none."""
    marks = [mark for mark in trace.injections if _struck(mark)]
    centres = sorted({mark.step for mark in marks})
    if centres:
        wanted = {step for centre in centres[:3] for step in range(centre - BEFORE, centre + AFTER + 1)}
    else:
        wanted = set(range(len(trace) - BEFORE - AFTER, len(trace)))
    lines, previous = [], -1
    for step in trace:
        if step.step not in wanted:
            continue
        if step.step != previous + 1:
            lines.append("      …")
        previous = step.step
        lines.append(_line(step, injected=step.step in centres))
        lines += [line for mark in marks if mark.step == step.step for line in _change(mark)]
    if 0 <= previous < len(trace) - 1:
        lines.append("      …")
    return lines


def _struck(mark: Step) -> bool:
    return isinstance(mark.body, Injection) and mark.body.state == "injected"


def _line(step: Step, *, injected: bool) -> str:
    body = step.body
    name = ""
    if isinstance(body, Message):
        name = f" → {', '.join(body.to)}"
    elif isinstance(body, (Action, Observation)) and body.name:
        name = f" {body.name}"
    head = f"{'>' if injected else ' '}{step.step:>5} {step.agent}: {step.kind}{name}"
    return f"{shown(head, 80)}  {shown(_text(step), WIDTH)}".rstrip()


def _change(mark: Step) -> Iterator[str]:
    """Yield the two texts from shortly before where they part."""
    if not isinstance(mark.body, Injection):
        return
    before, after = (bytes(raw).decode("utf-8", "replace") for raw in (mark.body.before, mark.body.after))
    yield f"        {shown(mark.body.fault, 60)}"
    if before == after:
        yield f"        = {shown(after, WIDTH)}"
        return
    parted = next(
        (index for index, (one, two) in enumerate(zip(before, after, strict=False)) if one != two),
        min(len(before), len(after)),
    )
    start = max(0, parted - 24)
    dots = "…" if start else ""
    yield f"        - {dots}{shown(before[start:], WIDTH)}"
    yield f"        + {dots}{shown(after[start:], WIDTH)}"


def _text(step: Step) -> str:
    return bytes(step.payload).decode("utf-8", "replace")
