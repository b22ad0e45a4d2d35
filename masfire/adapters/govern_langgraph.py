"""Governance of a whole compiled LangGraph: every node's tools, models and messages."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

from masfire.adapters.govern_python import RUN, error_of
from masfire.errors import MissingDependency, UsageError
from masfire.governance import Blocked, Governor, Proposal, Ruling
from masfire.governance.refusals import refuse

Writing: TypeAlias = "Generator[Proposal, Ruling, Any]"
"""What a node writes, piece by piece: yields proposals, is sent rulings, returns what may be written."""


class _Here(NamedTuple):
    """The governor of the node that acts in this context."""

    governor: Governor
    on_block: str


_HERE: ContextVar[_Here | None] = ContextVar("masfire_governed_node", default=None)


def govern(graph: Any, governor: Governor, *, on_block: str = "answer") -> Any:
    """Return a copy of a compiled graph whose nodes act only as the governor allows.

    The node's name is the agent's. Governed are the tools that nodes call, the chat models that they
    ask, and what they write (`messages` one by one, the other plain fields together). A blocked tool call
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
        self._nested = RUN in configurable
        self.run = configurable.setdefault(RUN, governor.current_run() or uuid.uuid4().hex)
        self.config = {**(config or {}), "configurable": configurable}

    def __enter__(self) -> _Run:
        ensure()
        self._governor.enter(self.run)
        guard = self._governor.guard
        if guard is not None and isinstance(self._given, dict) and not self._nested:
            for message in self._given.get("messages") or ():
                if _role(message) in ("human", "user"):
                    guard.confirm(self.run, _content(message), "user")
        return self

    def __exit__(self, *raised: Any) -> None:
        self._governor.leave(self.run, "error" if raised[0] is not None else "completed")


def _governed(graph: Any, governor: Governor, on_block: str) -> Any:
    from langgraph.pregel import Pregel

    nodes = {}
    for name, node in graph.nodes.items():
        if name == "__start__":
            nodes[name] = node
        elif isinstance(node.bound, Pregel):
            inner = _governed(node.bound, governor, on_block)
            nodes[name] = node.copy({"bound": inner, "subgraphs": [inner]})
        else:
            nodes[name] = node.copy({"bound": _Node(governor, name, node.bound, on_block).runnable()})
    return graph.copy({"nodes": nodes})


class _Node:
    """One node under governance: who acts, and what may be written."""

    def __init__(self, governor: Governor, name: str, bound: Any, on_block: str) -> None:
        self.governor, self.name, self.bound, self.on_block = governor, name, bound, on_block

    def runnable(self) -> Any:
        """Return the node as a runnable."""
        from langchain_core.runnables import RunnableConfig, RunnableLambda

        def act(given: Any, config: RunnableConfig) -> Any:
            with self._acting(config):
                return _drive(self._written(self.bound.invoke(given, config)), self.governor.decide)

        async def aact(given: Any, config: RunnableConfig) -> Any:
            with self._acting(config):
                result = await self.bound.ainvoke(given, config)
                return await _adrive(self._written(result), self.governor)

        return RunnableLambda(act, aact, name=self.name)

    @contextlib.contextmanager
    def _acting(self, config: Any) -> Iterator[None]:
        run = ((config or {}).get("configurable") or {}).get(RUN, "")
        if not run:
            raise Blocked(self._unknown_run())
        here = _HERE.set(_Here(self.governor, self.on_block))
        try:
            with self.governor.inside(run, self.name):
                yield
        finally:
            _HERE.reset(here)

    def _unknown_run(self) -> Ruling:
        proposal = self.governor.propose("event", "node", None, agent=self.name)
        return self.governor.blocked(
            proposal, refuse("langgraph:run", "The node does not know which run it belongs to.", "internal")
        )

    def _written(self, result: Any) -> Writing:
        """Yield what the node wants to write as proposals; return what it may write."""
        if result is None:
            return None
        update = getattr(result, "update", None)
        if hasattr(result, "goto"):
            if not isinstance(update, dict):
                return result
            return dataclasses.replace(result, update=(yield from self._fields(update)))
        if isinstance(result, dict):
            return (yield from self._fields(result))
        if isinstance(result, list):
            kept: list[Any] = []
            for item in result:
                kept += [(yield from self._written(item))] if hasattr(item, "goto") else [item]
            return kept
        return result

    def _fields(self, update: dict[str, Any]) -> Writing:
        kept: dict[str, Any] = {}
        plain: dict[str, Any] = {}
        for key, value in update.items():
            messages = value if isinstance(value, list) else [value]
            if messages and all(_role(message) for message in messages):
                spoken = []
                for message in messages:
                    spoken += yield from self._message(message)
                kept[key] = spoken if isinstance(value, list) else (spoken or [None])[0]
            elif _is_plain(value):
                plain[key] = value
            else:
                kept[key] = value  # an object of the framework: nothing in it is said
        if plain and self.governor.guard is not None:
            ruling: Ruling = yield self._proposal(plain)
            plain = ruling.value if ruling.allowed else {}
        return {key: {**kept, **plain}[key] for key in update if key in kept or key in plain}

    def _message(self, message: Any) -> Writing:
        content = _content(message)
        if not content or _role(message) == "remove":
            return [message]
        ruling: Ruling = yield self._proposal(content)
        if not ruling.allowed:
            return []
        return [
            message if ruling.payload == ruling.proposal.payload else _with_content(message, ruling.value)
        ]

    def _proposal(self, value: Any) -> Proposal:
        return self.governor.propose("message", "", value)


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


