"""Contracts asked of a trace, a run or an event log: the one way in for tests and the command line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from masfire.contracts.model import Contract, Status, Verdict, Violation
from masfire.errors import MasfireError, TraceError, UsageError
from masfire.reporting.checked import Check, Checked, Told, shortened
from masfire.trace.model import End, Step, Trace

if TYPE_CHECKING:
    from masfire.adapters.events import EventLog
    from masfire.session import Run

TOLD = 3
"""Violations of one contract in one trace that are told in full."""

HOPS = 64
"""Steps of a lineage."""

BEFORE, AFTER = 2, 1
"""Steps shown around the step at fault."""

ALL = "all"
"""The name that stands for every pack."""


class ContractViolation(MasfireError, AssertionError):
    """A contract does not hold; `check` has every verdict. The first line names the contracts."""

    exit_code = 1
    __module__ = "masfire"  # where users find it, and short enough for a summary's line

    def __init__(self, check: Check) -> None:
        self.check = check
        super().__init__(_told(check))


class ContractInconclusive(ContractViolation):
    """No contract is violated, but something could not be judged, is still open, or nothing applied."""

    exit_code = 3
    __module__ = "masfire"


defaults: ContextVar[tuple[Contract, ...]] = ContextVar("masfire contracts", default=())
"""Contracts of a `check` that names none: a test's marker and ini file set them."""

noted: ContextVar[list[Check] | None] = ContextVar("masfire checks", default=None)
"""Where every `check` is noted, for a session's summary."""


def check(
    subject: Run | Trace | str | os.PathLike[str],
    contracts: Any = None,
    *,
    replay: str = "",
) -> Checked:
    """Judge a run, a trace or a trace file by contracts; return the verdicts when all is well.

    `contracts` are files, folders, names of shipped packs or Contract objects, one or several; in a test
    they default to those of its marker or the ini key `masfire_contracts`. A run that is still being
    recorded is judged as if it ended here. `replay` is told as the command that runs it again. Ground
    truth of injected faults is hidden from every contract.

    Raise ContractViolation (an AssertionError with the whole report) when a contract is violated and
    ContractInconclusive when none is but one could not be judged or not one applied: neither is a pass.

    >>> check(Trace(Header("r"), ()), contracts="termination")  # doctest: +SKIP
    """
    __tracebackhide__ = True
    wanted = resolve(contracts) if contracts is not None else defaults.get()
    if not wanted:
        raise UsageError(
            "There are no contracts to check.",
            hint="Give contracts=…, or name some in the marker or the ini key masfire_contracts.",
        )
    if isinstance(subject, (str, os.PathLike)):
        found = check_file(subject, wanted)
    else:
        trace, source = _trace_of(subject)
        found = check_trace(trace, wanted, source=source, replay=replay)
    whole = Check(wanted, (found,))
    notes = noted.get()
    if notes is not None:
        notes.append(whole)
    require(whole)
    return found


def require(whole: Check) -> None:
    """Raise ContractViolation or ContractInconclusive unless everything that applied passed."""
    __tracebackhide__ = True
    if whole.exit_code:
        raise ContractViolation(whole) if whole.exit_code == 1 else ContractInconclusive(whole)


def resolve(named: Any, *, folders: Sequence[Path] = ()) -> tuple[Contract, ...]:
    """Return the contracts that files, folders, pack names (`all`: every pack) and Contracts stand for.

    A relative path is looked for in each of `folders`, then from the current directory. Raise
    UsageError with the mistakes of all files, for unknown names and for an id that occurs twice.
    """
    from masfire.contracts.loader import load_contracts, packs_folder

    items = [named] if isinstance(named, (str, os.PathLike, Contract)) else list(named)
    found: list[Contract] = []
    paths: list[str | Path] = []
    for item in items:
        if isinstance(item, Contract):
            found.append(item)
        elif isinstance(decorated := getattr(item, "contract", None), Contract):
            found.append(decorated)
        elif isinstance(item, (str, os.PathLike)):
            paths.append(_existing(item, folders) or (packs_folder() if item == ALL else os.fspath(item)))
        else:
            raise UsageError(f"{item!r:.80} is no contract.", hint="Give a file, a folder or a pack's name.")
    if paths:
        found += load_contracts(*paths)
    _refuse_twins(found)
    return tuple(found)


