"""Reads who can follow whom from a LangGraph graph that was built but never run."""

from __future__ import annotations

from typing import Any

from masfire.errors import UsageError

_ENDS = frozenset({"__start__", "__end__"})


def edges_of(graph: Any) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the nodes of a (compiled) LangGraph graph and its edges, conditional ones included.

    The ends are left out. An edge says that the one node can run right after the other; what a node
    reads of the shared state the graph does not tell, recorded runs do. Raise UsageError for anything
    that is no graph.
    """
    if hasattr(graph, "compile") and not hasattr(graph, "get_graph"):
        graph = graph.compile()
    if not hasattr(graph, "get_graph"):
        raise UsageError(
            f"{type(graph).__name__} is no LangGraph graph.",
            hint="Name a StateGraph, a compiled graph, or a function that returns one.",
        )
    drawn = graph.get_graph(xray=True)
    names = [name for name in drawn.nodes if _own(name) not in _ENDS]
    pairs = [(edge.source, edge.target) for edge in drawn.edges]
    through = _joined(names, pairs)
    return names, through


def _own(name: str) -> str:
    return name.rsplit(":", 1)[-1]


def _joined(names: list[str], pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the edges among `names`, with the ends of subgraphs bridged."""
    after: dict[str, list[str]] = {}
    for source, target in pairs:
        after.setdefault(source, []).append(target)
    kept = set(names)
    found: dict[tuple[str, str], None] = {}
    for name in names:
        todo, seen = list(after.get(name, [])), set()
        while todo:
            target = todo.pop()
            if target in kept:
                found[name, target] = None
            elif target not in seen:
                seen.add(target)
                todo += after.get(target, [])
    return list(found)


__all__ = ["edges_of"]
