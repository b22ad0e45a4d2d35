"""Attribution on a campaign's own runs, where the injected fault is the truth: who and when, per fault.

    python benchmarks/study_diagnosis.py CAMPAIGN_DIR [--contracts FILE]... [--sample N] [--json OUT]

CAMPAIGN_DIR holds results.sqlite and traces/ with runs of single faults and their controls (the same
task and seed without a fault). Diagnosis sees blind traces only; the truth is read by masfire.metrics.
Counterfactual evidence costs one re-run a diagnosis (the control). Scorers are learned on other tasks.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from masfire.checking import resolve
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.causality import Counterfactual
from masfire.diagnosis.evidence import ContractEvidence, Provenance
from masfire.diagnosis.model import Case, Label, Layer
from masfire.diagnosis.sample import sample_of
from masfire.diagnosis.scorer import StepScorer
from masfire.diagnosis.weak import WeakScorer
from masfire.metrics.statistics import wilson
from masfire.metrics.truth import truth_of
from masfire.trace.io import read_trace
from masfire.trace.model import Trace

FOLDS = 4


class Run:
    """One witnessed single-fault run with its truth and the control of the same task and seed."""

    def __init__(self, fault: str, task: str, trace: Trace, control: Trace, truth: Label) -> None:
        self.fault, self.task, self.truth = fault, task, truth
        self.trace, self.control = trace.blind(), control.blind()


def load(folder: Path, *, sample: int, systems: Sequence[str]) -> list[Run]:
    database = sqlite3.connect(f"file:{folder / 'results.sqlite'}?mode=ro", uri=True)
    rows = database.execute("SELECT system, task, seed, fault, state, trace FROM runs ORDER BY id").fetchall()
    controls = {row[:3]: row[5] for row in rows if not row[3]}
    chosen = [row for row in rows if row[4] == "witnessed" and row[:3] in controls]
    chosen = [row for row in chosen if not systems or row[0] in systems]
    random.Random(0).shuffle(chosen)
    runs = []
    for system, task, seed, fault, _, name in chosen[: sample or None]:
        trace = read_trace(folder / "traces" / name)
        truth = truth_of(trace)
        if truth is not None:
            control = read_trace(folder / "traces" / controls[system, task, seed])
            runs.append(Run(fault.split("?")[0], task, trace, control, truth))
    return runs


def untouched(run: Run) -> bool:
    """Return whether nothing but the metrics could see the injection: no mark, no address, no gap."""
    text = msgspec.json.encode(run.trace.header)
    dense = all(step.step == index for index, step in enumerate(run.trace.steps))
    return not run.trace.injections and b"@" not in text.split(b'"task"')[0] and dense


def score(runs: Sequence[Run], layers_of: object) -> dict[str, list[tuple[bool, bool, bool]]]:
    hits: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    for run in runs:
        found = diagnose(run.trace, layers_of(run))  # type: ignore[operator]
        top, truth = found.top, run.truth
        hits[run.fault].append(
            (
                top is not None and top.agent == truth.agent,
                top is not None and top.step == truth.step,
                any(one.step == truth.step for one in found.suspects[:3]),
            )
        )
    return hits


def learned(runs: Sequence[Run], *, weak: bool) -> dict[int, Layer]:
    """Return, per fold of tasks, a scorer that never saw a run of those tasks."""
    tasks = sorted({run.task for run in runs})
    scorers: dict[int, Layer] = {}
    for fold in range(FOLDS):
        train = [run for run in runs if tasks.index(run.task) % FOLDS != fold]
        cases = [Case(run.trace, run.truth, run.task, run.trace.header.system) for run in train]
        if weak:
            controls = [Case(run.control, None, run.task, failed=False) for run in train]
            scorers[fold] = WeakScorer.fit([*cases, *controls])
        else:
            scorers[fold] = StepScorer.fit([sample_of(case) for case in cases])
    return scorers


def line(name: str, rows: Sequence[tuple[bool, bool, bool]]) -> str:
    cells = []
    for column in range(3):
        found = wilson(sum(row[column] for row in rows), len(rows))
        low, high = 100 * (found.low or 0), 100 * (found.high or 0)
        cells.append(f"{100 * (found.rate or 0):6.1f} [{low:.0f}-{high:.0f}]")
    return f"  {name:<34}" + "".join(f"{cell:>18}" for cell in cells) + f"{len(rows):>7}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("campaign", type=Path)
    parser.add_argument(
        "--contracts", action="append", default=[], help="file, folder or pack; default: all packs"
    )
    parser.add_argument("--sample", type=int, default=1000, help="runs drawn at random; 0: all")
    parser.add_argument("--systems", default="", help="comma-separated; default: all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    systems = [name for name in options.systems.split(",") if name]
    runs = load(options.campaign, sample=options.sample, systems=systems)
    if not runs:
        sys.exit("No witnessed run with a control of the same task and seed.")
    assert all(untouched(run) for run in runs), "an injection can be seen"
    contracts = ContractEvidence(resolve(options.contracts or ["all"]))
    tasks = sorted({run.task for run in runs})
    strong, weak = learned(runs, weak=False), learned(runs, weak=True)

    def fold(run: Run) -> int:
        return tasks.index(run.task) % FOLDS

    arms = {
        "all, with counterfactual": lambda run: [
            Counterfactual([run.control]), contracts, strong[fold(run)], Provenance(),
        ],
        "counterfactual alone": lambda run: [Counterfactual([run.control])],
        "contracts + learned, no re-run": lambda run: [contracts, strong[fold(run)], Provenance()],
        "learned alone": lambda run: [strong[fold(run)]],
        "learned from pass/fail (--weak)": lambda run: [weak[fold(run)]],
        "contracts + provenance": lambda run: [contracts, Provenance()],
        "contracts alone": lambda run: [contracts],
        "provenance alone": lambda run: [Provenance()],
    }  # fmt: skip
    out: dict[str, dict[str, list[float]]] = {}
    print(
        f"{len(runs)} runs, {len(tasks)} tasks, "
        f"systems {dict(Counter(run.trace.header.system for run in runs))}"
    )
    print(f"  {'':<34}{'agent %':>18}{'step %':>18}{'hit@3 %':>18}{'n':>7}")
    for name, layers_of in arms.items():
        started = time.perf_counter()
        hits = score(runs, layers_of)
        rows = [row for found in hits.values() for row in found]
        print(line(name, rows) + f"{1000 * (time.perf_counter() - started) / len(runs):>9.1f} ms a run")
        out[name] = {"all": _rates(rows)} | {fault: _rates(found) for fault, found in sorted(hits.items())}
        if name.startswith(("all", "contracts + learned")):
            for fault, found in sorted(hits.items()):
                print(line("    " + fault, found))
    if options.json:
        options.json.write_text(json.dumps(out, indent=2) + "\n", encoding="utf-8")


def _rates(rows: Sequence[tuple[bool, bool, bool]]) -> list[float]:
    return [round(sum(row[column] for row in rows) / len(rows), 4) for column in range(3)] + [len(rows)]


if __name__ == "__main__":
    main()