def check_file(path: str | os.PathLike[str], contracts: Sequence[Contract], *, told: int = TOLD) -> Checked:
    """Return what contracts say of a trace file; of a damaged one as far as it can be read."""
    from masfire.trace.io import read_trace

    source, damage = os.fspath(path), ""
    try:
        trace = read_trace(source)
    except TraceError as error:
        if not isinstance(error.prefix, Trace):
            raise
        trace, damage = error.prefix, str(error)
    replay = f"masfire replay {shlex.quote(source)} --until {{step}}"
    found = check_trace(trace, contracts, source=source, replay=replay, told=told)
    lines = _lines_of(source, _mentioned(found.violations)) if any(found.violations) else {}
    return msgspec.structs.replace(found, damage=damage, lines=lines)


def check_trace(
    trace: Trace, contracts: Sequence[Contract], *, source: str = "", replay: str = "", told: int = TOLD
) -> Checked:
    """Return what contracts say of a trace, its ground truth hidden from them."""
    from masfire.contracts.engine import judge

    trace = trace.blind()
    verdicts = judge(trace, contracts)
    return Checked(
        source=source or f"run {trace.header.run}",
        steps=len(trace),
        ended=trace.end.status if trace.end else "",
        verdicts=verdicts,
        told=tuple(_explain(violation, trace) for violation in _foremost(verdicts, told)),
        replay=replay,
    )


def check_log(log: EventLog, contracts: Sequence[Contract], *, told: int = TOLD) -> Checked:
    """Return what contracts say of an event log, which ends where its file does, in bounded memory.

    Raise UsageError when a contract speaks of seconds and the log has no times.
    """
    from masfire.contracts.engine import Engine

    if not log.timed:
        _refuse_seconds(contracts, log)
    engine = Engine(contracts)
    damage = ""
    try:
        for step in log:
            engine.commit(step)
    except TraceError as error:
        damage = str(error)
    engine.end("" if damage else "completed")
    verdicts = engine.verdicts()
    shown = [Told(violation) for violation in _foremost(verdicts, told)]
    lines = {
        step: log.line(min(step, log.steps - 1)) + (step >= log.steps)
        for verdict in verdicts
        for step in _mentioned(verdict.violations)
    }
    steps = log.steps
    if shown and log.again:
        shown = _with_steps(shown, log)
        lines |= {step: log.line(step) for told in shown for step in told.steps}
    return Checked(
        log.path, steps, "" if damage else "completed", verdicts, tuple(shown), lines, True, damage
    )


def _with_steps(shown: list[Told], log: EventLog) -> list[Told]:
    """Read the log once more for the steps that the told violations are about."""
    wanted = {index for told in shown for index in _around(told.violation, log.steps)}
    last = max(wanted, default=-1)
    kept: dict[int, Step] = {}
    for step in log:
        if step.step > last:
            break
        if step.step in wanted:
            kept[step.step] = step
    return [
        Told(told.violation, (), {i: kept[i] for i in _around(told.violation, last + 1) if i in kept})
        for told in shown
    ]


def _foremost(verdicts: Iterable[Verdict], most: int) -> Iterator[Violation]:
    for verdict in verdicts:
        yield from verdict.violations[:most]


def _explain(violation: Violation, trace: Trace) -> Told:
    lineage = _lineage(violation, trace)
    wanted = {*_around(violation, len(trace)), *shortened(lineage)}
    return Told(violation, lineage, {index: trace[index] for index in sorted(wanted)})


def _around(violation: Violation, steps: int) -> list[int]:
    """Return the steps worth showing: those around the one at fault, where it was found, the witnesses."""
    blame = violation.blame
    near = range(max(0, blame - BEFORE), blame + AFTER + 1) if blame >= 0 else ()
    wanted = {*near, violation.violated_at, *(witness.step for witness in violation.witnesses[:10])}
    return sorted(index for index in wanted if 0 <= index < steps)


def _lineage(violation: Violation, trace: Trace) -> tuple[int, ...]:
    """Return how the step at fault came about: parent by parent, where it can be along the guilty value.

    Of several parents the latest that holds the value is followed, else the latest.
    """
    if not 0 <= violation.blame < len(trace):
        return ()
    needle = _needle(violation)
    chain = [violation.blame]
    while len(chain) < HOPS:
        parents = [parent for parent in trace[chain[-1]].parents if 0 <= parent < chain[-1]]
        if not parents:
            break
        holding = [p for p in parents if needle and needle in bytes(trace[p].payload)]
        chain.append(max(holding or parents))
    return tuple(reversed(chain))


