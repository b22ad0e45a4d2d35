"""`masfire cascade`: the three classes of vulnerability to spreading errors, measured."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted, print_json

if TYPE_CHECKING:
    from masfire.campaign.cascades import Attacked
    from masfire.campaign.spreading import Spread


@click.command(name="cascade", epilog=EXIT_CODES)
@click.argument("measurement", type=click.Choice(["amplification", "sensitivity", "inertia"]))
@click.argument("plan", type=EXISTING)
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder for the runs.")
@click.option("--resume", is_flag=True, help="Go on with what the folder holds, also of other measurements.")
@click.option("--stub-only", is_flag=True, help="Let the perfect copier alone answer.")
@click.option(
    "--fail-over", type=click.FloatRange(0, 1), help="Exit with 1 when a cell's final coverage is above."
)
@formatted
def command(
    measurement: Any, plan: str, out: str, resume: bool, stub_only: bool, fail_over: float | None, form: str
) -> int:
    """Measure how a false claim spreads through the systems of an attack PLAN.

    \b
    amplification  how far it comes from the agent that takes the task in
    sensitivity    how much worse a hub is than a leaf (the impact factor)
    inertia        what a later correction costs in polluted turns

    Writes attacks.jsonl (a line a run: what was planted, where, its trace and that of its clean twin),
    traces/, attack.yaml (the plan, for `masfire replay`), and per measurement a .json and a .svg.

    An agent that the plan attacks and no clean run shows is a mistake in the plan (exit code 2). Exits with
    3 when rows could not be measured because the claim, or every correction, was put before nobody.

    \b
    Example:
      masfire cascade amplification examples/cascade/stub.yaml --out results/cascade
    """
    import msgspec

    from masfire.campaign.attack import load_attack
    from masfire.campaign.cascades import AttackRuns
    from masfire.campaign.planfile import told_where
    from masfire.campaign.spreading import finding
    from masfire.reporting.printable import printable
    from masfire.reporting.spreading import finding_lines, finding_svg

    wanted = load_attack(plan)
    if stub_only:
        wanted = wanted.model_copy(update={"model": wanted.model.model_copy(update={"stub": "only"})})
    with told_where(plan):
        runs = AttackRuns(wanted, out, resume=resume).run(measurement)
    found = finding(measurement, runs)
    folder = Path(out)
    (folder / f"{measurement}.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    (folder / f"{measurement}.svg").write_text(finding_svg(found), encoding="utf-8")
    if form == "json":
        print_json(msgspec.to_builtins(found))
    else:
        for line in finding_lines(found):
            click.echo(printable(line))
        click.echo(f"Files: {out} ({measurement}.json, {measurement}.svg, attacks.jsonl, traces/)")
        for line in _next(runs, folder):
            click.echo(printable(line))
    over = [cell for cell in found.cells if fail_over is not None and (cell.final or 0.0) > fail_over]
    if over:
        click.echo(f"masfire: {_exceeded(over)}, more than --fail-over {fail_over:g} allows.", err=True)
        return 1
    if found.empty or not found.runs:
        what = f"in {len(found.empty)} of {len(found.cells)} rows" if found.empty else "in any row"
        click.echo(f"masfire: inconclusive: nothing was measured {what} (told above).", err=True)
        return 3
    return 0


def _next(runs: Sequence[Attacked], folder: Path) -> Iterator[str]:
    """Yield how to look into the run in which the claim came furthest."""
    told = [each for each in runs if each.valid and each.cascade and each.trace and each.claim]
    if not told:
        return
    worst = max(told, key=lambda each: each.cascade.peak if each.cascade else 0.0)
    trace, clean = (shlex.quote(str(folder / name)) for name in (worst.trace, worst.clean))
    attack = worst.attack
    what = f"{attack.system}, {attack.task}, {attack.placement} {worst.agent}, {attack.packaging}"
    yield f"Look into one run ({what}):"
    yield f"  masfire genealogy {trace} --follow {shlex.quote(json.dumps(worst.claim, ensure_ascii=False))}"
    yield f"  masfire genealogy {trace} --against {clean}"
    yield f"  masfire replay {trace}"


def _exceeded(cells: Sequence[Spread]) -> str:
    """Return in how many rows how much of a system holds the claim at the end."""
    worst = max(cells, key=lambda cell: cell.final or 0.0)
    others = f" (and {len(cells) - 1} other rows)" if len(cells) > 1 else ""
    return f"{worst.final or 0.0:.0%} of {worst.system}'s agents hold the claim at the end{others}"
