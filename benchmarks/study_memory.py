"""Do schemata learnt on some systems help to diagnose another? One system left out, a campaign's own runs.

    python benchmarks/study_memory.py CAMPAIGN_DIR [--sample N] [--dev linear,loop] [--json F] [--markdown F]

CAMPAIGN_DIR holds results.sqlite and traces/ of a campaign with several systems. For each system, a memory is
filled with the failed single-fault runs of the other systems (the injected fault is the label; the control of
the same task and seed says what is usual), and proved on these runs. Then failed runs of the system left out
are diagnosed blindly and without any re-run: by contracts and provenance alone, and with the memory beside
them. Traits and thresholds were chosen on the systems of --dev, learning on one and testing on the other; the
figure to quote is that of the systems that were never looked at.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from masfire.checking import resolve
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.evidence import ContractEvidence, Provenance
from masfire.diagnosis.model import Finding, Label, Layer
from masfire.diagnosis.recognition import SchemaEvidence
from masfire.knowledge.distill import RuleDistiller
from masfire.knowledge.memory import Memory
from masfire.knowledge.replaying import Stored, replay
from masfire.knowledge.store import SqliteStore
from masfire.knowledge.traits import Traits, traits_of
from masfire.metrics.statistics import wilson
from masfire.metrics.truth import truth_of
from masfire.trace.io import read_trace
from masfire.trace.model import Trace

ARMS = (
    "contracts and provenance",
    "with schemata of other systems",
    "with labels permuted",
    "schemata alone",
)


class Run:
    """One failed single-fault run, read blindly, with its truth and the traits of its clean twin."""

    def __init__(self, system: str, fault: str, trace: Trace, truth: Label, twin: Sequence[Traits]) -> None:
        self.system, self.fault, self.truth, self.twin = system, fault, truth, twin
        self.trace = trace.blind()
        self.described = tuple(traits_of(self.trace))

    def telling(self, step: int) -> frozenset[str]:
        """Return the traits of a step that the same agent's steps of the clean twin do not show."""
        at = next((window for window in self.described if window.step == step), None)
        if at is None:
            return frozenset()
        kind = next(name for name in at.names if name.startswith("kind:"))
        usual = [one.names for one in self.twin if one.agent == at.agent and kind in one.names]
        return at.names - frozenset().union(*usual) | {kind}


def load(folder: Path, sample: int) -> list[Run]:
    """Return at most `sample` failed runs a system, drawn at random (seed 0)."""
    database = sqlite3.connect(f"file:{folder / 'results.sqlite'}?mode=ro", uri=True)
    query = "SELECT system, task, seed, fault, state, success, trace FROM runs ORDER BY id"
    rows = database.execute(query).fetchall()
    twins = {row[:3]: row[6] for row in rows if not row[3] and row[5]}
    chosen = [row for row in rows if row[4] == "witnessed" and row[5] == 0]
    random.Random(0).shuffle(chosen)
    taken: dict[str, int] = defaultdict(int)
    usual: dict[str, list[Traits]] = {}
    runs = []
    for label, task, seed, fault, _, _, name in chosen:
        system = label.split("~")[0]
        trace = read_trace(folder / "traces" / name)
        truth = truth_of(trace)
        if truth is None or taken[system] >= sample:
            continue
        taken[system] += 1
        twin = twins.get((label, task, seed), "")
        if twin and twin not in usual:
            usual[twin] = traits_of(read_trace(folder / "traces" / twin).blind())
        runs.append(Run(system, fault.split("?")[0], trace, truth, usual.get(twin, ())))
    return runs


def filled(memory: Memory, runs: Sequence[Run], *, permute: bool = False) -> float:
    """Learn from labelled runs and prove the schemata on them; return the seconds it took."""
    began = time.perf_counter()
    rng = random.Random(0)
    distiller = RuleDistiller()
    stored = []
    for run in runs:
        steps = [window.step for window in run.described]
        step = rng.choice(steps) if permute else run.truth.step
        if step not in steps:
            continue
        stored.append(Stored(run.described, step))
        for traits in (run.telling(step), frozenset()):
            agent = run.trace[step].agent
            memory.learn(
                distiller.distill(
                    run.trace,
                    agent=agent,
                    step=step,
                    fault=run.fault,
                    origin=run.system,
                    traits=tuple(traits),
                )
            )
    replay(memory, stored)
    return time.perf_counter() - began


def hit(run: Run, layers: Sequence[Layer]) -> tuple[bool, bool, bool]:
    """Return whether agent, step, and one of the first three steps are right."""
    found = diagnose(run.trace, layers)
    top, truth = found.top, run.truth
    return (
        top is not None and top.agent == truth.agent,
        top is not None and top.step == truth.step,
        any(one.step == truth.step for one in found.suspects[:3]),
    )


class Remembered:
    """A layer that examines each run once: the arms ask the same of it."""

    def __init__(self, layer: Layer) -> None:
        self.name, self._layer = layer.name, layer
        self._found: dict[str, Sequence[Finding]] = {}

    def examine(self, trace: Trace) -> Sequence[Finding]:
        """Return what the layer finds."""
        if trace.header.run not in self._found:
            self._found[trace.header.run] = self._layer.examine(trace)
        return self._found[trace.header.run]


Hits = dict[str, list[tuple[str, str, tuple[bool, bool, bool]]]]