def _needle(violation: Violation) -> bytes:
    """Return the text of the first telling value that the false formula saw."""
    for _, value in violation.saw:
        if isinstance(value, str) and len(value) >= 3:
            return value.encode("utf-8", "replace")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) >= 10:
            return repr(value).encode()
    return b""


def _mentioned(violations: Iterable[Violation]) -> set[int]:
    found: set[int] = set()
    for violation in violations:
        found |= {violation.violated_at, violation.blame}
        found |= {witness.step for witness in violation.witnesses}
    return {step for step in found if step >= 0}


class _Body(msgspec.Struct):
    type: str = ""


class _Line(msgspec.Struct):
    record: str = ""
    writer: str = ""
    step: int = -1
    body: _Body | None = None


def _lines_of(path: str, wanted: set[int]) -> dict[int, int]:
    """Return the lines at which steps of a file with one writer stand; of others, nothing."""
    decode = msgspec.json.Decoder(_Line).decode
    found: dict[int, int] = {}
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                return found
            if line.writer:
                return {}
            if line.record == "step" and line.step in wanted and line.body and line.body.type != "injection":
                found[line.step] = number
    return found


def _trace_of(subject: Any) -> tuple[Trace, str]:
    if isinstance(subject, Trace):
        return subject, ""
    trace = getattr(subject, "trace", None)
    if not isinstance(trace, Trace):
        raise UsageError(
            f"{subject!r:.80} is no run and no trace.",
            hint="Give a masfire run, a Trace, the fixture masfire or the path of a trace.",
        )
    if trace.end is None:  # it goes on, and is judged as if it ended here
        trace = msgspec.structs.replace(trace, end=End("completed", steps=len(trace)))
    path = getattr(subject, "path", None)
    return trace, str(path) if path else ""


def _existing(item: str | os.PathLike[str], folders: Sequence[Path]) -> Path | None:
    here = Path.cwd()
    for folder in (*folders, Path()):
        path = folder / os.fspath(item)
        if path.exists():
            return path.relative_to(here) if path.is_relative_to(here) else path
    return None


def _refuse_twins(contracts: Sequence[Contract]) -> None:
    seen: dict[str, Contract] = {}
    for contract in contracts:
        other = seen.setdefault(contract.id, contract)
        if other is not contract and other.where != contract.where:
            raise UsageError(
                f"Two contracts are called {contract.id!r}: {other.where or 'Python'} and "
                f"{contract.where or 'Python'}.",
                hint="A report could not tell them apart; rename one.",
            )


def _refuse_seconds(contracts: Sequence[Contract], log: EventLog) -> None:
    timed = [contract.id for contract in contracts if _in_seconds(contract.rules)]
    if timed:
        raise UsageError(
            f"{', '.join(timed)} speaks of seconds, but {log.path} has no times.",
            hint="Say where they stand: --time-column N (from 0; -1: the last), or --map time=FIELD.",
        )


def _in_seconds(node: Any) -> bool:
    """Return whether a window in seconds stands anywhere in a rule."""
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack += item
        elif isinstance(item, msgspec.Struct):
            if getattr(item, "unit", "") == "seconds":
                return True
            stack += [getattr(item, name) for name in item.__struct_fields__]
    return False


def _told(whole: Check) -> str:
    from masfire.reporting.violations import check_lines

    return "\n".join([_headline(whole), "", *check_lines(whole)])


def _headline(whole: Check) -> str:
    """Return which contracts failed in which way, in a line."""
    from masfire.reporting.printable import printable

    for status in (Status.VIOLATED, Status.INCONCLUSIVE, Status.PENDING):
        names = dict.fromkeys(
            verdict.contract
            for one in whole.checked
            for verdict in one.verdicts
            if verdict.status is status and verdict.severity == "error"
        )
        if names:
            first = next(iter(whole.checked[0].violations), None) if status is Status.VIOLATED else None
            at = f", first at step {first.violated_at}" if first is not None else ""
            return f"{printable(', '.join(names), limit=300)} {status.value}{at}"
    damage = next((one.damage for one in whole.checked if one.damage), "")
    return f"damaged trace: {printable(damage, limit=300)}" if damage else "no contract applied to anything"
