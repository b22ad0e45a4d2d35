"""Root causes of failed tau-retail runs by contract evidence alone, against AgentRx's labels.

    python benchmarks/study_tau.py --data DIR   (tau_retail_runs.json and tau_retail_ground_truth.json)

Evidence: the expected calls and outputs that the task's author gives, and the policy as contracts
(benchmarks/tau_retail.yaml). Steps are messages, as the labels count them.
"""

from __future__ import annotations

import argparse
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

from masfire.adapters import agentrx
from masfire.adapters.imported import Imported
from masfire.contracts.loader import load_contracts
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.evidence import ContractEvidence, Expected, ExpectedCalls
from masfire.diagnosis.model import Layer
from masfire.metrics.statistics import wilson

PUBLISHED = "published on 29 runs: GPT-5 judge 32.2 % exact, AgentRx (GPT-5) 48.3-54.0 %; random turn 2.9 %"


def message(run: Imported, step: int) -> int:
    """Return the message (0-based) to which a step belongs."""
    return bisect_right(run.begins, step) - 1


def show(name: str, runs: Sequence[Imported], layers: Callable[[Imported], list[Layer]]) -> None:
    gaps = []
    for run in runs:
        assert run.label is not None
        found = diagnose(run.trace, layers(run))
        blind = not any(one.because for one in found.suspects)
        top = found.top
        gaps.append(
            999 if blind or top is None else abs(message(run, top.step) - message(run, run.label.step))
        )
    cells = []
    for reach in (0, 3):
        hits = wilson(sum(gap <= reach for gap in gaps), len(gaps))
        low, high = 100 * (hits.low or 0), 100 * (hits.high or 0)
        cells.append(f"{hits.successes}/{hits.n} = {100 * (hits.rate or 0):.1f} % [{low:.0f}-{high:.0f}]")
    print(f"  {name:<46}exact {cells[0]:<26}within 3 {cells[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    runs = agentrx.read(folder / "tau_retail_runs.json", folder / "tau_retail_ground_truth.json")
    labelled = [run for run in runs if run.label is not None]
    policy = ContractEvidence(load_contracts(Path(__file__).with_name("tau_retail.yaml")))
    print(f"{len(labelled)} failed runs with a label (95 % Wilson intervals)")
    show("expected calls, outputs and policy contracts", labelled,
         lambda run: [ExpectedCalls(Expected.of(run.expected)), policy])  # fmt: skip
    show("expected calls and outputs", labelled, lambda run: [ExpectedCalls(Expected.of(run.expected))])
    show("policy contracts alone", labelled, lambda run: [policy])
    print(f"  {PUBLISHED}")


if __name__ == "__main__":
    main()
