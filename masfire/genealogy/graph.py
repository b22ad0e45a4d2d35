"""Genealogy graphs of a run: which step was in whose context, and which claim came from which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from masfire.claims import Known, Statement, statements_of
from masfire.genealogy.outputs import SPOKEN, spoken_by
from masfire.trace.model import USER, Message, Observation, Step, Trace

if TYPE_CHECKING:
    import networkx

    from masfire.genealogy.reach import Reach

CONFIRMED, UNVERIFIED, REJECTED = "confirmed", "unverified", "rejected"
CONTEXT = "context"
RELATIONS = {"supports": "supports", "contradicts": "contradicts", "derived": "derived_from"}

Extractor: TypeAlias = Callable[[Any], Sequence[Statement]]
"""Splits a JSON value into statements; the default is deterministic, a model may stand behind another."""


class Node(Struct, frozen=True):
    """A claim (or a whole step): who said it at which step, its text and its status.

    A step's node has no status ("") and no text: the trace has both what it says and to whom.
    """

    step: int
    agent: str
    kind: str
    text: str = ""
    status: str = UNVERIFIED


class Edge(Struct, frozen=True):
    """`source` → `target` (places of nodes; the source came first).

    `relation` is `context`, `supports`, `contradicts` or `derived_from`. A `declared` edge is what the
    trace says; any other was inferred from texts, with a `score` in 0..1 and a `reason`.
    """

    source: int
    target: int
    relation: str
    declared: bool
    score: float = 1.0
    reason: str = ""


class GenealogyGraph:
    """A genealogy: nodes in order of time, edges forward in time.

    `kind` is `messages` (nodes are steps, edges declared) or `claims`.
    """

    def __init__(self, kind: str, nodes: Sequence[Node], edges: Iterable[Edge]) -> None:
        self.kind = kind
        self.nodes = tuple(nodes)
        self.edges = tuple(edges)

    @cached_property
    def reach(self) -> Reach:
        """Return the graph for fast questions: descendants, ancestors, cascade sizes."""
        from masfire.genealogy.reach import Reach

        kept = [edge for edge in self.edges if edge.relation != "contradicts"]
        return Reach(len(self.nodes), [edge.source for edge in kept], [edge.target for edge in kept])

    def roots(self) -> list[int]:
        """Return the nodes that nothing earlier led to."""
        led = {edge.target for edge in self.edges if edge.relation != "contradicts"}
        return [place for place in range(len(self.nodes)) if place not in led]

    def hubs(self, n: int = 10) -> list[tuple[int, int]]:
        """Return the `n` nodes that most others follow from, with how many; the earlier of equals first."""
        sizes = self.reach.cascade_sizes()
        order = sorted(range(len(self.nodes)), key=lambda place: (-sizes[place], place))
        return [(place, round(float(sizes[place]))) for place in order[:n]]

    def to_networkx(self) -> networkx.MultiDiGraph:
        """Return the graph for networkx: the fields of nodes and edges are attributes.

        An edge's key is its place in `edges`.
        """
        import networkx

        graph = networkx.MultiDiGraph(kind=self.kind)
        names = Node.__struct_fields__
        told = ("relation", "declared", "score", "reason")
        graph.add_nodes_from(
            (place, {name: getattr(node, name) for name in names}) for place, node in enumerate(self.nodes)
        )
        graph.add_edges_from(
            (edge.source, edge.target, place, {name: getattr(edge, name) for name in told})
            for place, edge in enumerate(self.edges)
        )
        return graph


def message_graph(trace: Trace) -> GenealogyGraph:
    """Return the graph of steps: an edge says that a step was in the input from which another was made."""
    nodes = [Node(step.step, step.agent, step.kind, status="") for step in trace]
    known = len(nodes)
    edges = (
        Edge(parent, step.step, CONTEXT, declared=True)
        for step in trace
        for parent in _causes(step)
        if 0 <= parent < min(step.step, known)
    )
    return GenealogyGraph("messages", nodes, edges)


def claim_graph(trace: Trace, *, extract: Extractor = statements_of) -> GenealogyGraph:
    """Return the graph of claims of a run.

    An earlier claim that stood in the context of a later one which says the same (or is made of parts of
    it) is what that was `derived_from`; one that did not stand there `supports` it: two sources. All
    these edges are inferred. Claims of the user and of successful tools are confirmed, what a confirmed
    claim contradicts is rejected, what it leads to with the same content is confirmed.
    """
    builder = _Builder()
    for step in trace:
        builder.context(step)
        if _says(step):
            for one in extract(spoken_by(step)):
                builder.add(step, one)
    return GenealogyGraph("claims", builder.nodes, builder.edges)


class _Builder:
    """Collects claims in order of time; ancestors of a step are bits of an integer."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self._known = Known()
        self._above: dict[int, int] = {}

    def context(self, step: Step) -> None:
        above = 0
        for parent in _causes(step):
            above |= self._above.get(parent, 0) | (1 << parent if parent >= 0 else 0)
        self._above[step.step] = above

    def add(self, step: Step, one: Statement) -> None:
        place = len(self.nodes)
        above = self._above[step.step]
        status = CONFIRMED if _trusted(step) else UNVERIFIED

        def inside(other: int) -> bool:
            return bool(above >> self.nodes[other].step & 1)

        def elsewhere(other: int) -> bool:
            return not inside(other) and self.nodes[other].step != step.step

        for among, declared in ((inside, True), (elsewhere, False)):
            found = self._known.relate(one, among=among)
            if found.index < 0 or (not declared and found.kind == "derived"):
                continue  # a part in common with what was never read shows nothing
            same = found.kind == "supports" and declared
            relation = "derived_from" if same else RELATIONS[found.kind]
            self.edges.append(
                Edge(found.index, place, relation, declared=False, score=found.score, reason=found.reason)
            )
            if self.nodes[found.index].status == CONFIRMED and status == UNVERIFIED:
                status = {"supports": CONFIRMED, "contradicts": REJECTED}.get(found.kind, status)
        self.nodes.append(Node(step.step, step.agent, step.kind, one.text, status))
        self._known.add(one)


def _causes(step: Step) -> Iterator[int]:
    yield from step.parents
    if isinstance(step.body, Observation) and step.body.of >= 0 and step.body.of not in step.parents:
        yield step.body.of


def _says(step: Step) -> bool:
    return isinstance(step.body, Message) or step.kind in SPOKEN or step.kind == "tool_result"


def _trusted(step: Step) -> bool:
    if step.agent == USER:
        return True
    return step.kind == "tool_result" and isinstance(step.body, Observation) and step.body.ok


__all__ = [
    "CONFIRMED", "CONTEXT", "REJECTED", "UNVERIFIED", "Edge", "Extractor", "GenealogyGraph", "Node",
    "claim_graph", "message_graph",
]  # fmt: skip
