"""Measure how often each system solves its tasks without faults, with the model and with the copier.

python -m examples.order_desk.measure --seeds 5 --systems linear --out benchmarks/results/order_desk_clean.md
"""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import masfire
from examples.order_desk import desk
from masfire.models.cache import ReplyCache
from masfire.models.door import Door, Sampling
from masfire.models.endpoint import LOCAL_MODEL, Endpoint
from masfire.models.local import LocalSettings, endpoint
from masfire.models.stub import Copier

SYSTEMS = ("linear", "loop", "dialogue", "star", "mesh")
ENOUGH = 3 / 5
"""A task counts as carried when at least this share of its runs solves it."""


class Row(NamedTuple):
    """One system on one split: runs solved, tasks carried, and what a run costs."""

    system: str
    answered_by: str
    split: str
    solved: int
    runs: int
    carried: int
    tasks: int
    seconds: float
    calls: float

    @property
    def text(self) -> str:
        """Return the row of the Markdown table."""
        low, high = wilson(self.solved, self.runs)
        return (
            f"| {self.system} | {self.answered_by} | {self.split} | {self.solved}/{self.runs} "
            f"({self.solved / self.runs:.2f}, {low:.2f}-{high:.2f}) | {self.carried}/{self.tasks} "
            f"| {self.calls:.1f} | {self.seconds:.2f} |"
        )


def wilson(solved: int, runs: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a proportion."""
    z2 = 1.96**2
    middle = (solved + z2 / 2) / (runs + z2)
    half = 1.96 / (runs + z2) * (solved * (runs - solved) / runs + z2 / 4) ** 0.5
    return middle - half, middle + half


def one(system: str, task: dict[str, Any], door: Door, seed: int) -> tuple[bool, int]:
    """Run one task once; return whether it was solved and how many model calls it took."""
    module = importlib.import_module(f"examples.order_desk.{system}")
    with masfire.run(seed=seed, task=task["email"], system=system, door=door) as run:
        answer = module.run(module.build(), task)
    calls = sum(step.kind == "model_call" for step in run.trace.steps)
    return desk.check(task, answer), calls


def measure(
    system: str, split: str, seeds: int, *, stub: Copier | None, limit: int, cache: ReplyCache | None = None
) -> Row:
    """Run every task of a split under every seed; `cache` holds the replies of an interrupted measurement."""
    tasks = desk.load(split)[:limit]
    solved = dict.fromkeys((task["id"] for task in tasks), 0)
    calls, started = 0, time.monotonic()
    for seed in range(seeds):
        for task in tasks:
            door = Door(seed=seed, sampling=Sampling(temperature=0.2), cache=cache, stub=stub)
            good, asked = one(system, task, door, seed)
            solved[task["id"]] += good
            calls += asked
    runs = len(tasks) * seeds
    carried = sum(count / seeds >= ENOUGH for count in solved.values())
    print(
        json.dumps({"system": system, "split": split, "stub": stub is not None, "solved": solved}), flush=True
    )
    seconds = (time.monotonic() - started) / runs
    answered_by = "copier" if stub else "model"
    return Row(
        system, answered_by, split, sum(solved.values()), runs, carried, len(tasks), seconds, calls / runs
    )


def rows(args: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows asked for: each system on a model server of its own, then with the copier."""
    for system in args.systems:
        with ExitStack() as stack:
            stack.enter_context(endpoint(settings=LocalSettings(slots=12)))
            cache = stack.enter_context(ReplyCache(args.cache, name=LOCAL_MODEL)) if args.cache else None
            for split in args.splits:
                yield measure(system, split, args.seeds, stub=None, limit=args.limit, cache=cache)
        nobody = Endpoint("http://127.0.0.1:9/v1", "none", "none")
        with nobody.exported():
            for split in args.splits:
                yield measure(system, split, 1, stub=Copier(slot=2048), limit=args.limit)


def main() -> None:
    """Print the table and write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--splits", nargs="+", default=["dev", "held"], choices=["dev", "held"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=1000, help="tasks of a split at most")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cache", type=Path, help="keep replies here, to go on after an interruption")
    args = parser.parse_args()
    command = shlex.join(["python", "-m", "examples.order_desk.measure", *sys.argv[1:]])
    lines = [
        "# The order desk without faults",
        "",
        f"{time.strftime('%Y-%m-%d')}, SmolLM2-135M-Instruct (Q4_1), temperature 0.2: `{command}`",
        "",
        f"A task is carried when at least 3 of 5 of its runs solve it (seeds 0..{args.seeds - 1}; the copier",
        "answers every seed alike and runs once). Prompts were written with the dev tasks in view, never the",
        "held ones.",
        "",
        "| system | answered by | split | solved (95 % Wilson) | carried | calls a run | seconds a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows(args):
        lines.append(row.text)
        print(row.text, flush=True)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
