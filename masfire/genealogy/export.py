"""Genealogy graphs as files: GraphML, DOT and JSON, safe whatever the recorded texts hold."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

from masfire.genealogy.graph import Edge, GenealogyGraph, Node

LONGEST_LABEL = 80
_CONTROL = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COLOURS = {"confirmed": "palegreen", "unverified": "lightyellow", "rejected": "lightpink"}


def to_json(graph: GenealogyGraph) -> str:
    """Return the graph as a JSON object: kind, nodes and edges (places of nodes are their indexes)."""
    content = {
        "kind": graph.kind,
        "nodes": [_fields(node) for node in graph.nodes],
        "edges": [_fields(edge) for edge in graph.edges],
    }
    return json.dumps(content, indent=1, ensure_ascii=True)


def to_graphml(graph: GenealogyGraph) -> str:
    """Return the graph as GraphML; characters that XML cannot hold are replaced."""
    import networkx

    found = graph.to_networkx()  # keys are the edges' places: GraphML demands that ids differ
    for _, data in found.nodes(data=True):
        data.update({name: _legal(value) for name, value in data.items()})
    for _, _, data in found.edges(data=True):
        data.update({name: _legal(value) for name, value in data.items()})
    found.graph = {}
    stream = io.BytesIO()
    networkx.write_graphml(found, stream)
    return stream.getvalue().decode("utf-8")


def to_dot(graph: GenealogyGraph) -> str:
    """Return the graph for Graphviz: colours say the status, dashed edges were inferred."""
    lines = ["digraph genealogy {", "  node [shape=box, style=filled];"]
    for place, node in enumerate(graph.nodes):
        label = _quoted(f"{node.step} {node.agent} {node.kind}", node.text)
        lines.append(f'  {place} [label="{label}", fillcolor={_COLOURS.get(node.status, "white")}];')
    for edge in graph.edges:
        style = "solid" if edge.declared else "dashed"
        colour = ", color=red" if edge.relation == "contradicts" else ""
        lines.append(f'  {edge.source} -> {edge.target} [label="{edge.relation}", style={style}{colour}];')
    return "\n".join([*lines, "}", ""])


FORMATS: dict[str, Callable[[GenealogyGraph], str]] = {"json": to_json, "graphml": to_graphml, "dot": to_dot}
"""What a graph can be written as."""


def _fields(value: Node | Edge) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _legal(value: Any) -> Any:
    return _CONTROL.sub("\ufffd", value) if isinstance(value, str) else value


def _quoted(*lines: str) -> str:
    shown = (
        line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 1]}…" for line in lines if line
    )
    legal = (_CONTROL.sub("\ufffd", line) for line in shown)
    return "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for line in legal)


__all__ = ["FORMATS", "to_dot", "to_graphml", "to_json"]
