"""Attribution on a campaign's own runs, where the injected fault is the truth: who and when, per fault.

    python benchmarks/study_diagnosis.py CAMPAIGN_DIR [--contracts FILE]... [--sample N] [--skip N]
                                         [--confirm N] [--out benchmarks/results/study_diagnosis]

CAMPAIGN_DIR holds results.sqlite and traces/ with runs of single faults and their controls (the same
task and seed without a fault). Diagnosis sees blind traces only; the truth is read by masfire.metrics.
Counterfactual evidence costs one re-run a diagnosis (the control). Scorers are learned on other tasks, and
so are the weights of layers (from what scorers said of runs they had not seen). Spectra (failed runs only)
compare with the runs of the same system, task and fault that failed, too, and with those of the same system
and task that passed in spite of a fault; the control of the same seed is added in an arm of its own.
--confirm repeats N failed runs that the stub answered, with the first suspect repaired.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from masfire.campaign.confirm import confirm, pair_of
from masfire.campaign.rerun import rerunning
from masfire.campaign.results import Results
from masfire.checking import resolve
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.causality import Counterfactual
from masfire.diagnosis.combine import Combiner, Reading, reliability, strongest
from masfire.diagnosis.evidence import ContractEvidence, Provenance
from masfire.diagnosis.model import Case, Finding, Label, Layer
from masfire.diagnosis.sample import sample_of
from masfire.diagnosis.scorer import StepScorer
from masfire.diagnosis.spectrum import Spectrum
from masfire.diagnosis.turns import turns_of
from masfire.diagnosis.weak import WeakScorer
from masfire.errors import UsageError
from masfire.metrics.statistics import wilson
from masfire.metrics.truth import truth_of
from masfire.trace.io import read_trace
from masfire.trace.model import Trace

FOLDS = 4


class Run:
    """One witnessed single-fault run with its truth and the control of the same task and seed."""

    def __init__(self, row: sqlite3.Row, trace: Trace, control: Trace, truth: Label) -> None:
        self.fault, self.task, self.truth = row["fault"].split("?")[0], row["task"], truth
        self.failed = row["success"] == 0
        self.cell = (row["system"], row["task"], row["fault"])
        self.file = row["trace"]
        self.trace, self.control = trace.blind(), control.blind()


def load(folder: Path, *, sample: int, skip: int, systems: Sequence[str]) -> list[Run]:
    rows = table(folder)
    controls = {_where(row): row["trace"] for row in rows if not row["fault"]}
    chosen = [row for row in rows if row["state"] == "witnessed" and _where(row) in controls]
    chosen = [row for row in chosen if not systems or row["system"] in systems]
    random.Random(0).shuffle(chosen)
    runs = []
    for row in chosen[skip : skip + sample if sample else None]:
        trace = read_trace(folder / "traces" / row["trace"])
        truth = truth_of(trace)
        if truth is not None:
            runs.append(Run(row, trace, read_trace(folder / "traces" / controls[_where(row)]), truth))
    return runs


def table(folder: Path) -> list[sqlite3.Row]:
    """Return the campaign's runs: where, what was injected, what came of it, and the trace's file."""
    database = sqlite3.connect(f"file:{folder / 'results.sqlite'}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    wanted = "system, task, seed, fault, state, success, trace"
    return database.execute(f"SELECT {wanted} FROM runs ORDER BY id").fetchall()  # noqa: S608


def _where(row: sqlite3.Row) -> tuple[str, str, int]:
    return row["system"], row["task"], row["seed"]


class Repeats:
    """The other runs of a campaign that a spectrum compares a failed run with, read when asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._failed: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        self._survived: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in table(folder):
            if row["success"] == 0 and row["fault"]:
                self._failed[row["system"], row["task"], row["fault"]].append(row["trace"])
            elif row["success"] == 1 and row["fault"]:
                self._survived[row["system"], row["task"]].append(row["trace"])

    def spectrum(self, run: Run, *, control: bool) -> Spectrum:
        """Return the spectrum over a run's repeats; `control` adds its fault-free twin."""
        failed = [self._read(name) for name in self._failed[run.cell] if name != run.file]
        passed = [self._read(name) for name in self._survived[run.cell[:2]]]
        return Spectrum([run.trace, *failed], [*passed, *([run.control] if control else [])])

    def _read(self, name: str) -> Trace:
        return read_trace(self._folder / "traces" / name).blind()


