"""How far an error came in one run: adoption, coverage, depth, detection, containment.

Definitions: From Spark to Fire, arXiv 2603.04474 (coverage S(t), false consensus); the rest is ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from msgspec import Struct

from masfire.genealogy.outputs import Output, outputs
from masfire.genealogy.seed import ADOPTS, OBJECTS, Seed
from masfire.trace.model import USER, Decision, Trace

TAU, ROUNDS = 0.5, 2
"""False consensus: coverage above TAU for ROUNDS turns in a row (the paper's values are unpublished)."""


class Adoption(Struct, frozen=True):
    """One agent taking the error over (or back): the step and turn, and `held` afterwards."""

    agent: str
    step: int
    turn: int
    held: bool


class Cascade(Struct, frozen=True):
    """What became of one seed in one run.

    `curve` is S after each turn, the share of `agents` that hold the error then; `reached` the agents
    that ever did. `hops` is the share that adopted it within so many adoptions of a first one, by the
    shortest declared way: turns are sequential in any system, hops show its shape. `depth` is the last
    hop, `breadth` the most adopters at one. `stated` are the steps at which a turn first stated it.
    `blast_radius` counts the steps that had an adopting output in their context, directly or not.
    `polluted` counts the turns in which the error was stated. `amplification` is how many agents an
    initial holder brought; `contained` the share of the reached that let go again. `detected_turn` (and
    seconds) is when somebody first objected, counted from the first adoption, None if nobody did.
    """

    seed: str
    agents: tuple[str, ...]
    turns: int
    curve: tuple[float, ...]
    adoptions: tuple[Adoption, ...]
    reached: tuple[str, ...]
    hops: tuple[float, ...]
    stated: tuple[int, ...]
    depth: int
    breadth: int
    blast_radius: int
    polluted: int
    amplification: float | None
    contained: float | None
    detected_turn: int | None
    detected_seconds: float | None
    false_consensus: bool

    @property
    def final(self) -> float:
        """Return the coverage at the end of the run."""
        return self.curve[-1] if self.curve else 0.0

    @property
    def peak(self) -> float:
        """Return the share of agents that ever held the error."""
        return len(self.reached) / len(self.agents) if self.agents else 0.0


class Comparison(Struct, frozen=True):
    """What a faulted run says that its clean twin does not (`appeared`), and the other way round.

    Each is (agent, statement) in order of appearance.
    """

    appeared: tuple[tuple[str, str], ...]
    vanished: tuple[tuple[str, str], ...]


def measure(
    trace: Trace,
    seed: Seed,
    *,
    agents: Sequence[str] = (),
    seeded: Sequence[str] = (),
    tau: float = TAU,
    rounds: int = ROUNDS,
) -> Cascade:
    """Return how far `seed` came in `trace`.

    `agents` are those that count (by default all that put something out in this run: give the ones of a
    clean run when a fault may silence some); `seeded` those that the error was given to, which are
    not brought by it. Ground truth is not looked at.
    """
    said = list(outputs(trace, agents))
    judged = [(each, seed.stance(each)) for each in said]
    counted = tuple(agents) or tuple(dict.fromkeys(each.agent for each in said))
    changes, curve = _follow(judged, counted)
    reached = tuple(dict.fromkeys(change.agent for change in changes if change.held))
    adopting = [each for each, stance in judged if stance == ADOPTS]
    depths = _depths(trace, adopting)
    first = adopting[0] if adopting else None
    detected = _detected(trace, judged, first)
    initial = [name for name in reached if name in seeded] or list(reached[:1])
    let_go = [name for name in reached if not _holds(changes, name)]
    return Cascade(
        seed=seed.label,
        agents=counted,
        turns=len(curve),
        curve=tuple(curve),
        adoptions=tuple(changes),
        reached=reached,
        hops=_by_hop(depths, len(counted)),
        stated=tuple(_firsts(adopting)),
        depth=max(depths.values(), default=0),
        breadth=max((list(depths.values()).count(level) for level in set(depths.values())), default=0),
        blast_radius=_blast(trace, [each.step for each in adopting]),
        polluted=len({each.turn for each in adopting}),
        amplification=(len(reached) - len(initial)) / len(initial) if initial else None,
        contained=len(let_go) / len(reached) if reached else None,
        detected_turn=detected[0] if detected else None,
        detected_seconds=detected[1] if detected else None,
        false_consensus=_sustained(curve, tau, rounds),
    )


def compare(clean: Trace, faulted: Trace) -> Comparison:
    """Return what appeared and what vanished between a clean and a faulted run of the same seed."""
    before, after = _statements(clean), _statements(faulted)
    return Comparison(
        tuple((agent, text) for (agent, _), text in after.items() if (agent, _) not in before),
        tuple((agent, text) for (agent, _), text in before.items() if (agent, _) not in after),
    )


def mean_curve(curves: Sequence[Sequence[float]], turns: int = 0) -> list[float]:
    """Return the mean of several runs' curves; a run that ended keeps its last value."""
    length = turns or max((len(each) for each in curves), default=0)
    rows = [padded(each, length) for each in curves if each]
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)] if rows else []


