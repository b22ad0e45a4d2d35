"""The claim screen: what it costs to split a message and relate it to all that is known, as that grows.

    python benchmarks/bench_claims.py [--out FILE]

Goal: a message within 1/100 of a call of the local default model, asked in turn, and flat. Wall clock.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

from local_call import TOKENS, local_call

from masfire.claims import Known, statement, statements_of

SIZES = (100, 1_000, 10_000, 100_000)
CITIES = ("Rome", "Oslo", "Paris", "Madrid")
ROUNDS = 200


def message(rng: random.Random) -> str:
    number, city = rng.randrange(100_000), rng.choice(CITIES)
    return (
        f"Order {number} goes to customer K-{number} in {city}. We reserved {rng.randrange(40)} chairs, "
        f"reference R-{number}. The price is {rng.randrange(900)} euro. Please confirm by Friday."
    )


def main() -> int:
    """Print the table; return 1 when the goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rng = random.Random(0)
    known = Known()
    lines = ["| statements known | ms a message: median | p99 |", "|---|---|---|"]
    medians: list[float] = []
    calls: list[float] = []
    with local_call() as call:
        for size in SIZES:
            while len(known) < size:
                number = len(known)
                known.add(statement(f"Order {number} goes to customer K-{number} in {rng.choice(CITIES)}."))
            times = []
            for turn in range(ROUNDS):
                if turn % (ROUNDS // 5) == 0:
                    calls.append(call())
                text = message(rng)
                began = time.perf_counter()
                for one in statements_of(text):
                    known.relate(one)
                times.append((time.perf_counter() - began) * 1e3)
            times.sort()
            medians.append(statistics.median(times))
            lines.append(f"| {size:,} | {medians[-1]:.2f} | {times[int(0.99 * ROUNDS)]:.2f} |")
    called = statistics.median(calls) * 1e3
    met = max(medians) <= called / 100
    share = max(medians) / called
    lines += ["", f"A call of the local model, {TOKENS} tokens: {called:.0f} ms (median of {len(calls)})."]
    lines.append(f"Goal: a message at most 1/100 of a call: {share:.4f}, {'met' if met else 'not met'}.")
    text = "\n".join(lines)
    print(text)
    if given.out:
        given.out.write_text(
            f"# What the claim screen costs\n\n`python benchmarks/bench_claims.py`\n\n{text}\n"
        )
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
