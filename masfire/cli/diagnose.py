"""`masfire diagnose`: who caused a failure, at which step; or learn it from labelled runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted, print_json

if TYPE_CHECKING:
    from masfire.campaign.confirm import Confirmed
    from masfire.cli.diagnosing import Diagnosed

FOLDER = click.Path(exists=True, file_okay=False)
_FORMS = ("auto", "trace", "whowhen", "taubench", "chat")


@click.command(name="diagnose", epilog=EXIT_CODES)
@click.argument("traces", metavar="TRACE|DIR...", nargs=-1, type=click.Path(exists=True))
@click.option(
    "--contracts", "named", multiple=True, metavar="FILE|DIR|PACK",
    help="Blame steps that break these contracts ('all': every shipped pack); repeatable.",
)  # fmt: skip
@click.option(
    "--expected", type=EXISTING, metavar="FILE",
    help='What should have been done: {"actions": [{"name", "kwargs"}], "outputs": [...]}.',
)  # fmt: skip
@click.option("--clean", multiple=True, type=EXISTING, metavar="TRACE",
              help="A good run of the same system, task and seed to compare with; repeatable.")  # fmt: skip
@click.option("--runs", type=FOLDER, metavar="DIR",
              help="Repeats of the task: what only failed ones do is suspect.")  # fmt: skip
@click.option("--memory", metavar="FILE|URL",
              help="Recognise errors that `masfire learn` has stored here.")  # fmt: skip
@click.option("--scorer", type=EXISTING, metavar="FILE", help="What --fit has learned.")
@click.option("--model", is_flag=False, flag_value="auto", metavar="[URL]",
              help="Ask a model: at this URL, at OPENAI_BASE_URL, or the local one.")  # fmt: skip
@click.option("--confirm", type=FOLDER, metavar="DIR",
              help="Repeat the run in this campaign folder with the suspects repaired.")  # fmt: skip
@click.option("--blame", is_flag=True,
              help="With --confirm: also each agent's Shapley value.")  # fmt: skip
@click.option("--fit", type=FOLDER, metavar="DIR",
              help="Learn from the labelled or injected runs in this folder.")  # fmt: skip
@click.option("--weak", is_flag=True, help="With --fit: from pass and fail alone, without step labels.")
@click.option("--most", type=click.IntRange(2, 10_000), default=60, show_default=True,
              help="With --fit: at most so many runs of one system.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False), default="scorer.json", show_default=True,
              help="With --fit: where the scorer goes.")  # fmt: skip
@click.option("--top", type=click.IntRange(1, 100), default=5, show_default=True, help="How many suspects.")
@click.option("--format-in", "form_in", type=click.Choice(_FORMS), default="auto", show_default=True,
              help="What TRACE is: a trace of masfire or a foreign log.")  # fmt: skip
@formatted
def command(
    traces: Sequence[str],
    named: Sequence[str],
    expected: str | None,
    clean: Sequence[str],
    runs: str | None,
    memory: str | None,
    scorer: str | None,
    model: str | None,
    confirm: str | None,
    blame: bool,
    fit: str | None,
    weak: bool,
    most: int,
    out: str,
    top: int,
    form_in: str,
    form: str,
) -> int:
    """Rank the steps of failed runs by how likely they caused the failure.

    Without a model: from broken contracts, expected calls, a clean twin, repeats of the task, known
    errors, the origin of the answer's facts, and a step scorer learned from your own runs. Says so when
    it does not know. With --confirm the failed run is repeated with a suspect as its clean twin has it:
    the blame is confirmed when that run passes. Of a folder the runs that did not pass are diagnosed,
    compared with its solved controls.

    \b
    Exit code 0 when every culprit is known, 3 when one is not, 2 when a file could not be diagnosed;
    the other files are diagnosed all the same.

    \b
    Examples:
      masfire diagnose bad.jsonl --contracts all --clean good.jsonl
      masfire diagnose results/first --contracts all
      masfire diagnose --fit results/first --contracts all --out scorer.json
      masfire diagnose bad.jsonl --scorer scorer.json --memory .masfire/memory.sqlite --format json
      masfire diagnose results/first/traces/0a1b.jsonl --confirm results/first --blame
    """
    if fit and traces:
        raise click.UsageError("--fit DIR learns from runs and diagnoses none: leave the TRACEs out.")
    if not fit and not traces:
        eaten = (
            f" --model took {model!r} as its URL: write --model=auto before it." if _is_file(model) else ""
        )
        raise click.UsageError(f"Give the TRACEs to diagnose, or --fit DIR to learn from runs.{eaten}")
    if weak and not fit:
        raise click.UsageError("--weak says how to learn: give it with --fit DIR.")
    if blame and not confirm:
        raise click.UsageError("--blame repeats the run: give it with --confirm DIR.")
    from masfire.cli import diagnosing

    if fit:
        return diagnosing.fit(Path(fit), Path(out), named=named, weak=weak, most=most, form=form)
    asked = diagnosing.Asked(
        contracts=tuple(named), expected=expected, clean=tuple(clean), runs=runs, memory=memory,
        scorer=scorer, model=model, confirm=confirm, blame=blame, top=top,
    )  # fmt: skip
    report = diagnosing.diagnosed(traces, asked, form_in=form_in)
    if form == "json":
        print_json([_as_json(one) for one in report.results])
    for one in report.results:
        if form != "json":
            _tell(one)
        for warning in one.warnings:
            _complain(warning)
    if report.passed:
        _complain(f"{report.passed} runs that passed were left out.")
    for path, error in report.refused:
        _complain(f"{path}: {error}" if path not in str(error) else str(error))
    if not report.results and not report.refused:
        _complain("No failed run is in what was given: nothing was diagnosed.")
    return report.exit_code


def _is_file(where: str | None) -> bool:
    return where is not None and Path(where).exists()


def _complain(what: str) -> None:
    from masfire.reporting.printable import printable

    click.echo(f"masfire: {printable(what, limit=600)}", err=True)


def _as_json(one: Diagnosed) -> dict[str, Any]:
    import msgspec

    told = {"file": one.path, "ignored": one.run.ignored, "warnings": list(one.warnings)}
    told |= msgspec.to_builtins(one.found)
    if one.confirmed is not None:
        told["confirmed"] = msgspec.to_builtins(one.confirmed)
    return told


def _tell_trials(confirmed: Confirmed) -> None:
    from masfire.reporting.printable import printable

    for trial in confirmed.trials:
        what = f"step #{trial.step}" if trial.scope == "step" else "all deviations it began"
        why = f" ({trial.why})" if trial.why else ""
        click.echo(printable(f"  {trial.verdict}: {trial.agent}, {what} repaired{why}", limit=300))
    if confirmed.blame:
        shares = ", ".join(f"{printable(agent, limit=40)} {value:.2f}" for agent, value in confirmed.blame)
        click.echo(f"  Shapley blame: {shares}")
    click.echo(f"  {confirmed.reruns} re-runs")


def _tell(one: Diagnosed) -> None:
    from masfire.diagnosis.model import MEANINGS
    from masfire.diagnosis.turns import turns_of
    from masfire.diagnosis.wording import worded
    from masfire.reporting.printable import printable

    run, found = one.run, one.found
    ignored = run.ignored
    click.echo(f"{printable(one.path)}: run {printable(found.run, limit=60)}, {len(run.trace)} steps")
    if ignored:
        what = ", ".join(f"{name} x {count}" for name, count in ignored.items())
        click.echo(f"  not understood: {printable(what, limit=200)}")
    if not found.known:
        click.echo(f"  I don't know. {printable(found.reason, limit=200)}")
    shares = ", ".join(f"{printable(agent, limit=40)} {share:.0%}" for agent, share in found.agents[:4])
    click.echo(f"  agents: {shares or 'none'}")
    if found.suspects:
        meaning = MEANINGS.get(found.convention, found.convention)
        click.echo(f"  steps, likeliest first ({meaning}):")
    turns = turns_of(run.trace)
    for place, suspect in enumerate(found.suspects, 1):
        category = f"  {suspect.category}" if suspect.category else ""
        agent = printable(suspect.agent, limit=40)
        click.echo(f"  {place}. step #{suspect.step}  {agent}  {suspect.confidence:.0%}{category}")
        turn = turns[suspect.step]
        said = " ".join(turn.text.split())
        click.echo(f"       {turn.kind.replace('_', ' ')}: {printable(said, limit=160) or '(empty)'}")
        for evidence in suspect.because[:3]:
            click.echo(f"       because ({evidence.layer}) {printable(worded(evidence.text), limit=240)}")
        if not suspect.because:
            click.echo("       nothing speaks against it but that it is a step of this run")
        if place == 1 and len(suspect.path) > 1:
            click.echo("       path " + " -> ".join(f"#{step}" for step in suspect.path[:12]))
    if one.confirmed is not None:
        _tell_trials(one.confirmed)
