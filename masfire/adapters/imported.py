"""What an importer makes of a foreign log: a trace, its label, and a count of what was not understood."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from masfire.diagnosis.model import Label
from masfire.errors import UsageError
from masfire.trace.model import End, Header, Message, Step, Trace
from masfire.trace.payload import pack_or_refuse

MAX_BYTES = 256 * 1024 * 1024
"""Largest foreign file that is read, in bytes."""


class Imported(Struct, frozen=True):
    """One foreign run as a trace.

    `group` names what must stay on one side of a split; `expected` is the right answer or the
    expected calls, for evidence that may use them; `ignored` counts what was not understood, by kind.
    `begins` says at which step each message of the source begins (empty: step i is message i).
    """

    trace: Trace
    label: Label | None = None
    group: str = ""
    expected: Any = None
    ignored: dict[str, int] = {}
    begins: tuple[int, ...] = ()


class Unread(Struct, frozen=True):
    """The errors of one importer: which log it expects, and where it looked."""

    log: str
    expected: str
    where: str = ""

    def shape(self, data: Any) -> UsageError:
        """Return the error for a value of another shape; names the keys that were there."""
        if isinstance(data, dict):
            keys = ", ".join(sorted(map(str, data))[:8])
            saw = f"an object with {keys or 'no keys'}"
        else:
            saw = f"a {type(data).__name__}"
        return UsageError(f"This is no {self.log}: it is {saw:.300}.", hint=f"Expected {self.expected}.",
                          where=self.where)  # fmt: skip

    def problem(self, what: str) -> UsageError:
        """Return the error for a log of the right shape in which something is wrong."""
        return UsageError(f"This {self.log} cannot be read: {what}.", where=self.where)


def read_json(path: str | Path) -> Any:
    """Return the JSON value of a file; raise UsageError when it is none, too large or too deep."""
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise UsageError(f"The file is larger than {MAX_BYTES} bytes.", where=str(path))
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"This is no JSON file: {error}.", where=str(path)) from None


def read_lines(path: str | Path) -> list[Any]:
    """Return the JSON values of a JSON Lines file; raise UsageError naming the bad line (1-based)."""
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise UsageError(f"The file is larger than {MAX_BYTES} bytes.", where=str(path))
    values = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
        if line.strip():
            try:
                values.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UsageError(f"This is no JSON: {error}.", where=f"{path}:{number}") from None
    return values


def trace_of_messages(
    turns: Sequence[Mapping[str, Any]], *, run: str, system: str, task: Any, status: str, success: bool | None
) -> Trace:
    """Return a trace with one message step a turn ({agent, content[, role, to]}), in order.

    Foreign logs have no clock: step i has time i. The answer is what the last turn said.
    """
    steps = tuple(
        Step(
            step=index,
            time=float(index),
            agent=turn["agent"],
            role=turn.get("role", ""),
            body=Message(to=tuple(turn.get("to", ())), content=pack_or_refuse(turn["content"])),
            parents=(index - 1,) if index else (),
        )
        for index, turn in enumerate(turns)
    )
    answer = pack_or_refuse(turns[-1]["content"])
    return Trace(
        header=Header(run=run, system=system, task=pack_or_refuse(task)),
        steps=steps,
        end=End(status=status, success=success, answer=answer, steps=len(steps)),
    )