def padded(curve: Sequence[float], length: int) -> list[float]:
    """Return a curve of exactly `length` values: cut, or its last value held."""
    held = curve[-1] if curve else 0.0
    return [*curve[:length], *[held] * (length - len(curve))]


def shape(hops: Sequence[float]) -> str:
    """Return the shape of a coverage curve over hops: flat, near-immediate, jump, or staircase.

    `near-immediate`: the first hop brings nine tenths of the rise; `jump`: one hop brings at least six
    tenths of it; `staircase`: neither.
    """
    rise = hops[-1] - hops[0] if hops else 0.0
    if rise <= 0:
        return "flat"
    steps = [after - before for before, after in itertools.pairwise(hops)]
    if steps[0] >= 0.9 * rise:
        return "near-immediate"
    return "jump" if max(steps) >= 0.6 * rise else "staircase"


def _follow(
    judged: Sequence[tuple[Output, str]], counted: Sequence[str]
) -> tuple[list[Adoption], list[float]]:
    held: dict[str, bool] = dict.fromkeys(counted, False)
    changes: list[Adoption] = []
    curve: list[float] = []
    for output, stance in judged:
        holds = stance == ADOPTS
        if output.agent in held and stance in (ADOPTS, OBJECTS) and held[output.agent] != holds:
            held[output.agent] = holds
            changes.append(Adoption(output.agent, output.step, output.turn, holds))
        share = sum(held.values()) / len(held) if held else 0.0
        if output.turn < len(curve):
            curve[output.turn] = share
        else:
            curve.append(share)
    return changes, curve


def _depths(trace: Trace, adopting: Sequence[Output]) -> dict[str, int]:
    """Return each adopter's hop: 0 when no earlier adoption was in its context, else one more than that."""
    depth: dict[int, int] = {}
    found: dict[str, int] = {}
    own = {each.step: each for each in adopting}
    for step in trace:
        above = min((depth[parent] for parent in step.parents if parent in depth), default=-1)
        each = own.get(step.step)
        if each is not None:
            depth[step.step] = found.setdefault(each.agent, above + 1)
        elif above >= 0:
            depth[step.step] = above
    return found


def _by_hop(depths: dict[str, int], agents: int) -> tuple[float, ...]:
    last = max(depths.values(), default=-1)
    return tuple(sum(depth <= hop for depth in depths.values()) / agents for hop in range(last + 1))


def _firsts(adopting: Sequence[Output]) -> list[int]:
    steps: dict[int, int] = {}
    for each in adopting:
        steps.setdefault(each.turn, each.step)
    return list(steps.values())


def _blast(trace: Trace, adopting: Sequence[int]) -> int:
    hit: set[int] = set(adopting)
    for step in trace:
        if not hit.isdisjoint(step.parents):
            hit.add(step.step)
    return len(hit - set(adopting))


def _detected(
    trace: Trace, judged: Sequence[tuple[Output, str]], first: Output | None
) -> tuple[int, float] | None:
    """Return turn and seconds from the first adoption to the first objection or intervention."""
    if first is None:
        return None
    objected = [each for each, stance in judged if stance == OBJECTS and each.step > first.step]
    decided = [
        step
        for step in trace
        if isinstance(step.body, Decision) and step.body.outcome != "allow" and step.step > first.step
    ]
    if decided and (not objected or decided[0].step < objected[0].step):
        turn = max((each.turn for each, _ in judged if each.step <= decided[0].step), default=0)
        return turn - first.turn, decided[0].time - first.time
    return (objected[0].turn - first.turn, objected[0].time - first.time) if objected else None


def _holds(changes: Sequence[Adoption], agent: str) -> bool:
    return [change.held for change in changes if change.agent == agent][-1]


def _sustained(curve: Sequence[float], tau: float, rounds: int) -> bool:
    streak = 0
    for share in curve:
        streak = streak + 1 if share > tau else 0
        if streak >= rounds:
            return True
    return False


def _statements(trace: Trace) -> dict[tuple[str, object], str]:
    found: dict[tuple[str, object], str] = {}
    for each in outputs(trace):
        for one in each.statements:
            found.setdefault((each.agent, (one.key, one.words, one.values, one.negated)), one.text)
    return found


def speakers(trace: Trace) -> tuple[str, ...]:
    """Return the agents that put something out in a run, in order."""
    return tuple(dict.fromkeys(each.agent for each in outputs(trace) if each.agent != USER))


__all__ = [
    "ROUNDS", "TAU", "Adoption", "Cascade", "Comparison", "compare", "mean_curve", "measure", "padded",
    "shape", "speakers",
]  # fmt: skip
