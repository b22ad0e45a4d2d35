"""Governance of a whole compiled LangGraph: every node's tools, models and messages."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from masfire.adapters.govern_langgraph_calls import HERE, Here, ensure
from masfire.adapters.govern_langgraph_writes import Writing, content, role, written
from masfire.adapters.govern_python import RUN
from masfire.errors import MissingDependency, UsageError
from masfire.governance import Blocked, Governor, Proposal, Ruling
from masfire.governance.refusals import refuse


def govern(graph: Any, governor: Governor, *, on_block: str = "answer") -> Any:
    """Return a copy of a compiled graph whose nodes act only as the governor allows.

    The node's name is the agent's. Governed are the tools that nodes call, the chat models that they
    ask, and what they write (`messages` one by one, the other fields together). A blocked tool call
    that a model asked for is answered by an error message ("answer") or raises Blocked ("raise"); a
    blocked message or field is left out. `invoke`, `ainvoke`, `stream` and `astream` are one run each,
    unless they happen inside one. Raise UsageError for what is no compiled graph.
    """
    try:
        from langgraph.pregel import Pregel
    except ImportError as missing:
        raise MissingDependency(
            "Governing a graph needs langgraph.", hint="Install it with: pip install 'langgraph>=1.0,<2'"
        ) from missing
    if not isinstance(graph, Pregel):
        raise UsageError(f"{type(graph).__name__} is no compiled graph.", hint="Call .compile() first.")
    if on_block not in ("answer", "raise"):
        raise UsageError(f"on_block={on_block!r} is unknown.", hint="Use 'answer' or 'raise'.")
    return GovernedGraph(_governed(graph, governor, on_block), governor)


class GovernedGraph:
    """A compiled graph under a governor; what is not listed here is the graph's own."""

    def __init__(self, graph: Any, governor: Governor) -> None:
        self.graph, self.governor = graph, governor

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002 - the graph's own name
        """Run the graph to its end as one governed run."""
        with _Run(self.governor, input, config) as run:
            return self.graph.invoke(input, run.config, **kwargs)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        """Run the graph to its end as one governed run."""
        with _Run(self.governor, input, config) as run:
            return await self.graph.ainvoke(input, run.config, **kwargs)

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        """Run the graph as one governed run and yield what it streams."""
        with _Run(self.governor, input, config) as run:
            yield from self.graph.stream(input, run.config, **kwargs)

    async def astream(self, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002
        """Run the graph as one governed run and yield what it streams."""
        with _Run(self.governor, input, config) as run:
            async for part in self.graph.astream(input, run.config, **kwargs):
                yield part

    def __getattr__(self, name: str) -> Any:
        if name in ("batch", "abatch", "astream_events", "astream_log", "transform", "atransform"):
            raise UsageError(
                f"A governed graph has no {name}.", hint="Use invoke, ainvoke, stream or astream."
            )
        return getattr(self.graph, name)


class _Run:
    """One run of a graph: its id in the config, begun and left again."""

    def __init__(self, governor: Governor, given: Any, config: Any) -> None:
        self._governor, self._given = governor, given
        configurable = {**((config or {}).get("configurable") or {})}
        self._nested = RUN in configurable or governor.nested()
        self.run = configurable.setdefault(RUN, governor.current_run() or uuid.uuid4().hex)
        self.config = {**(config or {}), "configurable": configurable}

    def __enter__(self) -> _Run:
        ensure()
        self._governor.enter(self.run)
        guard = self._governor.guard
        if guard is not None and isinstance(self._given, dict) and not self._nested:
            for message in self._given.get("messages") or ():
                if role(message) in ("human", "user"):
                    guard.confirm(self.run, content(message), "user")
        return self

    def __exit__(self, *raised: Any) -> None:
        self._governor.leave(self.run, "error" if raised[0] is not None else "completed")


def _governed(graph: Any, governor: Governor, on_block: str) -> Any:
    from langgraph.pregel import Pregel

    nodes = {}
    for name, node in graph.nodes.items():
        writers = [_router(governor, name, writer, on_block) for writer in node.writers]
        if name == "__start__":
            nodes[name] = node.copy({"writers": writers})
        elif isinstance(node.bound, Pregel):
            inner = _governed(node.bound, governor, on_block)
            nodes[name] = node.copy({"bound": inner, "subgraphs": [inner], "writers": writers})
        else:
            bound = _Node(governor, name, node.bound, on_block).runnable()
            nodes[name] = node.copy({"bound": bound, "writers": writers})
    return graph.copy({"nodes": nodes})


def _router(governor: Governor, name: str, writer: Any, on_block: str) -> Any:
    """Return a node's writer; one that runs the project's code (a conditional edge) acts as the node."""
    from langchain_core.runnables import RunnableConfig
    from langgraph._internal._runnable import RunnableCallable
    from langgraph.pregel._write import ChannelWrite

    if type(writer) is ChannelWrite:
        return writer
    node = _Node(governor, name, writer, on_block)

    def route(given: Any, config: RunnableConfig) -> Any:
        with node.acting(config):
            return writer.invoke(given, config)

    async def aroute(given: Any, config: RunnableConfig) -> Any:
        with node.acting(config):
            return await writer.ainvoke(given, config)

    return RunnableCallable(route, aroute, name=name, trace=False)


class _Node:
    """One node under governance: who acts, and what may be written."""

    def __init__(self, governor: Governor, name: str, bound: Any, on_block: str) -> None:
        self.governor, self.name, self.bound, self.on_block = governor, name, bound, on_block

    def runnable(self) -> Any:
        """Return the node as a runnable."""
        from langchain_core.runnables import RunnableConfig, RunnableLambda

        def act(given: Any, config: RunnableConfig) -> Any:
            with self.acting(config):
                return _drive(written(self.governor, self.bound.invoke(given, config)), self.governor.decide)

        async def aact(given: Any, config: RunnableConfig) -> Any:
            with self.acting(config):
                result = await self.bound.ainvoke(given, config)
                return await _adrive(written(self.governor, result), self.governor)

        return RunnableLambda(act, aact, name=self.name)

    @contextlib.contextmanager
    def acting(self, config: Any) -> Iterator[None]:
        """Make this node who acts in this context; raise Blocked when its run is not known."""
        run = ((config or {}).get("configurable") or {}).get(RUN, "")
        if not run:
            raise Blocked(self._unknown_run())
        here = HERE.set(Here(self.governor, self.on_block))
        try:
            with self.governor.inside(run, self.name):
                yield
        finally:
            HERE.reset(here)

    def _unknown_run(self) -> Ruling:
        proposal = self.governor.propose("event", "node", None, agent=self.name)
        return self.governor.blocked(
            proposal, refuse("langgraph:run", "The node does not know which run it belongs to.", "internal")
        )


def _drive(writing: Writing, decide: Callable[[Proposal], Ruling]) -> Any:
    answer: Any = None
    try:
        while True:
            answer = decide(writing.send(answer))
    except StopIteration as stop:
        return stop.value


async def _adrive(writing: Writing, governor: Governor) -> Any:
    answer: Any = None
    try:
        while True:
            answer = await governor.adecide(writing.send(answer))
    except StopIteration as stop:
        return stop.value
