"""What `masfire diagnose` does with its options: layers made, runs diagnosed, blame put to the test."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from masfire.adapters.foreign import read_runs
from masfire.adapters.imported import Imported, read_json
from masfire.campaign.confirm import Confirmed, confirm, pair_of
from masfire.campaign.fitting import gather, learn_to_diagnose, siblings
from masfire.checking import resolve
from masfire.cli.options import print_json
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.causality import Counterfactual
from masfire.diagnosis.evidence import ContractEvidence, Expected, ExpectedCalls, Provenance
from masfire.diagnosis.fitted import Fitted, load_fitted
from masfire.diagnosis.judge import ModelJudge
from masfire.diagnosis.model import Attribution, Layer, Recognizer
from masfire.diagnosis.recognition import SchemaEvidence
from masfire.diagnosis.spectrum import Spectrum
from masfire.errors import UsageError
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
    """One run with its attribution, and what repeating it showed when that was asked for."""

    path: str
    run: Imported
    found: Attribution
    confirmed: Confirmed | None = None

    @property
    def known(self) -> bool:
        """Return whether the culprit is known: by a confirmed repair, else by the attribution."""
        if self.confirmed is not None:
            return self.confirmed.first is not None
        return self.found.known


def diagnosed(paths: Sequence[str], asked: Asked, *, form_in: str) -> list[Diagnosed]:
    """Return every run of these files, diagnosed in order."""
    results = []
    with contextlib.ExitStack() as stack:
        fitted = load_fitted(asked.scorer) if asked.scorer else None
        memory = _memory(stack, asked.memory)
        ask = _model(stack, asked.model)
        for path in paths:
            for run in read_runs(path, form=form_in):
                layers = _layers(run, asked, fitted, memory)
                if ask is not None:
                    layers.append(ModelJudge(ask, layers=list(layers), recognizer=memory))
                combiner = fitted.combiner if fitted else None
                found = diagnose(run.trace, layers, top=asked.top, combiner=combiner)
                proved = _confirmed(asked, run, found) if asked.confirm else None
                results.append(Diagnosed(path, run, found, proved))
    return results


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
    for one in rules:
        weights = ", ".join(f"{name} {weight:.1f}" for name, weight in one.weights.items())
        click.echo(
            f"  {weights}: right on {one.right:.0%} of held-out runs, calibration error {one.ece:.2f}, "
            f"an answer from {one.threshold:.0%}"
        )
    return 0


def _layers(run: Imported, asked: Asked, fitted: Fitted | None, memory: Recognizer | None) -> list[Layer]:
    layers: list[Layer] = []
    if asked.clean:
        layers.append(Counterfactual([_twin(path, run) for path in asked.clean]))
    elif asked.confirm:
        layers.append(Counterfactual([pair_of(Path(asked.confirm), run.trace.header.run).twin]))
    if asked.contracts:
        layers.append(ContractEvidence(resolve(asked.contracts)))
    wanted = read_json(asked.expected) if asked.expected else run.expected
    if asked.expected and not isinstance(wanted, dict):
        raise UsageError(
            "Expected calls must be an object with `actions` and `outputs`.", where=asked.expected
        )
    if isinstance(wanted, dict) and (wanted.get("actions") or wanted.get("outputs")):
        layers.append(ExpectedCalls(Expected.of(wanted)))
    if asked.runs:
        failed, passed = siblings(Path(asked.runs), run.trace)
        if not passed:
            raise UsageError(
                f"{asked.runs} has no passed run of this system and task.",
                hint="Spectrum evidence compares failed repeats of a task with passed ones.",
            )
        layers.append(Spectrum(failed, passed))
    if memory is not None:
        layers.append(SchemaEvidence(memory))
    if fitted is not None:
        layers.append(fitted.scorer)
    layers.append(Provenance())
    return layers


def _twin(path: str, run: Imported) -> Trace:
    """Return a clean run; say so when it is one of another system, task or seed, and so no twin."""
    twin = read_trace(path)
    mine, its = run.trace.header, twin.header
    other = [what for what in ("system", "task", "seed") if getattr(mine, what) != getattr(its, what)]
    if other:
        told = f"{path} is no twin of run {mine.run}: another {' and another '.join(other)}"
        click.echo(f"masfire: {told}. Steps that differ for that reason look guilty.", err=True)
    return twin


def _memory(stack: contextlib.ExitStack, where: str | None) -> Recognizer | None:
    if where is None:
        return None
    from masfire.knowledge.memory import Memory
    from masfire.knowledge.opening import open_store

    if "://" not in where and not Path(where).is_file():
        raise UsageError(f"There is no memory {where!r}.", hint="`masfire learn DIR` makes one.")
    store = open_store(where)
    stack.callback(store.close)
    return Memory(store)


def _model(stack: contextlib.ExitStack, where: str | None) -> Callable[[str], str] | None:
    if where is None:
        return None
    from masfire.adapters.asking import asker
    from masfire.models.local import endpoint

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