def untouched(run: Run) -> bool:
    """Return whether nothing but the metrics could see the injection: no mark, no address, no gap."""
    text = msgspec.json.encode(run.trace.header)
    dense = all(step.step == index for index, step in enumerate(run.trace.steps))
    return not run.trace.injections and b"@" not in text.split(b'"task"')[0] and dense


Arm = Callable[[Run], "tuple[list[Layer], Combiner | None]"]
Hits = dict[str, list[tuple[bool, bool, bool]]]


def score(runs: Sequence[Run], arm: Arm, sure: list[tuple[float, bool, bool]]) -> Hits:
    """Return what an arm hits per fault; `sure` gets (confidence, whether right, whether it knew)."""
    hits: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    for run in runs:
        layers, combiner = arm(run)
        found = diagnose(run.trace, layers, combiner=combiner)
        top, truth = found.top, run.truth
        if top is not None:
            sure.append((top.confidence, top.step == truth.step, found.known))
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
    parser.add_argument("--skip", type=int, default=0, help="so many of the drawn runs are left out first")
    parser.add_argument("--confirm", type=int, default=0, metavar="N", help="repeat N runs with a repair")
    parser.add_argument("--out", type=Path, help="also write OUT.md and OUT.json")
    options = parser.parse_args()
    systems = [name for name in options.systems.split(",") if name]
    runs = load(options.campaign, sample=options.sample, skip=options.skip, systems=systems)
    if not runs:
        sys.exit("No witnessed run with a control of the same task and seed.")
    assert all(untouched(run) for run in runs), "an injection can be seen"
    contracts = ContractEvidence(resolve(options.contracts or ["all"]))
    tasks = sorted({run.task for run in runs})
    strong, weak = learned(runs, weak=False), learned(runs, weak=True)

    def fold(run: Run) -> int:
        return tasks.index(run.task) % FOLDS

    provenance = Provenance()

    def full(run: Run) -> list[Layer]:
        return [Counterfactual([run.control]), contracts, strong[fold(run)], provenance]

    def partial(run: Run) -> list[Layer]:
        return [contracts, strong[fold(run)], provenance]

    weights = {name: combined(runs, fold, layers) for name, layers in (("full", full), ("partial", partial))}
    arms: dict[str, Arm] = {
        "all, weights fitted": lambda run: (full(run), weights["full"][fold(run)]),
        "all, with counterfactual": lambda run: (full(run), None),
        "counterfactual alone": lambda run: ([Counterfactual([run.control])], None),
        "no re-run, weights fitted": lambda run: (partial(run), weights["partial"][fold(run)]),
        "no re-run": lambda run: (partial(run), None),
        "learned alone": lambda run: ([strong[fold(run)]], None),
        "learned from pass/fail (--weak)": lambda run: ([weak[fold(run)]], None),
        "contracts + provenance": lambda run: ([contracts, provenance], None),
        "contracts alone": lambda run: ([contracts], None),
        "provenance alone": lambda run: ([provenance], None),
    }
    repeats = Repeats(options.campaign)
    of_failed: dict[str, Arm] = {
        "spectrum, failed runs only": lambda run: ([repeats.spectrum(run, control=False)], None),
        "spectrum and control, failed only": lambda run: ([repeats.spectrum(run, control=True)], None),
        "no re-run, failed runs only": arms["no re-run"],
        "the same with the spectrum": lambda run: (
            [*partial(run), repeats.spectrum(run, control=False)], None
        ),
    }  # fmt: skip
    arms |= of_failed
    out: dict[str, dict[str, object]] = {}
    text = [
        (
            f"{len(runs)} runs, {len(tasks)} tasks, systems "
            f"{dict(Counter(run.trace.header.system for run in runs))}"
        ),
        f"  {'':<34}{'agent %':>18}{'step %':>18}{'hit@3 %':>18}{'n':>7}",
    ]
    for name, arm in arms.items():
        started = time.perf_counter()
        sure: list[tuple[float, bool, bool]] = []
        judged = [run for run in runs if run.failed or name not in of_failed]
        hits = score(judged, arm, sure)
        rows = [row for found in hits.values() for row in found]
        text.append(
            line(name, rows)
            + f"{1000 * (time.perf_counter() - started) / max(1, len(judged)):>9.1f} ms a run"
        )
        table, error = reliability([one[0] for one in sure], [one[1] for one in sure])
        knew = [right for _, right, known in sure if known]
        out[name] = {"all": _rates(rows), "ece": round(error, 4), "reliability": table}
        out[name] |= {fault: _rates(found) for fault, found in sorted(hits.items())}
        if knew:
            share = f"knows in {len(knew) / len(judged):.0%}, right then in {sum(knew) / len(knew):.0%}"
            text.append(f"      {share}; calibration error {error:.3f}")
        if name in ("all, with counterfactual", "no re-run", "no re-run, weights fitted"):
            text += [line("    " + fault, found) for fault, found in sorted(hits.items())]
        if name == "no re-run, weights fitted":
            text += [f"      said {mean:.2f}, was right {good:.2f} (n {n})" for mean, good, n in table]
    if options.confirm:
        said = confirmed(options.campaign, options.confirm, options.skip)
        text += ["", "Repair of the first suspect (stub runs that failed):", *said]
        out["confirm"] = {"lines": said}
    print("\n".join(text))
    if options.out:
        head = "# Study: attribution on campaign runs\n\n`benchmarks/study_diagnosis.py`: see its head.\n\n"
        options.out.with_suffix(".md").write_text(
            head + "```\n" + "\n".join(text) + "\n```\n", encoding="utf-8"
        )
        options.out.with_suffix(".json").write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


