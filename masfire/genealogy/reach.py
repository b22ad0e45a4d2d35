"""Who is reached from where: a directed graph as arrays, for a million nodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masfire.errors import UsageError

EXACT = 20_000
"""Up to this many nodes the cascade size of every node is exact; beyond it is estimated."""
FEW = 500
"""Up to this many reached nodes are found by looking at them alone."""
SKETCH = 64
"""Independent draws of an estimate: its standard error is 1/√(SKETCH - 2), about 13 %."""

Ints = NDArray[np.int32]


class Reach:
    """A directed graph of the nodes 0…n-1 that answers who follows from whom.

    `sources[i]` → `targets[i]` is an edge. Raise UsageError for edges of nodes that do not exist.
    """

    def __init__(self, n: int, sources: Sequence[int] | Any, targets: Sequence[int] | Any) -> None:
        self.n = n
        self.sources: Ints = np.asarray(sources, dtype=np.int32)
        self.targets: Ints = np.asarray(targets, dtype=np.int32)
        if self.sources.shape != self.targets.shape or self.sources.ndim != 1:
            raise UsageError("Edges need as many sources as targets, in two flat lists.")
        if self.sources.size:
            low = min(int(self.sources.min()), int(self.targets.min()))
            high = max(int(self.sources.max()), int(self.targets.max()))
            if low < 0 or high >= n:
                raise UsageError(f"An edge names node {low if low < 0 else high}; there are {n} nodes.")

    def descendants(self, node: int) -> Ints:
        """Return the nodes that can be reached from `node`, without itself, in breadth-first order."""
        return self._order(self._forward, node)

    def ancestors(self, node: int) -> Ints:
        """Return the nodes from which `node` can be reached, without itself."""
        return self._order(self._backward, node)

    def cascade_size(self, node: int) -> int:
        """Return how many nodes follow from `node`, directly or not."""
        return int(self.descendants(node).size)

    def depths(self, node: int) -> dict[int, int]:
        """Return for every reached node how many edges the shortest way from `node` has."""
        from scipy.sparse.csgraph import breadth_first_order

        self._known(node)
        order, before = breadth_first_order(self._forward, node, return_predecessors=True)
        depth = {int(order[0]): 0}
        for reached in order[1:]:
            depth[int(reached)] = depth[int(before[reached])] + 1
        return depth

    def cascade_sizes(self) -> NDArray[np.float64]:
        """Return the cascade size of every node: exact up to 20,000 nodes, beyond that estimated.

        The estimate is Cohen's (JCSS 55, 1997): every node draws k exponential variables, the least of
        those reached has the number of nodes reached as its rate.
        """
        graph, label, weight = self._acyclic()
        sizes = graph._bitsets(weight) if self.n <= EXACT else graph._sketches(weight)
        return np.asarray(sizes[label] - 1.0, dtype=np.float64)

    def spread(self, seeds: Sequence[int]) -> Ints:
        """Return all nodes reached from any of `seeds`, these included, ascending."""
        reached = np.zeros(self.n, dtype=bool)
        for seed in seeds:
            if not reached[seed]:
                reached[seed] = True
                reached[self.descendants(seed)] = True
        return np.flatnonzero(reached).astype(np.int32)

    @property
    def acyclic(self) -> bool:
        """Return whether no node follows from itself."""
        graph, _, _ = self._acyclic()
        return graph.n == self.n and not bool((self.sources == self.targets).any())

    @cached_property
    def _forward(self) -> Any:
        return self._matrix(self.sources, self.targets)

    @cached_property
    def _backward(self) -> Any:
        return self._matrix(self.targets, self.sources)

    def _matrix(self, rows: Ints, columns: Ints) -> Any:
        from scipy.sparse import csr_array, csr_matrix

        ones = np.ones(rows.size)  # csgraph would convert anything else at each question
        made = csr_array((ones, (rows, columns)), shape=(self.n, self.n))
        return csr_matrix(made)  # csgraph of older SciPy takes matrices alone

    def _order(self, matrix: Any, node: int) -> Ints:
        from scipy.sparse.csgraph import breadth_first_order

        self._known(node)
        near = _near(matrix, node)
        if near is not None:
            return near
        found = breadth_first_order(matrix, node, return_predecessors=False)
        return np.asarray(found[1:], dtype=np.int32)

    def _known(self, node: int) -> None:
        if not 0 <= node < self.n:
            raise UsageError(f"There is no node {node}.", hint=f"Nodes are 0 to {self.n - 1}.")

    def _acyclic(self) -> tuple[Reach, Ints, NDArray[np.float64]]:
        """Return the graph with every cycle drawn together and numbered in topological order.

        With it: which of its nodes each node became, and how many nodes each of its nodes stands for.
        """
        if not self.sources.size or bool((self.sources < self.targets).all()):
            return self, np.arange(self.n, dtype=np.int32), np.ones(self.n)
        from scipy.sparse.csgraph import connected_components

        count, label = connected_components(self._forward, directed=True, connection="strong")
        sources, targets = label[self.sources], label[self.targets]
        between = sources != targets
        rank = _topological(int(count), sources[between], targets[between])
        label = rank[label]
        graph = Reach(int(count), rank[sources[between]], rank[targets[between]])
        return graph, label, np.bincount(label, minlength=int(count)).astype(np.float64)

    def _bitsets(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each node reaches, itself included; nodes are in topological order."""
        single = bool((weight == 1).all())
        order = np.argsort(self.sources, kind="stable")
        starts = np.searchsorted(self.sources[order], np.arange(self.n + 1)).tolist()
        targets = self.targets[order].tolist()
        reached = [0] * self.n
        sizes = np.zeros(self.n)
        for node in range(self.n - 1, -1, -1):
            bits = 1 << node
            for at in range(starts[node], starts[node + 1]):
                bits |= reached[targets[at]]
            reached[node] = bits
            sizes[node] = bits.bit_count() if single else _weigh(bits, weight)
        return sizes

    def _sketches(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        rng = np.random.default_rng(0)
        least = rng.exponential(size=(self.n, SKETCH)).astype(np.float32) / weight[:, None].astype(np.float32)
        level = self._levels()
        order = np.lexsort((self.sources, level[self.sources]))
        sources, targets = self.sources[order], self.targets[order]
        bounds = np.searchsorted(level[sources], np.arange(int(level.max(initial=0)) + 2))
        for start, end in itertools.pairwise(bounds):
            if start == end:
                continue
            block = sources[start:end]
            first = np.flatnonzero(np.r_[True, block[1:] != block[:-1]])
            below = np.minimum.reduceat(least[targets[start:end]], first, axis=0)
            nodes = block[first]
            least[nodes] = np.minimum(least[nodes], below)
        return np.asarray((SKETCH - 1) / least.sum(axis=1, dtype=np.float64), dtype=np.float64)

    def _levels(self) -> Ints:
        """Return the longest way down from each node; nodes are in topological order."""
        order = np.argsort(-self.sources, kind="stable")
        level = [0] * self.n
        for source, target in zip(self.sources[order].tolist(), self.targets[order].tolist(), strict=True):
            below = level[target] + 1
            if below > level[source]:
                level[source] = below
        return np.asarray(level, dtype=np.int32)


def _near(matrix: Any, node: int) -> Ints | None:
    """Return what is reached when that is little: a search of the whole graph costs its size each time."""
    starts, targets = matrix.indptr, matrix.indices
    order, seen, at = [node], {node}, 0
    while at < len(order):
        for reached in targets[starts[order[at]] : starts[order[at] + 1]].tolist():
            if reached not in seen:
                seen.add(reached)
                order.append(reached)
        at += 1
        if len(order) > FEW:
            return None
    return np.asarray(order[1:], dtype=np.int32)


def _topological(n: int, sources: Ints, targets: Ints) -> Ints:
    """Return the rank of each node of an acyclic graph (Kahn, CACM 5, 1962)."""
    order = np.argsort(sources, kind="stable")
    starts = np.searchsorted(sources[order], np.arange(n + 1)).tolist()
    followers = targets[order].tolist()
    waiting = np.bincount(targets, minlength=n).tolist()
    ready = [node for node in range(n) if not waiting[node]]
    rank = np.zeros(n, dtype=np.int32)
    for place in range(n):
        node = ready[place]
        rank[node] = place
        for at in range(starts[node], starts[node + 1]):
            waiting[followers[at]] -= 1
            if not waiting[followers[at]]:
                ready.append(followers[at])
    return rank


def _weigh(bits: int, weight: NDArray[np.float64]) -> float:
    packed = np.frombuffer(bits.to_bytes((bits.bit_length() + 7) // 8, "little"), dtype=np.uint8)
    places = np.flatnonzero(np.unpackbits(packed, bitorder="little"))
    return float(weight[places].sum())


__all__ = ["EXACT", "SKETCH", "Reach"]
