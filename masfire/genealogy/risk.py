"""Risk before anything is injected: spectral margin, finite-horizon coverage, and the worst seed.

Sources: From Spark to Fire, arXiv 2603.04474 (β ρ(A) against δ). A directed chain, like any DAG, has
ρ(A) = 0 and burns all the same; the coverage after a finite number of rounds says so.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from masfire.errors import UsageError
from masfire.genealogy.dynamics import Form, Topology, evolve

PUBLISHED: dict[str, tuple[float, float]] = {
    "star": (0.67, 0.0),
    "chain": (0.92, 0.005),
    "complete graph": (0.37, 0.025),
}
"""β and δ that were fitted on five agents of each shape (product form): assumed without a calibration."""
ASSUMED_BETA, ASSUMED_DELTA = PUBLISHED["star"]
"""What is assumed of any other shape."""
DENSE = 2_000
"""Up to this many agents the spectrum is computed exactly, and every seed is tried."""


class SeedRisk(Struct, frozen=True):
    """How far an error of one agent comes: expected coverage at the horizon, and its influence.

    `influence` is its entry in the principal *left* eigenvector of A (rows receive), scaled to 1 in
    sum; 0 in a graph without cycles.
    """

    agent: str
    coverage: float
    influence: float


class Risk(Struct, frozen=True):
    """The risk of a topology under (β, δ).

    `margin` is βρ(A) - δ (above 0: an error amplifies), `ratio` βρ(A)/δ (None when δ is 0). `curve` is
    S(0…rounds) from the worst seed; `seeds` are ordered by coverage, worst first. `source` says where the
    rates come from.
    """

    agents: int
    edges: int
    beta: float
    delta: float
    rho: float
    margin: float
    ratio: float | None
    acyclic: bool
    rounds: int
    curve: tuple[float, ...]
    seeds: tuple[SeedRisk, ...]
    assumed: bool = False
    source: str = "given"

    @property
    def worst(self) -> str:
        """Return the agent whose error comes furthest."""
        return self.seeds[0].agent

    @property
    def sentence(self) -> str:
        """Return in two sentences what this means."""
        reached = f"{self.curve[-1]:.0%} of the agents after {self.rounds} rounds"
        if self.acyclic:
            first = "The graph has no cycle (ρ = 0), so the spectral criterion says nothing; "
        elif self.margin > 0:
            first = f"βρ - δ = {self.margin:.2f} > 0: an error feeds on itself; "
        else:
            first = f"βρ - δ = {self.margin:.2f} ≤ 0: an error dies out in the long run; "
        return f"{first}from {self.worst} it is expected to reach {reached}."


def spectral_radius(a: NDArray[np.float64]) -> float:
    """Return ρ(A), the largest absolute eigenvalue; exactly 0 for a graph without cycles."""
    core = _cyclic_core(a)
    return float(np.abs(np.linalg.eigvals(core)).max()) if core.size else 0.0


def left_eigenvector(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the principal left eigenvector of A, absolute and summing to 1 (zeros without a cycle).

    With rows as receivers it says how much each agent's error matters as a *seed*; the right one says
    who is reached, and can rank the agent that spreads least first.
    """
    if not _cyclic_core(a).size:
        return np.zeros(len(a))
    values, vectors = np.linalg.eig(a.T)
    found = np.abs(np.real(vectors[:, int(np.argmax(np.abs(values)))]))
    return np.asarray(found / found.sum())


def assess(
    topology: Topology,
    *,
    beta: float | None = None,
    delta: float | None = None,
    rounds: int = 0,
    form: Form = "product",
) -> Risk:
    """Return the risk of `topology`; rates that are not given are those published of its shape (`assumed`).

    A graph without cycles counts as a chain; what is no star, chain or complete graph gets the star's.
    `rounds` is the horizon (0: as many rounds as agents, at least 5). Raise UsageError for no agents,
    more than 2,000, or rates outside 0…1.
    """
    if not 0 < topology.n <= DENSE:
        raise UsageError(f"{topology.n} agents cannot be assessed.", hint=f"Between 1 and {DENSE} can.")
    assumed = beta is None or delta is None
    source, rates = _published(topology)
    source = _told(source, beta, delta)
    beta = rates[0] if beta is None else beta
    delta = rates[1] if delta is None else delta
    for name, rate in (("β", beta), ("δ", delta)):
        if not 0 <= rate <= 1:
            raise UsageError(f"{name} = {rate} is no chance.", hint="Give a number between 0 and 1.")
    a = topology.matrix()
    horizon = rounds or max(5, topology.n)
    ends, curves = _from_every_seed(a, beta, delta, horizon, form)
    influence = left_eigenvector(a)
    order = np.lexsort((np.arange(topology.n), -influence.round(12), -ends.round(12))).tolist()
    seeds = tuple(SeedRisk(topology.names[i], float(ends[i]), float(influence[i])) for i in order)
    rho = spectral_radius(a)
    return Risk(
        agents=topology.n,
        edges=len(topology.edges),
        beta=beta,
        delta=delta,
        rho=rho,
        margin=beta * rho - delta,
        ratio=beta * rho / delta if delta else None,
        acyclic=rho == 0.0,
        rounds=horizon,
        curve=tuple(float(v) for v in curves[:, order[0]]),
        seeds=seeds,
        assumed=assumed,
        source=source,
    )


def _published(topology: Topology) -> tuple[str, tuple[float, float]]:
    """Return the fit that is published of a topology's shape, in words and as β and δ."""
    n, edges = topology.n, set(topology.edges)
    if n > 1 and len(edges) == n * (n - 1):
        shape = "complete graph"
    elif edges and not _cyclic_core(topology.matrix()).size:
        shape = "chain"
    else:
        shape = "star"
    hubs = [
        hub
        for hub in range(n)
        if edges == {p for leaf in range(n) if leaf != hub for p in ((hub, leaf), (leaf, hub))}
    ]
    other = "" if shape != "star" or hubs else "; none is published of this shape"
    return f"the published fit of a {shape}{other}", PUBLISHED[shape]


def _told(source: str, beta: float | None, delta: float | None) -> str:
    if beta is not None and delta is not None:
        return "given"
    if beta is None and delta is None:
        return f"assumed: {source}; measure yours with `masfire cascade`, or give --beta and --delta"
    return f"{'β' if beta is None else 'δ'} assumed: {source}"


def _from_every_seed(
    a: NDArray[np.float64], beta: float, delta: float, rounds: int, form: Form
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = len(a)
    curves = np.empty((rounds + 1, n))
    block = max(1, 2_000_000 // (n * n))
    for first in range(0, n, block):
        starts = np.eye(n)[first : first + block]
        rates = np.full(len(starts), beta), np.full(len(starts), delta)
        states = evolve(a, starts, *rates, rounds=rounds, form=form)
        curves[:, first : first + block] = states.mean(axis=-1)
    return curves[-1], curves


def _cyclic_core(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return A without the agents that neither lie on a cycle nor on a way between two."""
    kept = a
    while kept.size:
        alive = (kept.sum(axis=0) > 0) & (kept.sum(axis=1) > 0)
        if bool(alive.all()):
            break
        kept = kept[np.ix_(alive, alive)]
    return kept


__all__ = [
    "ASSUMED_BETA",
    "ASSUMED_DELTA",
    "Risk",
    "SeedRisk",
    "assess",
    "left_eigenvector",
    "spectral_radius",
]
