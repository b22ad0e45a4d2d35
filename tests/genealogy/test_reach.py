"""Reachability on arrays says what networkx says."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from masfire.errors import UsageError
from masfire.genealogy import reach
from masfire.genealogy.reach import Reach


def _random(n: int, m: int, seed: int, *, cyclic: bool) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, n, m), rng.integers(0, n, m)
    keep = a != b
    a, b = a[keep], b[keep]
    return (a.tolist(), b.tolist()) if cyclic else (np.minimum(a, b).tolist(), np.maximum(a, b).tolist())


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_as_networkx(seed: int, cyclic: bool) -> None:
    sources, targets = _random(60, 90, seed, cyclic=cyclic)
    graph = nx.DiGraph(list(zip(sources, targets, strict=True)))
    graph.add_nodes_from(range(60))
    ours = Reach(60, sources, targets)
    for node in range(60):
        assert set(ours.descendants(node).tolist()) == nx.descendants(graph, node)
        assert set(ours.ancestors(node).tolist()) == nx.ancestors(graph, node)
        assert ours.depths(node) == nx.single_source_shortest_path_length(graph, node)
    sizes = [len(nx.descendants(graph, node)) for node in range(60)]
    assert ours.cascade_sizes().tolist() == sizes
    assert ours.acyclic == nx.is_directed_acyclic_graph(graph)
    assert ours.spread([3, 5]).tolist() == sorted(
        {3, 5} | nx.descendants(graph, 3) | nx.descendants(graph, 5)
    )


@pytest.mark.parametrize("cyclic", [False, True])
def test_estimates_are_near(monkeypatch: pytest.MonkeyPatch, cyclic: bool) -> None:
    sources, targets = _random(800, 1600, 1, cyclic=cyclic)
    exact = Reach(800, sources, targets).cascade_sizes()
    monkeypatch.setattr(reach, "EXACT", 10)
    estimated = Reach(800, sources, targets).cascade_sizes()
    large = exact > 20
    assert np.median(np.abs(estimated[large] / exact[large] - 1)) < 0.2


def test_edges_of_nobody_are_refused() -> None:
    with pytest.raises(UsageError, match="node 7"):
        Reach(3, [0], [7])
    with pytest.raises(UsageError, match="no node 3"):
        Reach(3, [0], [1]).descendants(3)
