"""Cascades, genealogies and risks in words; computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from masfire.genealogy.cascade import Cascade, Comparison
from masfire.genealogy.dynamics import Topology
from masfire.genealogy.graph import GenealogyGraph
from masfire.genealogy.risk import Risk
from masfire.genealogy.synergy import Advice
from masfire.reporting.printable import printable
from masfire.reporting.story import Messages, told
from masfire.trace.model import Trace

BARS = " ▁▂▃▄▅▆▇█"
SHOWN = 10


def spark(curve: Sequence[float]) -> str:
    """Return a curve of shares as one line of bars.

    >>> spark([0.0, 0.5, 1.0])
    ' ▄█'
    """
    return "".join(BARS[round(min(1.0, max(0.0, share)) * (len(BARS) - 1))] for share in curve)


def risk_lines(
    topology: Topology, risk: Risk, advice: Advice | None, measured: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the lines that tell a risk."""
    yield f"{risk.agents} agents, {risk.edges} edges (who reads whom)"
    yield f"β = {risk.beta:g}, δ = {risk.delta:g} ({risk.source})"
    ratio = f"{risk.ratio:.2f}" if risk.ratio is not None else "unbounded (δ = 0)"
    shown = "undefined, no cycle" if risk.acyclic else ratio
    yield f"spectral    ρ(A) = {risk.rho:.3f}   βρ-δ = {risk.margin:+.3f}   R = {shown}"
    yield f"coverage    S(0…{risk.rounds}) |{spark(risk.curve)}| {risk.curve[0]:.0%} → {risk.curve[-1]:.0%}"
    yield "worst seeds"
    for seed in risk.seeds[:SHOWN]:
        yield f"  {seed.coverage:6.1%}  {printable(seed.agent)}  (left eigenvector {seed.influence:.2f})"
    yield printable(risk.sentence)
    if measured and not measured["runs"]:
        yield (
            f"measured nothing: none of {measured['traces']} traces is of a fault-free run, so fidelity and "
            f"error correlation are unknown"
        )
    elif measured:
        yield (
            f"measured on {measured['runs']} {_all(measured)}: fidelity γ = {_share(measured['fidelity'])} "
            f"({measured['slots']} slots), error correlation ρ = {_share(measured['correlation'])}"
        )
    if advice is not None:
        yield f"advice      {advice.sentence}"
    elif measured and measured["runs"]:
        yield "advice      none: no two agents both erred and both did right, so ρ or γ is undefined"


def message_lines(trace: Trace) -> Iterator[str]:
    """Yield a run step by step; behind ← what was in a step's input, and "of" what an answer answers."""
    messages = Messages(trace.steps)
    for step in trace:
        yield told(step, messages)


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Yield what appeared (+) in a run and what vanished (-) from it beside its clean twin."""
    if not found.appeared and not found.vanished:
        yield "The two runs make the same claims: nothing appeared, nothing vanished."
    for mark, side in (("+", found.appeared), ("-", found.vanished)):
        for agent, text in side:
            yield f"{mark} {printable(agent)}: {printable(text, limit=100)}"


def cascade_lines(cascade: Cascade) -> Iterator[str]:
    """Yield the lines that tell how far a seed came."""
    yield f"seed        {printable(cascade.seed, limit=100)}"
    yield f"coverage    |{spark(cascade.curve)}| final {cascade.final:.0%}, ever {cascade.peak:.0%}"
    yield f"reached     {printable(', '.join(cascade.reached)) or 'nobody'}"
    for change in cascade.adoptions:
        word = "takes it over" if change.held else "lets go"
        yield f"  turn {change.turn:3}  step {change.step:4}  {printable(change.agent)} {word}"
    yield (
        f"depth {cascade.depth}, breadth {cascade.breadth}, blast radius {cascade.blast_radius} steps, "
        f"polluted turns {cascade.polluted}"
    )
    if cascade.detected_turn is None:
        yield "nobody objected"
    else:
        yield f"first objection {cascade.detected_turn} turns ({cascade.detected_seconds:.2f} s) later"
    if cascade.false_consensus:
        yield "false consensus: most agents held it for two turns or longer"


def graph_lines(graph: GenealogyGraph) -> Iterator[str]:
    """Yield a genealogy line by line: each claim with what it came from."""
    above: dict[int, list[Any]] = {}
    for edge in graph.edges:
        above.setdefault(edge.target, []).append(edge)
    for place, node in enumerate(graph.nodes):
        text = f" {printable(node.text, limit=90)}" if node.text else ""
        yield f"{place:4}  step {node.step} {printable(node.agent)} [{node.status}]{text}"
        for edge in above.get(place, []):
            how = (
                "declared"
                if edge.declared
                else f"inferred {edge.score:.2f}: {printable(edge.reason, limit=90)}"
            )
            yield f"        {edge.relation} {edge.source} ({how})"


def _all(measured: Mapping[str, Any]) -> str:
    runs, traces = measured["runs"], measured["traces"]
    return f"fault-free runs of {traces} traces" if runs < traces else "runs"


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


__all__ = [
    "cascade_lines",
    "comparison_lines",
    "graph_lines",
    "message_lines",
    "risk_lines",
    "spark",
]