def _role(message: Any) -> str:
    if isinstance(message, dict):
        return str(message.get("role") or message.get("type") or "") if "content" in message else ""
    return str(getattr(message, "type", "")) if hasattr(message, "content") else ""


def _content(message: Any) -> Any:
    return message.get("content") if isinstance(message, dict) else getattr(message, "content", None)


def _with_content(message: Any, content: Any) -> Any:
    if isinstance(message, dict):
        return {**message, "content": content}
    return message.model_copy(update={"content": content})


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, list, dict, tuple))


# -- what nodes call ----------------------------------------------------------------------------


def patch_tools(module: ModuleType) -> None:
    """Wrap `BaseTool.run` and `BaseTool.arun`: inside a governed node they ask first."""
    tool_class = module.BaseTool
    run, arun = tool_class.run, tool_class.arun

    @functools.wraps(run)
    def governed_run(self: Any, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        here = _HERE.get()
        if here is None:
            return run(self, tool_input, *args, **kwargs)
        call = _ToolCall(here, self, tool_input, kwargs)
        ruling = here.governor.decide(call.proposal)
        if not ruling.allowed:
            return call.refused(ruling)
        try:
            result = run(self, call.given(ruling), *args, **kwargs)
        except BaseException as failure:
            here.governor.finish(ruling, error_of(failure), ok=False)
            raise
        call.done(ruling, result)
        return result

    @functools.wraps(arun)
    async def governed_arun(self: Any, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        here = _HERE.get()
        if here is None:
            return await arun(self, tool_input, *args, **kwargs)
        call = _ToolCall(here, self, tool_input, kwargs)
        ruling = await here.governor.adecide(call.proposal)
        if not ruling.allowed:
            return call.refused(ruling)
        try:
            async with asyncio.timeout(ruling.seconds or None):
                result = await arun(self, call.given(ruling), *args, **kwargs)
        except BaseException as failure:
            here.governor.finish(ruling, error_of(failure), ok=False)
            raise
        call.done(ruling, result)
        return result

    for governed in (governed_run, governed_arun):
        vars(governed)["masfire_governed"] = True
    tool_class.run, tool_class.arun = governed_run, governed_arun


class _ToolCall:
    """One tool call in a governed node."""

    def __init__(self, here: _Here, tool: Any, tool_input: Any, kwargs: dict[str, Any]) -> None:
        self.here, self.tool, self.input = here, tool, tool_input
        self.id = str(kwargs.get("tool_call_id") or "")
        self.injected = set(getattr(tool, "_injected_args_keys", ()))
        shown = tool_input
        if isinstance(tool_input, dict):
            shown = {name: value for name, value in tool_input.items() if name not in self.injected}
        self.proposal = here.governor.propose("tool_call", tool.name, {"args": shown}, id=self.id)

    def given(self, ruling: Ruling) -> Any:
        """Return the checked copy, with what the framework fills in."""
        args = ruling.args
        if isinstance(args, dict) and isinstance(self.input, dict):
            return {**args, **{name: self.input[name] for name in self.injected if name in self.input}}
        return args

    def refused(self, ruling: Ruling) -> Any:
        """Return an error message where a model waits for one; raise Blocked otherwise."""
        if self.here.on_block == "raise" or not self.id:
            raise Blocked(ruling)
        from langchain_core.messages import ToolMessage

        return ToolMessage(
            json.dumps({"error": ruling.as_error()}),
            name=self.tool.name,
            tool_call_id=self.id,
            status="error",
        )

    def done(self, ruling: Ruling, result: Any) -> None:
        """Tell the governor what came of it."""
        content = getattr(result, "content", result)
        ok = getattr(result, "status", "success") != "error"
        self.here.governor.finish(ruling, content if _is_plain(content) else None, ok=ok)


def patch_models(module: ModuleType) -> None:
    """Wrap how chat models generate: inside a governed node they ask first."""
    model_class = module.BaseChatModel
    generate, agenerate = model_class._generate_with_cache, model_class._agenerate_with_cache

    @functools.wraps(generate)
    def governed_generate(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        here = _HERE.get()
        if here is None:
            return generate(self, messages, *args, **kwargs)
        ruling = here.governor.require(_asked(here, self, messages))
        try:
            result = generate(self, messages, *args, **kwargs)
        except BaseException as failure:
            here.governor.finish(ruling, error_of(failure), ok=False)
            raise
        here.governor.finish(ruling, {"content": "", "tool_calls": []}, tokens=_used(result))
        return result

    @functools.wraps(agenerate)
    async def governed_agenerate(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        here = _HERE.get()
        if here is None:
            return await agenerate(self, messages, *args, **kwargs)
        ruling = await here.governor.adecide(_asked(here, self, messages))
        if not ruling.allowed:
            raise Blocked(ruling)
        try:
            result = await agenerate(self, messages, *args, **kwargs)
        except BaseException as failure:
            here.governor.finish(ruling, error_of(failure), ok=False)
            raise
        here.governor.finish(ruling, {"content": "", "tool_calls": []}, tokens=_used(result))
        return result

    stream, astream = model_class.stream, model_class.astream

    @functools.wraps(stream)
    def governed_stream(self: Any, input: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        here = _HERE.get()
        if here is None:
            yield from stream(self, input, *args, **kwargs)
            return
        asked = _asked(here, self, self._convert_input(input).to_messages())
        ruling = here.governor.require(asked)
        try:
            yield from stream(self, input, *args, **kwargs)
        finally:  # what a stream used is not told: the estimate stands
            here.governor.finish(ruling, {"content": "", "tool_calls": []})

    @functools.wraps(astream)
    async def governed_astream(self: Any, input: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002
        here = _HERE.get()
        if here is not None:
            asked = _asked(here, self, self._convert_input(input).to_messages())
            ruling = await here.governor.adecide(asked)
            if not ruling.allowed:
                raise Blocked(ruling)
        try:
            async for part in astream(self, input, *args, **kwargs):
                yield part
        finally:
            if here is not None:
                here.governor.finish(ruling, {"content": "", "tool_calls": []})

    for governed in (governed_generate, governed_agenerate, governed_stream, governed_astream):
        vars(governed)["masfire_governed"] = True
    model_class.stream, model_class.astream = governed_stream, governed_astream
    model_class._generate_with_cache = governed_generate
    model_class._agenerate_with_cache = governed_agenerate


def _asked(here: _Here, model: Any, messages: Any) -> Proposal:
    name = str(getattr(model, "model_name", "") or getattr(model, "model", "") or type(model).__name__)
    body: dict[str, Any] = {"model": name, "messages": [str(_content(message)) for message in messages]}
    limit = getattr(model, "max_tokens", None)
    if type(limit) is int:
        body["max_tokens"] = limit
    return here.governor.propose("model_call", name, body)


def _used(result: Any) -> int | None:
    usages = [
        getattr(getattr(one, "message", None), "usage_metadata", None)
        for one in getattr(result, "generations", ())
    ]
    known = [usage["total_tokens"] for usage in usages if usage and "total_tokens" in usage]
    return sum(known) if known else None


_lock = threading.Lock()


def ensure() -> None:
    """Make sure that tools and models ask; the wrappers stay in place, and are inert outside governed nodes.

    They are never taken away: a thread that a run left behind must not find an open door. A recording
    that ends may put back what stood there before it began, so each run looks again.
    """
    import langchain_core.language_models.chat_models as models
    import langchain_core.tools.base as tools

    with _lock:
        if not all(_asks(getattr(tools.BaseTool, name)) for name in ("run", "arun")):
            patch_tools(tools)
        wanted = ("_generate_with_cache", "_agenerate_with_cache", "stream", "astream")
        if not all(_asks(getattr(models.BaseChatModel, name)) for name in wanted):
            patch_models(models)


def _asks(function: Any, depth: int = 8) -> bool:
    """Return whether a function is one of our wrappers, or wraps one."""
    if getattr(function, "masfire_governed", False):
        return True
    cells = getattr(function, "__closure__", None) or ()
    inner = [cell.cell_contents for cell in cells if callable(cell.cell_contents)]
    return depth > 0 and any(_asks(one, depth - 1) for one in inner)
