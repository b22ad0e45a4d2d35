"""What `masfire diagnose` does with its options: layers made, runs diagnosed, blame put to the test."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from masfire.adapters.foreign import read_runs
from masfire.adapters.imported import Imported, read_json
from masfire.campaign.confirm import Confirmed, confirm, pair_of
from masfire.campaign.fitting import gather, learn_to_diagnose, siblings
from masfire.campaign.learning import cell_of, controls
from masfire.campaign.runner import RESULTS_FILE, TRACES
from masfire.checking import resolve
from masfire.cli.options import print_json
from masfire.contracts.model import Contract
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.causality import Counterfactual, no_twin, signature
from masfire.diagnosis.evidence import ContractEvidence, Expected, ExpectedCalls, Provenance, expected_of
from masfire.diagnosis.fitted import Fitted, load_fitted
from masfire.diagnosis.judge import ModelJudge
from masfire.diagnosis.model import Attribution, Layer, Recognizer
from masfire.diagnosis.recognition import SchemaEvidence
from masfire.diagnosis.spectrum import Spectrum
from masfire.errors import MasfireError, UsageError
from masfire.trace.io import read_trace
from masfire.trace.model import Trace


class Asked(Struct, frozen=True):
    """The evidence that was asked for, as the options say it."""

    contracts: tuple[str, ...] = ()
    expected: str | None = None
    clean: tuple[str, ...] = ()
    runs: str | None = None
    memory: str | None = None
    scorer: str | None = None
    model: str | None = None
    confirm: str | None = None
    blame: bool = False
    top: int = 5


class Diagnosed(Struct, frozen=True):
    """One run with its attribution, and what repeating it showed when that was asked for.

    `warnings` say which evidence that was asked for could not be used, and why.
    """

    path: str
    run: Imported
    found: Attribution
    confirmed: Confirmed | None = None
    warnings: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Return whether the culprit is known: by a confirmed repair, else by the attribution."""
        if self.confirmed is not None:
            return self.confirmed.first is not None
        return self.found.known


class Report(Struct, frozen=True):
    """The diagnosed runs of all files, the files that could not be diagnosed, and how many runs passed."""

    results: tuple[Diagnosed, ...]
    refused: tuple[tuple[str, MasfireError], ...] = ()
    passed: int = 0

    @property
    def exit_code(self) -> int:
        """Return 2 for a file of another kind, 3 when a culprit is not known or nothing was diagnosed."""
        worst = [error.exit_code for _, error in self.refused]
        if worst:
            return 2 if 2 in worst else max(worst)
        return 0 if self.results and all(one.known for one in self.results) else 3


class _Evidence(Struct, frozen=True):
    """What the options bring that is the same for every run."""

    contracts: Sequence[Contract] = ()
    expected: Expected | None = None
    clean: tuple[tuple[str, Trace], ...] = ()
    fitted: Fitted | None = None
    memory: Recognizer | None = None
    ask: Callable[[str], str] | None = None


def diagnosed(paths: Sequence[str], asked: Asked, *, form_in: str) -> Report:
    """Return every run of these files and folders, diagnosed in order; a bad file discards no other."""
    results: list[Diagnosed] = []
    refused: list[tuple[str, MasfireError]] = []
    passed = 0
    with contextlib.ExitStack() as stack:
        evidence = _Evidence(
            contracts=resolve(asked.contracts) if asked.contracts else (),
            expected=expected_of(read_json(asked.expected), where=asked.expected) if asked.expected else None,
            clean=tuple((path, read_trace(path)) for path in asked.clean),
            fitted=load_fitted(asked.scorer) if asked.scorer else None,
            memory=_memory(stack, asked.memory),
            ask=_model(stack, asked.model),
        )
        for path, solved in _files(paths, own=not asked.clean and not asked.confirm):
            try:
                for run in read_runs(path, form=form_in):
                    if solved is not None and run.trace.end is not None and run.trace.end.success:
                        passed += 1
                        continue
                    twins = (solved or {}).get(cell_of(run.trace), ())
                    results.append(_diagnosed(path, run, asked, evidence, twins))
            except MasfireError as error:
                refused.append((path, error))
    return Report(tuple(results), tuple(refused), passed)


Controls = Mapping[tuple[str, str, int], Sequence[Path]]


def _files(paths: Sequence[str], *, own: bool) -> Iterator[tuple[str, Controls | None]]:
    """Yield each file; of a folder all logs, each with the folder's controls (when its `own` are wanted)."""
    for path in map(Path, paths):
        if not path.is_dir():
            yield str(path), None
            continue
        inner = path / TRACES
        folder = inner if inner.is_dir() else path
        found = sorted(one for one in folder.iterdir() if one.suffix in (".json", ".jsonl"))
        if not found:
            raise UsageError(f"{folder} holds no traces or logs (*.jsonl, *.json).")
        solved = controls(path if (path / RESULTS_FILE).is_file() else folder) if own else {}
        yield from ((str(one), solved) for one in found)


def _diagnosed(
    path: str, run: Imported, asked: Asked, evidence: _Evidence, solved: Sequence[Path]
) -> Diagnosed:
    clean = evidence.clean or tuple((str(one), read_trace(one)) for one in solved)
    twins, warnings = _twins(run, asked, clean)
    layers = _layers(run, asked, evidence, twins)
    judge: ModelJudge | None = None
    if evidence.ask is not None:
        judge = ModelJudge(evidence.ask, layers=list(layers), recognizer=evidence.memory)
        layers.append(judge)
    combiner = evidence.fitted.combiner if evidence.fitted else None
    found = diagnose(run.trace, layers, top=asked.top, combiner=combiner)
    if judge is not None and judge.silence:
        warnings.append(f"The model's opinion was not used: {judge.silence}.")
    if asked.clean and not twins and found.known:
        reason = "No clean run that was given is a twin of this run, so nothing was compared."
        found = msgspec.structs.replace(found, known=False, reason=reason)
    proved = _confirmed(asked, run, found) if asked.confirm else None
    return Diagnosed(path, run, found, proved, tuple(warnings))


