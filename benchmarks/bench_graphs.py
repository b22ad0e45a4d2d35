"""Genealogy questions on a million nodes: arrays against plain networkx, in one process, interleaved.

    python benchmarks/bench_graphs.py [--nodes 1000000] [--rounds 5] [--out FILE]

Goal: descendants and cascade size at least 30 times faster. The graph is a run's: ids in event order, two
causes a node. Building is told apart: networkx builds once, arrays once (with their first question).
Conversion is told beside networkx building the same graph, attributes included, from a list of its own.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import networkx as nx
import numpy as np

from masfire.genealogy.graph import Edge, GenealogyGraph, Node
from masfire.genealogy.reach import Reach

SMALL = 10_000
GOAL = 30
ASKED = ("descendants", "cascade size", "ancestors")
FIELDS = Node.__struct_fields__
TIES = ("relation", "declared", "score", "reason")


def clock(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def edges(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(1, n, dtype=np.int32), 2)
    sources = (rng.random(targets.size) * targets).astype(np.int32)
    return sources, targets


def questions(n: int, rounds: int) -> tuple[list[str], bool]:
    """Return the lines of the table, and whether the goal is met."""
    sources, targets = edges(n)
    ours: list[Reach] = []
    theirs: list[nx.DiGraph] = []
    ours_built = clock(lambda: ours.append(Reach(n, sources, targets)))
    ours_built += clock(lambda: ours[0].cascade_size(0))
    pairs = list(zip(sources.tolist(), targets.tolist(), strict=True))
    theirs_built = clock(lambda: theirs.append(nx.DiGraph(pairs)))
    graph, fast = theirs[0], ours[0]
    gc.collect()
    gc.freeze()  # the garbage collector would visit networkx's dictionaries in the middle of a question
    chosen = random.Random(1).sample(range(n // 100), rounds)
    times: dict[str, list[float]] = {name: [] for name in ASKED}
    base: dict[str, list[float]] = {name: [] for name in ASKED}
    fast.ancestors(n - 1)
    asked: dict[str, tuple[Callable[[int], object], Callable[[int], object]]] = {
        "descendants": (lambda node: nx.descendants(graph, node), fast.descendants),
        "cascade size": (lambda node: len(nx.descendants(graph, node)), fast.cascade_size),
        "ancestors": (
            lambda node: nx.ancestors(graph, n - 1 - node),
            lambda node: fast.ancestors(n - 1 - node),
        ),
    }
    for node in chosen:
        for name, (plain, quick) in asked.items():
            base[name].append(clock(partial(plain, node)))
            times[name].append(clock(partial(quick, node)))
    assert set(fast.descendants(chosen[0]).tolist()) == nx.descendants(graph, chosen[0])
    gc.unfreeze()
    lines = [
        f"{n:,} nodes, {len(pairs):,} edges, {rounds} rounds, medians.", "",
        "| what | networkx | masfire | times faster |", "|---|---|---|---|",
        row("building (once)", theirs_built, ours_built),
    ]  # fmt: skip
    met = True
    for name in times:
        one = statistics.median(base[name])
        other = statistics.median(times[name])
        ratio = statistics.median(a / b for a, b in zip(base[name], times[name], strict=True))
        met = met and (name == "ancestors" or ratio >= GOAL)
        lines.append(row(name, one, other, ratio))
    estimate = clock(fast.cascade_sizes)
    return [*lines, f"| cascade size of all {n:,}, estimated | | {estimate:.1f} s | |"], met


def row(name: str, one: float, other: float, ratio: float = 0.0) -> str:
    """Return a line of the table; seconds."""
    return f"| {name} | {one:.3f} s | {other * 1e3:.2f} ms | {ratio or one / other:,.0f} |"


def all_sizes(rounds: int) -> str:
    """Return the line about exact cascade sizes of every node of a small graph."""
    small = Reach(SMALL, *edges(SMALL))
    plain = nx.DiGraph(list(zip(*(part.tolist() for part in edges(SMALL)), strict=True)))
    sample = random.Random(2).sample(range(SMALL), 100)
    loop = clock(lambda: [len(nx.descendants(plain, node)) for node in sample]) * SMALL / len(sample)
    whole = statistics.median(clock(small.cascade_sizes) for _ in range(rounds))
    return row(f"cascade size of all {SMALL:,}, exact (networkx from 100)", loop, whole)


def conversion(n: int) -> str:
    """Return the line about handing a graph of n claims over to networkx."""
    sources, targets = (part.tolist() for part in edges(n))
    nodes = [Node(step, "writer", "message", f"claim {step}") for step in range(n)]
    links = [Edge(a, b, "derived_from", declared=False) for a, b in zip(sources, targets, strict=True)]
    graph = GenealogyGraph("claims", nodes, links)
    told = [(place, {name: getattr(node, name) for name in FIELDS}) for place, node in enumerate(nodes)]
    tied = [(edge.source, edge.target, {name: getattr(edge, name) for name in TIES}) for edge in links]

    def plainly() -> nx.MultiDiGraph:
        plain = nx.MultiDiGraph()
        plain.add_nodes_from(told)
        plain.add_edges_from(tied)
        return plain

    theirs, ours = [], []
    for _ in range(3):
        gc.collect()
        theirs.append(clock(plainly))
        gc.collect()
        ours.append(clock(graph.to_networkx))
    one, other = statistics.median(theirs), statistics.median(ours)
    return (
        f"`to_networkx()` of {n:,} claims and {len(links):,} edges, all attributes: {other:.1f} s, "
        f"{other / one:.2f} times what networkx takes for its own list of the same ({one:.1f} s)."
    )


def main() -> int:
    """Print the table; return 1 when the goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines, met = questions(given.nodes, given.rounds)
    lines += [all_sizes(given.rounds), "", conversion(max(1_000, given.nodes // 10)), ""]
    lines.append(
        f"Goal: descendants and cascade size at least {GOAL} times faster: {'' if met else 'not '}met."
    )
    text = "\n".join(lines)
    print(text)
    if given.out:
        told = "`python benchmarks/bench_graphs.py`: networkx and masfire's arrays in one process, in turn."
        given.out.write_text(f"# Genealogy questions on a large graph\n\n{told} {text}\n")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
