"""Genealogy questions on a million nodes: arrays against plain networkx, in one process, interleaved.

    python benchmarks/bench_graphs.py [NODES] [ROUNDS]

Goal: descendants and cascade size at least 30 times faster. The graph is a run's: ids in event order, two
causes a node. Building is told apart: networkx builds once, arrays once (with their first question).
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import time
from collections.abc import Callable

import networkx as nx
import numpy as np

from masfire.genealogy.reach import EXACT, Reach

SMALL = 10_000


def clock(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def edges(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(1, n, dtype=np.int32), 2)
    sources = (rng.random(targets.size) * targets).astype(np.int32)
    return sources, targets


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    sources, targets = edges(n)
    ours, theirs = [], []
    ours_built = clock(lambda: ours.append(Reach(n, sources, targets)))
    ours_built += clock(lambda: ours[0].cascade_size(0))
    pairs = list(zip(sources.tolist(), targets.tolist(), strict=True))
    theirs_built = clock(lambda: theirs.append(nx.DiGraph(pairs)))
    graph, fast = theirs[0], ours[0]
    gc.collect()
    gc.freeze()  # the garbage collector would visit networkx's dictionaries in the middle of a question
    chosen = random.Random(1).sample(range(n // 100), rounds)
    times: dict[str, list[float]] = {"descendants": [], "ancestors": [], "cascade size": []}
    base: dict[str, list[float]] = {name: [] for name in times}
    fast.ancestors(n - 1)
    for node in chosen:
        last = n - 1 - node
        base["descendants"].append(clock(lambda node=node: nx.descendants(graph, node)))
        times["descendants"].append(clock(lambda node=node: fast.descendants(node)))
        base["cascade size"].append(clock(lambda node=node: len(nx.descendants(graph, node))))
        times["cascade size"].append(clock(lambda node=node: fast.cascade_size(node)))
        base["ancestors"].append(clock(lambda last=last: nx.ancestors(graph, last)))
        times["ancestors"].append(clock(lambda last=last: fast.ancestors(last)))
    assert set(fast.descendants(chosen[0]).tolist()) == nx.descendants(graph, chosen[0])
    print(f"{n:,} nodes, {len(pairs):,} edges, {rounds} rounds (medians)")
    faster = theirs_built / ours_built
    print(f"build            networkx {theirs_built:8.3f} s   arrays {ours_built:8.4f} s   {faster:6.0f}x")
    for name in times:
        one, other = statistics.median(base[name]), statistics.median(times[name])
        print(f"{name:<16} networkx {one:8.3f} s   arrays {other:8.4f} s   {one / other:6.0f}x")
    small = Reach(SMALL, *edges(SMALL))
    plain = nx.DiGraph(list(zip(*(part.tolist() for part in edges(SMALL)), strict=True)))
    sample = random.Random(2).sample(range(SMALL), 100)
    loop = clock(lambda: [len(nx.descendants(plain, node)) for node in sample]) * SMALL / len(sample)
    whole = statistics.median(clock(small.cascade_sizes) for _ in range(rounds))
    print(f"cascade size of all {SMALL:,} nodes (exact, up to {EXACT:,} nodes):")
    print(f"                 networkx {loop:8.1f} s   ours   {whole:8.4f} s   {loop / whole:6.0f}x")
    estimate = clock(fast.cascade_sizes)
    print(f"cascade size of all {n:,} nodes, estimated: {estimate:.1f} s")


if __name__ == "__main__":
    main()