def _twins(run: Imported, asked: Asked, clean: Sequence[tuple[str, Trace]]) -> tuple[list[Trace], list[str]]:
    """Return the clean runs that are twins of this one, and what is wrong with the others."""
    if not clean and asked.confirm:
        return [pair_of(Path(asked.confirm), run.trace.header.run).twin], []
    twins, warnings = [], []
    for path, twin in clean:
        why = no_twin(run.trace, twin)
        if why:
            warnings.append(f"{path} is no twin of run {run.trace.header.run}: {why}. It was not compared.")
            continue
        twins.append(twin)
        if [signature(step) for step in twin.steps] == [signature(step) for step in run.trace.steps]:
            warnings.append(f"Run {run.trace.header.run} never differs from {path}.")
    return twins, warnings


def fit(folder: Path, out: Path, *, named: Sequence[str], weak: bool, most: int, form: str) -> int:
    """Learn from a folder, write what was learned, and say what was used and what was passed over."""
    gathered = gather(folder, weak=weak, most=most)
    layers: list[Layer] = [ContractEvidence(resolve(named))] if named else []
    fitted = learn_to_diagnose(gathered, layers, weak=weak)
    out.parent.mkdir(parents=True, exist_ok=True)
    fitted.save(out)
    used = len(gathered.lessons)
    rules = (
        sorted(fitted.combiner.rules.values(), key=lambda one: -len(one.weights)) if fitted.combiner else []
    )
    result: dict[str, Any] = {
        "scorer": str(out), "runs": gathered.runs, "used": used, "weak": weak, "skipped": gathered.skipped,
        "layers": [
            {"weights": one.weights, "right": one.right, "ece": one.ece, "threshold": one.threshold}
            for one in rules
        ],
    }  # fmt: skip
    if form == "json":
        print_json(result)
        return 0
    from masfire.reporting.printable import printable

    click.echo(f"Learned from {used} of {gathered.runs} runs in {folder}; the scorer is in {out}.")
    for reason, count in gathered.skipped.items():
        if count:
            click.echo(f"  passed over: {count} {printable(reason, limit=200)}")
    for one in rules[:1]:  # all kinds of evidence together; --format json has every combination
        weights = ", ".join(f"{name} {weight:.1f}" for name, weight in one.weights.items())
        click.echo(
            f"With all evidence it names the culprit's step in {one.right:.0%} of held-out runs, its "
            f"confidence is off by {one.ece:.2f} on average, and it answers from {one.threshold:.0%} on."
        )
        click.echo(f"  weights: {weights}")
    if weak:
        click.echo("Without labels nothing says how often it is right: try it on runs that you know.")
    elif not rules:
        click.echo("Too few labelled runs to say how often it is right.")
    return 0


def _layers(run: Imported, asked: Asked, evidence: _Evidence, twins: Sequence[Trace]) -> list[Layer]:
    layers: list[Layer] = []
    if twins:
        layers.append(Counterfactual(twins))
    if evidence.contracts:
        layers.append(ContractEvidence(evidence.contracts))
    expected = evidence.expected
    if expected is None and isinstance(run.expected, dict):
        expected = Expected.of(run.expected)
    if expected is not None and (expected.actions or expected.outputs):
        layers.append(ExpectedCalls(expected))
    if asked.runs:
        failed, passed = siblings(Path(asked.runs), run.trace)
        if not passed:
            raise UsageError(
                f"{asked.runs} has no passed run of this system and task.",
                hint="Spectrum evidence compares failed repeats of a task with passed ones.",
            )
        layers.append(Spectrum(failed, passed))
    if evidence.memory is not None:
        layers.append(SchemaEvidence(evidence.memory))
    if evidence.fitted is not None:
        layers.append(evidence.fitted.scorer)
    layers.append(Provenance())
    return layers


def _memory(stack: contextlib.ExitStack, where: str | None) -> Recognizer | None:
    if where is None:
        return None
    from masfire.knowledge.memory import Memory
    from masfire.knowledge.opening import existing, open_store

    store = open_store(existing(where))
    stack.callback(store.close)
    return Memory(store)


def _model(stack: contextlib.ExitStack, where: str | None) -> Callable[[str], str] | None:
    if where is None:
        return None
    from masfire.adapters.asking import asker
    from masfire.models.local import endpoint

    if where != "auto" and not where.startswith(("http://", "https://")):
        raise UsageError(
            f"--model takes the URL of an OpenAI-compatible endpoint, and {where!r} is none.",
            hint="Write --model=http://HOST:PORT/v1, or --model=auto before a TRACE.",
        )
    return asker(stack.enter_context(endpoint(None if where == "auto" else where)))


def _confirmed(asked: Asked, run: Imported, found: Attribution) -> Confirmed:
    from masfire.campaign.rerun import rerunning

    folder = Path(asked.confirm or "")
    pair = pair_of(folder, run.trace.header.run)
    with (
        contextlib.redirect_stdout(sys.stderr),  # what the systems print is not our result
        rerunning(folder, stub=pair.row.model == "stub" or None) as rerunner,
    ):
        return confirm(rerunner, pair, found, blame=asked.blame)
