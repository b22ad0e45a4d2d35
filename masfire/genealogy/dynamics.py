"""The model of propagation: how the share of agents that hold an error grows, round by round.

Equations: From Spark to Fire, arXiv 2603.04474, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from masfire.errors import UnknownName, UsageError

Form = Literal["product", "poisson"]
Floats = NDArray[np.float64]


class Topology(Struct, frozen=True):
    """Who reads whom: `edges` are (source, target), the source's output enters the target's context."""

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    @property
    def n(self) -> int:
        """Return the number of agents."""
        return len(self.names)

    def matrix(self) -> Floats:
        """Return A with rows as receivers: a[i, j] = 1 iff j's output enters i's context."""
        a = np.zeros((self.n, self.n))
        for source, target in self.edges:
            a[target, source] = 1.0
        return a

    def index(self, name: str) -> int:
        """Return the place of an agent; raise UnknownName."""
        if name not in self.names:
            raise UnknownName("agent", name, self.names)
        return self.names.index(name)

    @classmethod
    def of(cls, edges: Iterable[tuple[str, str]], names: Iterable[str] = ()) -> Topology:
        """Return the topology of named edges; agents in order of appearance, `names` first."""
        pairs = list(dict.fromkeys(edges))
        order = list(dict.fromkeys([*names, *(name for pair in pairs for name in pair)]))
        place = {name: at for at, name in enumerate(order)}
        return cls(tuple(order), tuple((place[a], place[b]) for a, b in pairs if a != b))


def star(n: int = 5) -> Topology:
    """Return a hub (agent 0) and n-1 leaves that read each other through it."""
    return _numbered(n, [(0, leaf) for leaf in range(1, n)] + [(leaf, 0) for leaf in range(1, n)])


def chain(n: int = 5, *, reverse: float = 0.0, seed: int = 0) -> Topology:
    """Return a chain 0 → 1 → …; each reverse edge exists with chance `reverse` (layered-horizontal)."""
    rng = np.random.default_rng(seed)
    back = [(at + 1, at) for at in range(n - 1) if reverse and rng.random() < reverse]
    return _numbered(n, [(at, at + 1) for at in range(n - 1)] + back)


def complete(n: int = 5) -> Topology:
    """Return n agents that all read all others."""
    return _numbered(n, [(a, b) for a in range(n) for b in range(n) if a != b])


def _numbered(n: int, edges: list[tuple[int, int]]) -> Topology:
    return Topology(tuple(f"a{at}" for at in range(n)), tuple(edges))


def exposure(a: Any, s: Any, beta: Any, *, form: Form = "product", dt: float = 1.0) -> Floats:
    """Return f: the chance that each agent takes the error over in one round.

    Product form 1 - Π_j (1 - β a_ij s_j), Poisson form 1 - exp(-β Δt Σ_j a_ij s_j). `s` may have any
    number of leading axes (one a candidate), which `beta` must match.
    """
    a, s, beta = np.asarray(a), np.asarray(s), np.asarray(beta)
    if form == "poisson":
        return np.asarray(1.0 - np.exp(-beta[..., None] * dt * (s @ a.T)))
    if form != "product":
        raise UnknownName("form of the dynamics", form, ("product", "poisson"))
    with np.errstate(divide="ignore"):
        logs = np.log1p(-np.minimum(beta[..., None] * s, 1.0))
    rows = np.where(a[..., :, :] > 0, logs[..., None, :], 0.0).sum(axis=-1)
    return np.asarray(1.0 - np.exp(rows))


def evolve(
    a: Any, start: Any, beta: Any, delta: Any, *, rounds: int, form: Form = "product", dt: float = 1.0
) -> Floats:
    """Return s(0…rounds): s(t+1) = (1-δ) s(t) + (1-s(t)) f(t); the rounds are the first axis."""
    beta, delta = np.asarray(beta, dtype=float), np.asarray(delta, dtype=float)
    if ((beta < 0) | (beta > 1)).any() and form == "product":
        raise UsageError("β is a chance, between 0 and 1, in the product form.")
    s = np.broadcast_to(np.asarray(start, dtype=float), (*beta.shape, np.asarray(a).shape[-1])).copy()
    states = [s]
    for _ in range(rounds):
        taken = exposure(a, s, beta, form=form, dt=dt)
        s = (1.0 - delta[..., None]) * s + (1.0 - s) * taken
        states.append(s)
    return np.stack(states)


def coverage(
    topology: Topology,
    beta: float,
    delta: float,
    *,
    seeds: Sequence[int] = (0,),
    rounds: int = 5,
    form: Form = "product",
) -> list[float]:
    """Return S(0…rounds), the mean of s over the agents, when `seeds` hold the error at the start.

    >>> [round(value, 4) for value in coverage(star(), 0.67, 0.0)]
    [0.2, 0.736, 0.9129, 0.9713, 0.9905, 0.9969]
    """
    if not topology.n:
        raise UsageError("There is no agent, so nothing can spread.")
    start = np.zeros(topology.n)
    start[list(seeds)] = 1.0
    states = evolve(topology.matrix(), start, beta, delta, rounds=rounds, form=form)
    return [float(value) for value in states.mean(axis=-1)]


def simulate(
    topology: Topology,
    beta: float,
    delta: float,
    *,
    rounds: int = 5,
    trials: int = 20,
    seeds: Sequence[int] = (0,),
    rng: Any = 0,
) -> Floats:
    """Return the observed S(0…rounds) of random runs, one row a trial.

    Each round an agent without the error takes it from each holder it reads with chance β, and an agent
    that holds it recovers with chance δ. This is what the model averages over; agents' states are
    correlated, which the model leaves out.
    """
    draw = rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
    a = topology.matrix()
    held = np.zeros((trials, topology.n), dtype=bool)
    held[:, list(seeds)] = True
    rows = [held.mean(axis=1)]
    for _ in range(rounds):
        readings = held.astype(float) @ a.T
        taken = draw.random(held.shape) < 1.0 - (1.0 - beta) ** readings
        kept = draw.random(held.shape) >= delta
        held = np.where(held, kept, taken)
        rows.append(held.mean(axis=1))
    return np.stack(rows, axis=1)


__all__ = [
    "Form", "Topology", "chain", "complete", "coverage", "evolve", "exposure", "simulate", "star",
]  # fmt: skip
