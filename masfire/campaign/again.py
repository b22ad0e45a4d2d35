"""A recorded run started again from what its trace says of how it was started: a plan's cell or a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from masfire.campaign.attack import load_attack
from masfire.campaign.cascades import planter_of
from masfire.campaign.plan import Plan
from masfire.campaign.planfile import load_plan
from masfire.campaign.results import RunResult
from masfire.campaign.single import run_cell
from masfire.errors import Divergence, UsageError
from masfire.recorder.player import Player
from masfire.trace.difference import StepDifference, trace_difference
from masfire.trace.io import read_trace
from masfire.trace.model import Trace
from masfire.yamlfile import kind_of, read_text


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
    plan_of_run, extra = _plan_of(source, record, as_recorded=fault is None)
    shown = record.header.launch.get("control")
    control = path.parent / str(shown) if shown else None
    divergence, result = None, None
    try:
        result = run_cell(
            plan_of_run,
            str(launch_of(record, "system")),
            str(launch_of(record, "task")),
            out=out,
            fault=next(iter(record.header.faults), "") if fault is None else fault,
            seed=int(launch_of(record, "seed")),
            folder=source.parent,
            source=source,
            shown=control if control is not None and control.is_file() else None,
            replay=player,
            **extra,
        )
    except Divergence as left:
        divergence = left
    trace = read_trace(out)
    stopped = str(player.ended) if player.ended is not None else ""
    difference = None if stopped and divergence is None else trace_difference(record, trace)
    return Repeated(trace, difference, divergence, stopped, result)


def _plan_of(source: Path, record: Trace, *, as_recorded: bool) -> tuple[Plan, dict[str, Any]]:
    """Return the plan in a file and what `run_cell` needs besides: a run of an attack plan its attack.

    Raise UsageError when the trace does not say what was planted in it.
    """
    if kind_of(read_text(source, "plan")) != "attack":
        return load_plan(source), {}
    plan = load_attack(source).plain()
    told = record.header.launch.get("attack")
    if not as_recorded or (told is None and not record.injections):
        return plan, {}
    if not isinstance(told, dict):
        raise UsageError(
            f"Run {record.header.run} does not say what was planted in it (an older version wrote it).",
            hint="Run its cell again with `masfire cascade`, or see --without-faults.",
        )
    return plan, {"interceptors": (planter_of(told),), "launch": {"attack": told}}


ORDER = "MASFIRE_REPLAY"
"""The environment variable that tells the pytest of a replay which run of its test to repeat, and how."""


class Order(Struct, frozen=True):
    """What the pytest of a replay is asked for.

    `run` is the number of the test's run that the trace at `trace` holds, `faults` are addresses in
    place of the recorded ones (None: those), `out` is where the new trace goes.
    """

    trace: str
    out: str
    run: int = 0
    faults: tuple[str, ...] | None = None
    strict: bool = True
    live: bool = False
    live_tools: bool = False
    until: int | None = None


class Heard(Struct, frozen=True):
    """What the player in that pytest saw: calls answered, calls asked live, why and where it stopped."""

    answered: int = 0
    asked_live: int = 0
    stopped: str = ""
    message: str = ""
    hint: str = ""
    step: int = -1
    agent: str = ""
    path: str = ""
    expected: Any = None
    got: Any = None


def heard_file(out: Path) -> Path:
    """Return the file beside the new trace in which that pytest leaves what it heard."""
    return out.with_name(f"{out.name}.heard")


def repeat_test(path: Path, player: Player, *, out: Path, faults: tuple[str, ...] | None = None) -> Repeated:
    """Run the test of the trace at `path` again in a pytest of its own, under the orders of `player`.

    It is started in the current directory, or in the folder above the trace from which its node id
    leads to a file. What the player there saw is taken over into `player`. Raise UsageError when the
    test cannot be found or run.
    """
    launch = player.trace.header.launch
    node = str(launch_of(player.trace, "pytest"))
    root = _root_of(node, path)
    order = Order(
        str(path.absolute()), str(out.absolute()), int(launch.get("run", 0)), faults,
        player.strict, player.live, player.live_tools, player.until,
    )  # fmt: skip
    options = [str(option) for option in launch.get("options", ())]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", node, *options]
    environment = {**os.environ, ORDER: msgspec.json.encode(order).decode()}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if not (out.is_file() and heard_file(out).is_file()):
        said = f"{done.stdout[-1500:]}{done.stderr[-500:]}".strip()
        raise UsageError(
            f"pytest did not run {node} (exit code {done.returncode}): {said}",
            hint="Start it where its tests are, with the plugins they need.",
        )
    heard = msgspec.json.decode(heard_file(out).read_bytes(), type=Heard)
    heard_file(out).unlink()
    player.answered, player.asked_live = heard.answered, heard.asked_live
    left = None
    if heard.message:
        left = Divergence(
            heard.message, step=heard.step, agent=heard.agent, path=heard.path, expected=heard.expected,
            got=heard.got, hint=heard.hint,
        )  # fmt: skip
    trace = read_trace(out)
    difference = None if heard.stopped and left is None else trace_difference(player.trace, trace)
    return Repeated(trace, difference, left, heard.stopped)


def _root_of(node: str, path: Path) -> Path:
    """Return the folder from which a node id leads to a file."""
    file = node.partition("::")[0]
    here = Path.cwd()
    for folder in (here, *path.absolute().parents):
        if (folder / file).is_file():
            return folder
    raise UsageError(
        f"The test {node} is neither under {here} nor beside the trace.",
        hint="Go to the root directory of its test suite.",
    )
