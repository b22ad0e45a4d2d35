"""What a diagnosis without a model costs beside reading the trace, and how it grows with length.

    python benchmarks/bench_diagnosis_speed.py [--trace FILE] [--contracts PACK]... [--rounds N]

Without --trace a run of 100 steps is made (four agents, model calls, tools). Its steps are shorter than
those of most recorded runs, so that reading it costs less and the ratio is greater. Rounds are
interleaved; the median of the processor's time of each task is compared, since waiting for a processor
that others use hits long tasks more often than short ones. The goal is at most 50 times reading.

In the loop: reading the file (nothing that was read serves twice) and all that the layers do with it.
Outside: imports, reading the contracts and making them ready to run, loading the scorer. The learned
scorer is taught the trace's own system, so that all its members speak, which costs most.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from masfire.checking import resolve
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.evidence import ContractEvidence, Provenance
from masfire.diagnosis.model import Case, Label, Layer
from masfire.diagnosis.sample import sample_of
from masfire.diagnosis.scorer import StepScorer
from masfire.trace.io import read_trace, save_trace
from masfire.trace.model import Action, Body, End, Header, Message, Observation, Step, Trace
from masfire.trace.payload import pack

AGENTS = ("planner", "clerk", "stock", "writer")


def made(length: int, name: str = "bench", system: str = "bench") -> Trace:
    """Return a run of about `length` steps: turns of request, reply, tool call, result and message."""
    steps: list[Step] = []
    said = [{"role": "user", "content": "Order 12 lamps of kind A-17 and tell the customer the total price."}]
    while len(steps) < length:
        agent, turn = AGENTS[len(steps) // 5 % 4], len(steps) // 5
        text = (
            f"Turn {turn}: the stock of A-17 is {40 - turn}, so {turn + 3} lamps cost {12.5 * turn} in total."
        )
        call = {"id": f"c{turn}", "name": "stock", "arguments": f'{{"item": "A-{turn}"}}'}
        request = {"model": "m", "messages": [{"role": "system", "content": f"You are {agent}."}, *said[-6:]]}
        reply = {"content": text, "tool_calls": [call], "finish_reason": "tool_calls"}
        at = len(steps)
        bodies: list[Body] = [
            Action("model_call", "m", pack(request)),
            Observation("model_reply", "m", at, pack(reply)),
            Action("tool_call", "stock", pack({"args": {"item": f"A-{turn}"}}), id=f"c{turn}"),
            Observation("tool_result", "stock", at + 2, pack({"left": 40 - turn, "ok": turn % 7 != 3})),
            Message(("planner",), pack(text)),
        ]
        for offset, body in enumerate(bodies):
            parents = (at + offset - 1,) if at + offset else ()
            steps.append(Step(at + offset, float(at + offset), agent, body, parents=parents))
        said.append({"role": "assistant", "content": text})
    header = Header(run=name, system=system, task=pack({"text": said[0]["content"]}))
    return Trace(header, tuple(steps[:length]), end=End("completed", success=False, steps=length))


def scorer(system: str) -> StepScorer:
    """Return a scorer fitted on made runs, said to be of `system`: its size and cost are what matter."""
    samples = []
    for index in range(12):
        trace = made(40 + index, f"r{index}", system)
        label = Label(trace.steps[5 * (index % 6) + 1].agent, 5 * (index % 6) + 1)
        samples.append(sample_of(Case(trace, label, f"g{index}", system)))
    return StepScorer.fit(samples)


def medians(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median of each task's processor time in seconds over interleaved rounds."""
    spent: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            started = time.process_time()
            task()
            spent[name].append(time.process_time() - started)
    return {name: statistics.median(times) for name, times in spent.items()}


def growth(seconds: dict[int, float]) -> float:
    """Return k of the law `time ~ steps ** k` that fits best (least squares of the logarithms)."""
    lengths, times = zip(*seconds.items(), strict=True)
    return statistics.linear_regression(list(map(math.log, lengths)), list(map(math.log, times))).slope


def diagnosed(path: Path, layers: Sequence[Layer]) -> Callable[[], object]:
    """Return a task that reads a trace anew (nothing cached serves it twice) and diagnoses it."""
    return lambda: diagnose(read_trace(path), layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--contracts", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    contracts = ContractEvidence(resolve(options.contracts or ["all"]))
    provenance = Provenance()
    with tempfile.TemporaryDirectory() as folder:
        lengths = {}
        for length in (100, 200, 400, 800, 1600):
            lengths[length] = Path(folder) / f"{length}.jsonl"
            save_trace(made(length), lengths[length])
        path = options.trace or lengths[100]
        learned = scorer(read_trace(path).header.system)
        tasks: dict[str, Callable[[], object]] = {
            "reading": lambda: read_trace(path),
            "reading and provenance": diagnosed(path, [provenance]),
            "reading and contracts": diagnosed(path, [contracts]),
            "reading and learned": diagnosed(path, [learned]),
            "reading and all layers": diagnosed(path, [contracts, learned, provenance]),
        }
        for task in tasks.values():
            task()
        found = medians(tasks, options.rounds)
        print(f"{len(read_trace(path))} steps, {len(contracts.contracts)} contracts")
        for name, seconds in found.items():
            print(f"  {name:<26}{1e3 * seconds:8.2f} ms  {seconds / found['reading']:6.1f} x reading")
        every: list[Layer] = [contracts, scorer("bench"), provenance]
        grown = medians(
            {str(n): diagnosed(one, every) for n, one in lengths.items()}, max(5, options.rounds // 3)
        )
        print(
            "  all layers, made runs: " + ", ".join(f"{n} steps {1e3 * s:.1f} ms" for n, s in grown.items())
        )
        print("  a step: " + ", ".join(f"{1e6 * s / int(n):.0f} us" for n, s in grown.items()))
        print(f"  fit: time grows as steps ** {growth({int(n): s for n, s in grown.items()}):.2f}")


if __name__ == "__main__":
    main()
