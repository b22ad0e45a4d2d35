"""The claim screen: what it costs to split a message and relate it to all that is known, as that grows.

    python benchmarks/bench_claims.py

Goal: a message within 4 ms, 1/100 of a call of the local model (about 0.4 s on two cores), and flat.
"""

from __future__ import annotations

import random
import statistics
import time

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


def main() -> None:
    rng = random.Random(0)
    known = Known()
    print("statements known   ms a message: median   p99")
    for size in SIZES:
        while len(known) < size:
            number = len(known)
            known.add(statement(f"Order {number} goes to customer K-{number} in {rng.choice(CITIES)}."))
        times = []
        for _ in range(ROUNDS):
            text = message(rng)
            began = time.perf_counter()
            for one in statements_of(text):
                known.relate(one)
            times.append((time.perf_counter() - began) * 1e3)
        times.sort()
        print(f"{size:>16,}   {statistics.median(times):20.2f}   {times[int(0.99 * ROUNDS)]:5.2f}")


if __name__ == "__main__":
    main()
