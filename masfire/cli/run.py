"""`masfire run`: one cell of a plan."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted, print_json


@click.command(name="run", epilog=EXIT_CODES)
@click.argument("plan", type=EXISTING)
@click.option("--system", required=True, help="A system of the plan; its stub control is NAME~stub.")
@click.option("--task", required=True, help="The id of a task of the plan.")
@click.option("--fault", default="", help="A fault address; without one the run is fault-free.")
@click.option("--seed", type=click.IntRange(0, 2**53 - 1), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="Where the trace goes.  [default: .masfire/run/<run id>.jsonl]",
)
@formatted
def command(plan: str, system: str, task: str, fault: str, seed: int, out: str | None, form: str) -> int:
    """Run one cell of PLAN in this process and say what became of it.

    With the plan.yaml of a campaign folder, that campaign's controls and reply cache are used, so one
    of its runs happens again.

    \b
    Example:
      masfire run results/first/plan.yaml --system linear --task order-3 \\
          --fault hallucination@planner --seed 1
    """
    import msgspec

    from masfire.campaign.cells import run_id
    from masfire.campaign.planfile import load_plan, told_where
    from masfire.campaign.single import run_cell
    from masfire.faults.base import FaultSpec
    from masfire.reporting.printable import printable

    address = FaultSpec.parse(fault).address if fault else ""
    path = Path(out) if out else Path(".masfire", "run", f"{run_id(system, address, task, seed)}.jsonl")
    with told_where(plan), contextlib.redirect_stdout(sys.stderr):  # what the system prints is not our result
        result = run_cell(
            load_plan(plan),
            system,
            task,
            out=path,
            fault=address,
            seed=seed,
            folder=Path(plan).parent,
            source=Path(plan),
        )
    if form == "json":
        print_json({**msgspec.to_builtins(result), "trace": str(path)})
    else:
        verdict = {True: "solved", False: "not solved", None: "not judged"}[result.success]
        click.echo(f"{result.status}, {verdict}, {result.steps} steps, {result.calls} model calls")
        if result.error:
            click.echo(f"  {printable(result.error, limit=500)}")
        if address:
            place = f" at agent {printable(result.agent)}, step #{result.step}" if result.step >= 0 else ""
            click.echo(f"{address}: {result.state}{place} ({printable(result.reason, limit=300)})")
        click.echo(f"trace: {path}")
    if result.success is None or (address and result.state != "witnessed"):
        return 3
    return 0 if result.success else 1