def folds(runs: Sequence[Run], systems: Sequence[str], among: Sequence[str]) -> Hits:
    """Return each arm's (system, fault, hits) of the runs of `systems`, learnt on the others of `among`."""
    hits: Hits = {arm: [] for arm in ARMS}
    base: list[Layer] = [Remembered(ContractEvidence(resolve(["all"]))), Remembered(Provenance())]
    for system in systems:
        others = [run for run in runs if run.system != system and run.system in among]
        with tempfile.TemporaryDirectory() as scratch:
            stores = [SqliteStore(Path(scratch) / f"{name}.sqlite") for name in ("true", "permuted")]
            memory, shuffled = (Memory(store) for store in stores)
            took = filled(memory, others)
            filled(shuffled, others, permute=True)
            print(f"{system}: {len(memory)} schemata of {len(others)} runs in {took:.0f} s", flush=True)
            known, wrong = Remembered(SchemaEvidence(memory)), SchemaEvidence(shuffled)
            layers: dict[str, list[Layer]] = dict(
                zip(ARMS, (base, [*base, known], [*base, wrong], [known]), strict=True)
            )
            for run in (run for run in runs if run.system == system):
                for arm, asked in layers.items():
                    hits[arm].append((system, run.fault, hit(run, asked)))
            for store in stores:
                store.close()
    return hits


def paired(before: Sequence[bool], after: Sequence[bool]) -> dict[str, Any]:
    """Return the difference of two paired proportions in points with its 95 % interval (paired bootstrap)."""
    deltas = [100.0 * (late - early) for early, late in zip(before, after, strict=True)]
    rng = random.Random(0)
    means = sorted(sum(rng.choices(deltas, k=len(deltas))) / len(deltas) for _ in range(2000))
    return {
        "points": round(sum(deltas) / len(deltas), 1),
        "low": round(means[49], 1),
        "high": round(means[1949], 1),
        "won": sum(delta > 0 for delta in deltas),
        "lost": sum(delta < 0 for delta in deltas),
    }


def summed(hits: Hits, systems: Sequence[str], fault: str = "") -> dict[str, Any]:
    """Return each arm's proportions over these systems (and fault), and the gain in step accuracy."""
    out: dict[str, Any] = {}
    columns: dict[str, list[bool]] = {}
    for arm, found in hits.items():
        rows = [row for system, kind, row in found if system in systems and (not fault or kind == fault)]
        columns[arm] = [row[1] for row in rows]
        out[arm] = {}
        for place, name in enumerate(("agent", "step", "hit@3")):
            rate = wilson(sum(row[place] for row in rows), len(rows))
            out[arm][name] = [round(value, 4) for value in (rate.rate or 0, rate.low or 0, rate.high or 0)]
        out[arm]["n"] = len(rows)
    out["gain"] = paired(columns[ARMS[0]], columns[ARMS[1]])
    return out


def markdown(result: dict[str, Any], head: str) -> str:
    """Return the tables to read."""
    lines = ["# Schemata across systems", "", head, ""]
    lines += [
        "| runs | n | no memory, step | with memory, step | gain, points | labels permuted | schemata alone |"
    ]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for name, part in result.items():
        shown = [_percent(part[arm]["step"]) for arm in ARMS]
        gain = part["gain"]
        lines.append(
            f"| {name} | {part[ARMS[0]]['n']} | {shown[0]} | {shown[1]} | "
            f"{gain['points']:+.1f} [{gain['low']:+.1f}, {gain['high']:+.1f}] | {shown[2]} | {shown[3]} |"
        )
    return "\n".join(lines) + "\n"


def _percent(values: Sequence[float]) -> str:
    rate, low, high = (100 * value for value in values)
    return f"{rate:.1f} % [{low:.0f}, {high:.0f}]"


def main() -> None:
    """Print the tables; write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("campaign", type=Path)
    parser.add_argument("--sample", type=int, default=200, help="failed runs a system")
    parser.add_argument("--dev", default="linear,loop", help="systems that traits were chosen on")
    parser.add_argument("--only-dev", action="store_true", help="look at no other system (for tuning)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    dev = options.dev.split(",")
    runs = load(options.campaign, options.sample)
    systems = sorted({run.system for run in runs})
    if options.only_dev:
        hits = folds(runs, dev, dev)
        result = {name: summed(hits, [name]) for name in dev}
    else:
        hits = folds(runs, systems, systems)
        unseen = [name for name in systems if name not in dev]
        result = {f"systems never looked at ({', '.join(unseen)})": summed(hits, unseen)}
        result["all systems"] = summed(hits, systems)
        result |= {name: summed(hits, [name]) for name in systems}
        faults = sorted({run.fault for run in runs})
        result |= {fault: summed(hits, unseen, fault) for fault in faults if _seen(hits, unseen, fault)}
    head = (
        f"{len(runs)} failed single-fault runs, at most {options.sample} a system, drawn at random; blind, "
        "no re-run. "
        "95 % intervals: Wilson, the gain by paired bootstrap. Faults: the systems never looked at."
    )
    text = markdown(result, head)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")


def _seen(hits: Hits, systems: Sequence[str], fault: str) -> bool:
    return any(system in systems and kind == fault for system, kind, _ in hits[ARMS[0]])


if __name__ == "__main__":
    main()
