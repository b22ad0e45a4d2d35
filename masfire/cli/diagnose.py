"""`masfire diagnose`: who caused a failure, at which step; or learn it from labelled runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted, print_json

if TYPE_CHECKING:
    from masfire.adapters.imported import Imported
    from masfire.diagnosis.model import Attribution, Layer

_FORMS = ("auto", "trace", "whowhen", "taubench", "chat")


@click.command(name="diagnose", epilog=EXIT_CODES)
@click.argument("traces", metavar="TRACE...", nargs=-1, type=EXISTING)
@click.option(
    "--contracts", "named", multiple=True, metavar="FILE|DIR|PACK",
    help="Blame steps that break these contracts ('all': every shipped pack); repeatable.",
)  # fmt: skip
@click.option(
    "--expected", type=EXISTING, metavar="FILE",
    help='What should have been done: {"actions": [{"name", "kwargs"}], "outputs": [...]}.',
)  # fmt: skip
@click.option("--clean", multiple=True, type=EXISTING, metavar="TRACE",
              help="A good run of the same task and seed to compare with; repeatable.")  # fmt: skip
@click.option("--scorer", type=EXISTING, metavar="FILE", help="A step scorer that --fit has learned.")
@click.option("--fit", type=click.Path(exists=True, file_okay=False), metavar="DIR",
              help="Learn a step scorer from the labelled or injected runs in this folder.")  # fmt: skip
@click.option("--weak", is_flag=True, help="With --fit: from pass and fail alone, without step labels.")
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
    scorer: str | None,
    fit: str | None,
    weak: bool,
    out: str,
    top: int,
    form_in: str,
    form: str,
) -> int:
    """Rank the steps of failed runs by how likely they caused the failure.

    Without a model: from broken contracts, expected calls, a clean twin, the origin of the answer's
    facts, and a step scorer learned from your own runs. Says so when it does not know.

    \b
    Examples:
      masfire diagnose bad.jsonl --contracts all --clean good.jsonl
      masfire diagnose --fit results/first --out scorer.json
      masfire diagnose bad.jsonl --scorer scorer.json --format json
    """
    if bool(fit) == bool(traces):
        raise click.UsageError("Give the TRACEs to diagnose, or --fit DIR to learn from runs.")
    if weak and not fit:
        raise click.UsageError("--weak says how to learn: give it with --fit DIR.")
    if fit:
        return _fit(Path(fit), Path(out), weak=weak, form=form)
    from masfire.adapters.foreign import read_runs
    from masfire.diagnosis.attribute import diagnose

    results = []
    for path in traces:
        for run in read_runs(path, form=form_in):
            layers = _layers(run, named, expected, clean, scorer)
            results.append((path, run, diagnose(run.trace, layers, top=top)))
    if form == "json":
        print_json([_as_json(path, run, found) for path, run, found in results])
    else:
        for path, run, found in results:
            _tell(path, run, found)
    return 0 if all(found.known for _, _, found in results) else 3


def _layers(
    run: Imported, named: Sequence[str], expected: str | None, clean: Sequence[str], scorer: str | None
) -> list[Layer]:
    from masfire.adapters.imported import read_json
    from masfire.diagnosis.evidence import ContractEvidence, Expected, ExpectedCalls, Provenance
    from masfire.errors import UsageError

    layers: list[Layer] = []
    if clean:
        from masfire.diagnosis.causality import Counterfactual
        from masfire.trace.io import read_trace

        layers.append(Counterfactual([read_trace(path) for path in clean]))
    if named:
        from masfire.checking import resolve

        layers.append(ContractEvidence(resolve(named)))
    wanted = read_json(expected) if expected else run.expected
    if expected and not isinstance(wanted, dict):
        raise UsageError("Expected calls must be an object with `actions` and `outputs`.", where=expected)
    if isinstance(wanted, dict) and (wanted.get("actions") or wanted.get("outputs")):
        layers.append(ExpectedCalls(Expected.of(wanted)))
    if scorer:
        from masfire.diagnosis.weak import load_scorer

        layers.append(load_scorer(scorer))
    layers.append(Provenance())
    return layers


def _as_json(path: str, run: Imported, found: Attribution) -> dict[str, Any]:
    import msgspec

    return {"file": path, "ignored": run.ignored, **msgspec.to_builtins(found)}


def _tell(path: str, run: Imported, found: Attribution) -> None:
    from masfire.reporting.printable import printable

    ignored = sum(run.ignored.values())
    click.echo(f"{path}: run {printable(found.run, limit=60)} ({len(run.trace)} steps, {found.convention})")
    if ignored:
        what = ", ".join(f"{name} x {count}" for name, count in run.ignored.items())
        click.echo(f"  not understood: {printable(what, limit=200)}")
    if not found.known:
        click.echo(f"  I don't know. {printable(found.reason, limit=200)}")
    shares = ", ".join(f"{printable(agent, limit=40)} {share:.0%}" for agent, share in found.agents[:4])
    click.echo(f"  agents: {shares or 'none'}")
    for place, one in enumerate(found.suspects, 1):
        category = f"  {one.category}" if one.category else ""
        agent = printable(one.agent, limit=40)
        click.echo(f"  {place}. step #{one.step}  {agent}  {one.confidence:.0%}{category}")
        for evidence in one.because[:3]:
            click.echo(f"       because ({evidence.layer}) {printable(evidence.text, limit=200)}")
        if place == 1 and len(one.path) > 1:
            click.echo("       path " + " -> ".join(f"#{step}" for step in one.path[:12]))


def _fit(folder: Path, out: Path, *, weak: bool, form: str) -> int:
    from masfire.adapters.foreign import read_runs
    from masfire.diagnosis.model import Case
    from masfire.diagnosis.sample import sample_of
    from masfire.diagnosis.scorer import StepScorer
    from masfire.diagnosis.weak import WeakScorer
    from masfire.metrics.truth import truth_of

    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".jsonl"))
    files = [path for path in files if path.name not in ("summary.json", "scorer.json")]
    cases = []
    for path in files:
        for run in read_runs(path):
            label = run.label or truth_of(run.trace)
            end = run.trace.end
            failed = end is None or end.success is not True
            cases.append(Case(run.trace.blind(), label, run.group, run.trace.header.system, failed=failed))
    labelled = [one for one in cases if one.label is not None]
    scorer: StepScorer | WeakScorer
    if weak:
        scorer = WeakScorer.fit(cases)
        used = len(cases)
    else:
        scorer = StepScorer.fit([sample_of(one) for one in labelled])
        used = len(labelled)
    scorer.save(out)
    result = {"scorer": str(out), "runs": len(cases), "used": used, "weak": weak}
    if form == "json":
        print_json(result)
    else:
        click.echo(f"Learned from {used} of {len(cases)} runs in {folder}; the scorer is in {out}.")
    return 0
