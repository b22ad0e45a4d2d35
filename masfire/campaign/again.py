"""A recorded run of a plan, started again from what its trace says of how it was started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from masfire.campaign.planfile import load_plan
from masfire.campaign.results import RunResult
from masfire.campaign.single import run_cell
from masfire.errors import Divergence, UsageError
from masfire.recorder.player import Player
from masfire.trace.difference import StepDifference, trace_difference
from masfire.trace.io import read_trace
from masfire.trace.model import Trace


class Repeated(Struct, frozen=True):
    """What a replay came to.

    `trace` is the new run; `difference` is where it leaves the record (None: it says the same as far as it
    went), `divergence` the error that stopped it for that. `stopped` says why a replay ended before the
    record did; `result` is the run's result unless a divergence stopped it.
    """

    trace: Trace
    difference: StepDifference | None = None
    divergence: Divergence | None = None
    stopped: str = ""
    result: RunResult | None = None


def launch_of(trace: Trace, key: str) -> Any:
    """Return one item of how the run was started; raise UsageError when the trace does not say."""
    if key not in trace.header.launch:
        raise UsageError(
            f"Run {trace.header.run} does not say how it was started (no {key!r} under 'launch').",
            hint="Runs of `masfire campaign`, `masfire run` and of marked pytest tests can be replayed.",
        )
    return trace.header.launch[key]


def repeat_cell(
    path: Path, player: Player, *, out: Path, plan: Path | None = None, fault: str | None = None
) -> Repeated:
    """Run the cell of the trace at `path` again under `player`; its trace goes to `out`.

    `plan` is the plan's file (None: the one that the trace names), `fault` an address in place of the
    recorded one ("": none). Raise UsageError when the plan is not there or does not know the cell.
    """
    record = player.trace
    source = plan or path.parent / str(launch_of(record, "plan"))
    if not source.is_file():
        raise UsageError(f"The plan of this run is not there: {source}.", hint="Say where it is by --plan.")
    shown = record.header.launch.get("control")
    control = path.parent / str(shown) if shown else None
    divergence, result = None, None
    try:
        result = run_cell(
            load_plan(source),
            str(launch_of(record, "system")),
            str(launch_of(record, "task")),
            out=out,
            fault=next(iter(record.header.faults), "") if fault is None else fault,
            seed=int(launch_of(record, "seed")),
            folder=source.parent,
            source=source,
            shown=control if control is not None and control.is_file() else None,
            replay=player,
        )
    except Divergence as left:
        divergence = left
    trace = read_trace(out)
    stopped = str(player.ended) if player.ended is not None else ""
    difference = None if stopped and divergence is None else trace_difference(record, trace)
    return Repeated(trace, difference, divergence, stopped, result)


def repeat_test(path: Path, player: Player, *, out: Path, faults: tuple[str, ...] | None = None) -> Repeated:
    """Run the test of the trace at `path` again in a pytest of its own, under the orders of `player`."""
    raise UsageError(f"{path} is of a test.", hint="")