def combined(
    runs: Sequence[Run], fold: Callable[[Run], int], layers: Callable[[Run], list[Layer]]
) -> dict[int, Combiner]:
    """Return, per fold of tasks, layer weights fitted on the other folds."""
    readings = []
    for run in runs:
        found: dict[str, list[Finding]] = defaultdict(list)
        for layer in layers(run):
            found[layer.name].extend(layer.examine(run.trace))
        turns = turns_of(run.trace)
        blamable = {turn.step for turn in turns if turn.blamable}
        steps = tuple(sorted(blamable | {one.step for several in found.values() for one in several}))
        agents = tuple(turns[step].agent for step in steps)
        readings.append(Reading(steps, strongest(found), run.truth.step, run.task, agents))
    return {
        held: Combiner.fit([one for one, run in zip(readings, runs, strict=True) if fold(run) != held])
        for held in range(FOLDS)
    }


def confirmed(folder: Path, number: int, skip: int) -> list[str]:
    """Repeat failed stub runs with the counterfactual's suspect repaired; return what came of it."""
    with Results(folder / "results.sqlite", readonly=True) as results:
        rows = [row for row in results if row.model == "stub" and row.state == "witnessed"]
    rows = [row for row in rows if row.success is False]
    random.Random(skip).shuffle(rows)
    tally: Counter[tuple[str, str]] = Counter()
    reruns = 0
    with rerunning(folder, stub=True) as rerunner:
        for row in rows[:number]:
            try:
                pair = pair_of(folder, row.id)
            except UsageError:
                tally["no solved control", ""] += 1
                continue
            truth = truth_of(pair.trace)
            found = diagnose(pair.trace, [Counterfactual([pair.twin])])
            proved = confirm(rerunner, pair, found, suspects=1)
            reruns += proved.reruns
            right = truth is not None and found.top is not None and found.top.step == truth.step
            verdict = (
                f"{proved.trials[-1].verdict} ({proved.trials[-1].scope})" if proved.trials else "no suspect"
            )
            tally[verdict, "blame right" if right else "blame wrong"] += 1
    lines = [f"  {verdict}, {right}: {count}" for (verdict, right), count in sorted(tally.items())]
    return [*lines, f"  {reruns} re-runs for {sum(tally.values())} runs"]


def _rates(rows: Sequence[tuple[bool, bool, bool]]) -> list[float]:
    return [round(sum(row[column] for row in rows) / len(rows), 4) for column in range(3)] + [len(rows)]


if __name__ == "__main__":
    main()
