"""The golden traces: which runs they are of, and how they are recorded anew.

python -m tests.support.golden
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from masfire.campaign.planfile import load_plan
from masfire.campaign.single import run_cell
from masfire.recorder.player import Player
from masfire.trace.io import read_trace, save_trace
from masfire.trace.model import Step, Trace

FOLDER = Path(__file__).parent.parent / "traces" / "order_desk"
PLAN = FOLDER / "plan.yaml"
TASK = "dev-00"

FAULTS = {
    "linear": "hallucination@planner",
    "loop": "memory_loss@writer",
    "dialogue": "message_storm@assistant?copies=3",
    "star": "tool_selection_error@checker",
    "mesh": "message_broadcast_amplification@selling",
}
"""One fault for each system; the others are recorded and replayed within one test."""


def record(
    system: str, fault: str, out: Path, *, control: Path | None = None, replay: Player | None = None
) -> Trace:
    """Run one cell with the stub in the model's place; return what was recorded in `out`."""
    run_cell(
        load_plan(PLAN), f"{system}~stub", TASK,
        out=out, fault=fault, seed=1, source=PLAN, shown=control, replay=replay,
    )  # fmt: skip
    return read_trace(out)


def path_of(system: str, fault: str = "") -> Path:
    """Return where the golden trace of a cell is."""
    return FOLDER / f"{system}{'-' if fault else ''}{fault.partition('@')[0]}.jsonl"


def main() -> None:
    """Record every golden trace anew, with times counted from the run's beginning."""
    for system, fault in FAULTS.items():
        for address in ("", fault):
            out = path_of(system, address)
            trace = record(system, address, out, control=path_of(system) if address else None)
            save_trace(_settled(trace), out)
            sys.stdout.write(f"{out.name}: {len(trace)} steps\n")


def _settled(trace: Trace) -> Trace:
    """Return the trace with times that do not change when it is recorded again."""
    times = {step.step: float(step.step) for step in trace.steps}
    end = msgspec.structs.replace(trace.end, seconds=0.0) if trace.end is not None else None
    return msgspec.structs.replace(
        trace,
        header=msgspec.structs.replace(trace.header, created=0.0),
        steps=tuple(_calm(msgspec.structs.replace(step, time=times[step.step])) for step in trace.steps),
        injections=tuple(
            msgspec.structs.replace(mark, time=times.get(mark.step, float(len(trace))))
            for mark in trace.injections
        ),
        end=end,
    )


def _calm(step: Step) -> Step:
    draw = getattr(step.body, "draw", None)
    if draw is None:
        return step
    body = msgspec.structs.replace(step.body, draw=msgspec.structs.replace(draw, seconds=0.0))
    return msgspec.structs.replace(step, body=body)


if __name__ == "__main__":
    main()
