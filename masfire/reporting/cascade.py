"""Cascades, genealogies and risks in words and as a figure; computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
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
_COLOURS = (
    "#1b6ca8", "#c0392b", "#27ae60", "#8e44ad", "#d68910",
    "#16a085", "#7f8c8d", "#2c3e50", "#e377c2", "#8c564b",
)  # fmt: skip
_WIDTH, _HEIGHT, _LEFT, _TOP, _PLOT_W, _PLOT_H = 760, 360, 56, 34, 480, 270


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


def curves_svg(
    curves: Mapping[str, Sequence[float]], *, title: str, x: str = "turn", y: str = "coverage S"
) -> str:
    """Return a figure of named curves (values in 0…1) as SVG; `x (model)` is dashed, in x's colour."""
    length = max((len(curve) for curve in curves.values()), default=0)
    bottom, right = _TOP + _PLOT_H, _LEFT + _PLOT_W
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    parts = [
        f'{opening} font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _label(_LEFT, 20, title, anchor="start"),
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = bottom - _PLOT_H * share
        parts += [_line(_LEFT, right, at, "#ddd"), _label(_LEFT - 8, at + 4, f"{share:g}", anchor="end")]
    for turn in range(0, length, 1 if length <= 20 else 5):
        parts.append(_label(_LEFT + _across(turn, length), bottom + 18, str(turn)))
    parts.append(_label(_LEFT + _PLOT_W / 2, _HEIGHT - 10, x))
    parts.append(f'<g transform="translate(14 {_TOP + _PLOT_H / 2}) rotate(-90)">{_label(0, 0, y)}</g>')
    colours: dict[str, str] = {}
    for number, (name, curve) in enumerate(curves.items()):
        base = name.removesuffix(" (model)")
        colour = colours.setdefault(base, _COLOURS[len(colours) % len(_COLOURS)])
        dash = ' stroke-dasharray="6 4"' if name.endswith("(model)") else ""
        places = (
            f"{_LEFT + _across(turn, length):.1f},{bottom - _PLOT_H * share:.1f}"
            for turn, share in enumerate(curve)
        )
        points = " ".join(places)
        if len(curve) == 1:  # a line of one point would be invisible
            x, _, y = points.partition(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>')
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        at = _TOP + 10 + 18 * number
        parts.append(_line(right + 14, right + 38, at, colour, dash))
        parts.append(_label(right + 44, at + 4, printable(name, limit=32), anchor="start"))
    return "\n".join([*parts, "</svg>", ""])


def _line(left: float, right: float, at: float, colour: str, dash: str = "") -> str:
    return f'<line x1="{left}" x2="{right}" y1="{at}" y2="{at}" stroke="{colour}" stroke-width="1.5"{dash}/>'


def _label(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(printable(text))}</text>'


def _across(turn: int, length: int) -> float:
    return _PLOT_W * turn / max(1, length - 1)


def _all(measured: Mapping[str, Any]) -> str:
    runs, traces = measured["runs"], measured["traces"]
    return f"fault-free runs of {traces} traces" if runs < traces else "runs"


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


__all__ = [
    "cascade_lines",
    "comparison_lines",
    "curves_svg",
    "graph_lines",
    "message_lines",
    "risk_lines",
    "spark",
]
