"""`masfire campaign`: a plan, run into a folder."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted

if TYPE_CHECKING:
    from masfire.campaign.runner import Campaign, Progress, Watcher
    from masfire.campaign.summary import Summary

_NAMED = 3
"""How many cells below a threshold are named."""


@click.command(name="campaign", epilog=EXIT_CODES)
@click.argument("plan", type=EXISTING)
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder for the results.")
@click.option("--resume", is_flag=True, help="Go on with the campaign in the folder.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes at a time (default: the plan's).")
@click.option(
    "--fail-under",
    type=click.FloatRange(0, 1),
    metavar="RS",
    help="Exit with 1 when RS_f of any cell is below this.",
)
@click.option(
    "--comply",
    type=click.FloatRange(0, 1),
    metavar="RATE",
    help="Exit with 1 when fewer of the fault-free runs than this keep the plan's contracts.",
)
@click.option("--memory", metavar="FILE|URL", default="",
              help="Say which failures this memory knew already (see `masfire learn`).")  # fmt: skip
@formatted
def command(
    plan: str,
    out: str,
    resume: bool,
    workers: int | None,
    fail_under: float | None,
    comply: float | None,
    memory: str,
    form: str,
) -> int:
    """Run the campaign that PLAN describes: systems by faults by tasks by seeds, with controls.

    Writes plan.yaml, results.sqlite, traces/, summary.json and report.html to the folder, one result
    row and one trace a run. It may be stopped at any instant, by Ctrl-C or otherwise, and gone on with
    by --resume.

    \b
    Example:
      masfire campaign plan.yaml --out results/first --fail-under 0.5
    """
    from masfire.campaign.planfile import load_plan, told_where
    from masfire.campaign.runner import Campaign
    from masfire.errors import UsageError

    described = load_plan(plan)
    if comply is not None and not described.contracts:
        raise UsageError("--comply needs contracts, and the plan has none.", hint="Add: contracts: [FILE]")
    with told_where(plan), _Bar() as watch:
        campaign = Campaign(described, out, resume=resume, workers=workers or 0, watch=watch, memory=memory)
        stopped = _run(campaign)
    summary = campaign.summary
    if summary is not None:
        skipped = _render(summary, Path(out))
        _print(summary, Path(out), form, skipped)
    if stopped:
        again = shlex.join(["masfire", "campaign", plan, "--out", out, "--resume"])
        click.echo(f"masfire: Stopped; what is done is kept. Go on with: {again}", err=True)
        return 130
    return _code(summary, fail_under, comply)


def _run(campaign: Campaign) -> bool:
    """Run the campaign; return whether somebody stopped it."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        campaign.run()
    except KeyboardInterrupt:
        return True
    finally:
        signal.signal(signal.SIGTERM, before)
    return False


def _render(summary: Summary, out: Path) -> str:
    """Write the page; return why it could not be, if so."""
    from masfire.campaign.results import Results
    from masfire.campaign.runner import REPORT_FILE, RESULTS_FILE
    from masfire.errors import MissingDependency
    from masfire.reporting.html import write_page

    try:
        with Results(out / RESULTS_FILE, readonly=True) as results:
            write_page(summary, list(results), out / REPORT_FILE)
    except MissingDependency as error:
        return str(error)
    return ""


def _print(summary: Summary, out: Path, form: str, skipped: str) -> None:
    if form == "json":
        click.echo(summary.model_dump_json(indent=2))
        return
    from rich.console import Console

    from masfire.reporting.text import campaign_tables
    from masfire.reporting.words import headline, remarks

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(headline(summary), markup=False)
    for table in campaign_tables(summary, width=console.width):
        console.print(table)
    for remark in remarks(summary):
        console.print(remark, markup=False, soft_wrap=True)
    console.print(f"Files: {out} (report.html, summary.json, results.sqlite, traces/)", markup=False)
    if skipped:
        console.print(skipped, markup=False)


def _code(summary: Summary | None, fail_under: float | None, comply: float | None) -> int:
    if summary is None:
        return 3
    kept = summary.compliance["controls"].runs.rate if comply is not None and summary.compliance else None
    if comply is not None and kept is not None and kept < comply:
        click.echo(
            f"masfire: {kept:.0%} of the fault-free runs keep the contracts, below {comply:g}.", err=True
        )
        return 1
    if summary.exit_code or (comply is not None and kept is None):
        return summary.exit_code or 3
    if fail_under is None:
        return 0
    rated = [(cell.rs.rate, cell) for cell in summary.cells if cell.rs.rate is not None]
    below = [(rate, cell) for rate, cell in rated if rate < fail_under]
    if not below:
        return 0
    named = [f"{cell.fault} {cell.times} on {cell.system} ({rate:.2f})" for rate, cell in below]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    click.echo(
        f"masfire: RS_f is below {fail_under:g} in {len(below)} of {len(rated)} cells: "
        f"{', '.join(named[:_NAMED])}{more}.",
        err=True,
    )
    return 1


class _Bar:
    """A progress bar with rate and time left, on terminals only."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Watcher:
        if not sys.stderr.isatty():
            return lambda _: None
        from rich import progress
        from rich.console import Console

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._progress.start()
        return self._update

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _update(self, seen: Progress) -> None:
        bar = self._progress
        if seen.phase not in self._tasks:
            self._tasks[seen.phase] = bar.add_task(
                seen.phase, total=seen.total, completed=seen.before, rate=""
            )
        task = self._tasks[seen.phase]
        elapsed = bar.tasks[task].elapsed or 0
        made = seen.done - seen.before
        rate = f"{made / elapsed:.1f} runs/s" if elapsed and made else ""
        bar.update(task, completed=seen.done, total=seen.total, rate=rate)
