"""What nodes of a governed graph call: tools, models, and threads that go on acting for them."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from types import ModuleType
from typing import Any, NamedTuple

from masfire.adapters.govern_langgraph_writes import content, is_plain
from masfire.adapters.govern_python import error_of
from masfire.governance import Blocked, Governor, Outcome, Proposal, Ruling
from masfire.governance.live import RUN as GOVERNED


class Here(NamedTuple):
    """The governor of the node that acts in this context."""

    governor: Governor
    on_block: str


HERE: ContextVar[Here | None] = ContextVar("masfire_governed_node", default=None)


def patch_tools(module: ModuleType) -> None:
    """Wrap `BaseTool.run` and `BaseTool.arun`: inside a governed node they ask first."""
    tool_class = module.BaseTool
    run, arun = tool_class.run, tool_class.arun

    @functools.wraps(run)
    def governed_run(self: Any, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        here = HERE.get()
        if here is None:
            return run(self, tool_input, *args, **kwargs)
        call = _ToolCall(here, self, tool_input, kwargs)
        ruling = here.governor.decide(call.proposal)
        if not ruling.allowed:
            return call.refused(ruling)
        try:
            result = run(self, call.given(ruling), *args, **kwargs)
        except BaseException as failure:
            failed(here.governor, ruling, failure)
            raise
        call.done(ruling, result)
        return result

    @functools.wraps(arun)
    async def governed_arun(self: Any, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        here = HERE.get()
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
            failed(here.governor, ruling, failure)
            raise
        call.done(ruling, result)
        return result

    for governed in (governed_run, governed_arun):
        vars(governed)["masfire_governed"] = True
    tool_class.run, tool_class.arun = governed_run, governed_arun


class _ToolCall:
    """One tool call in a governed node."""

    def __init__(self, here: Here, tool: Any, tool_input: Any, kwargs: dict[str, Any]) -> None:
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
        said = getattr(result, "content", result)
        ok = getattr(result, "status", "success") != "error"
        self.here.governor.finish(ruling, said if is_plain(said) else None, ok=ok)


def failed(governor: Governor, ruling: Ruling, failure: BaseException) -> None:
    """Tell the governor that a call raised; one that waits for a person (an interrupt) has not failed."""
    from langgraph.errors import GraphBubbleUp

    if isinstance(failure, GraphBubbleUp):
        governor.interrupt(ruling)
    else:
        governor.finish(ruling, error_of(failure), ok=False)


def unchanged(governor: Governor, ruling: Ruling) -> Ruling:
    """Return the ruling on a model call; raise Blocked for a rewrite, which no chat model can be given."""
    if ruling.outcome is Outcome.REWRITE:
        reason = (
            f"A call of the chat model {ruling.proposal.name!r} cannot be sent as rewritten by {ruling.rule}."
        )
        raise Blocked(governor.withdraw(ruling, "langchain:rewrite", reason))
    return ruling


def patch_models(module: ModuleType) -> None:
    """Wrap how chat models generate: inside a governed node they ask first."""
    model_class = module.BaseChatModel
    generate, agenerate = model_class._generate_with_cache, model_class._agenerate_with_cache

    @functools.wraps(generate)
    def governed_generate(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        here = HERE.get()
        if here is None:
            return generate(self, messages, *args, **kwargs)
        ruling = unchanged(here.governor, here.governor.require(_asked(here, self, messages)))
        try:
            result = generate(self, messages, *args, **kwargs)
        except BaseException as failure:
            here.governor.finish(ruling, error_of(failure), ok=False)
            raise
        here.governor.finish(ruling, {"content": "", "tool_calls": []}, tokens=_used(result))
        return result

    @functools.wraps(agenerate)
    async def governed_agenerate(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        here = HERE.get()
        if here is None:
            return await agenerate(self, messages, *args, **kwargs)
        ruling = await here.governor.adecide(_asked(here, self, messages))
        if not ruling.allowed:
            raise Blocked(ruling)
        unchanged(here.governor, ruling)
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
        here = HERE.get()
        if here is None:
            yield from stream(self, input, *args, **kwargs)
            return
        asked = _asked(here, self, self._convert_input(input).to_messages())
        ruling = unchanged(here.governor, here.governor.require(asked))
        try:
            yield from stream(self, input, *args, **kwargs)
        finally:  # what a stream used is not told: the estimate stands
            here.governor.finish(ruling, {"content": "", "tool_calls": []})

    @functools.wraps(astream)
    async def governed_astream(self: Any, input: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002
        here = HERE.get()
        if here is not None:
            asked = _asked(here, self, self._convert_input(input).to_messages())
            ruling = await here.governor.adecide(asked)
            if not ruling.allowed:
                raise Blocked(ruling)
            unchanged(here.governor, ruling)
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


def _asked(here: Here, model: Any, messages: Any) -> Proposal:
    name = str(getattr(model, "model_name", "") or getattr(model, "model", "") or type(model).__name__)
    body: dict[str, Any] = {"model": name, "messages": [str(content(message)) for message in messages]}
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


def patch_threads() -> None:
    """Let threads and pools take over the context of who gives them work, so that nobody acts unnamed."""
    executor: Any = ThreadPoolExecutor
    thread: Any = threading.Thread
    submit, start = executor.submit, thread.start

    @functools.wraps(submit)
    def governed_submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return submit(self, copy_context().run, fn, *args, **kwargs)

    @functools.wraps(start)
    def governed_start(self: Any) -> None:
        if HERE.get() is not None or GOVERNED.get():
            context, run = copy_context(), self.run

            def run_in_context() -> None:
                self.__dict__.pop("run", None)  # a second `run` is the thread's own, as ever
                context.run(run)

            self.run = run_in_context
        start(self)

    for governed in (governed_submit, governed_start):
        vars(governed)["masfire_governed"] = True
    executor.submit, thread.start = governed_submit, governed_start


_lock = threading.Lock()


def ensure() -> None:
    """Make sure that tools and models ask; the wrappers stay in place, and are inert outside governed nodes.

    They are never taken away: a thread that a run left behind must not find an open door. A recording
    that ends may put back what stood there before it began, so each run looks again.
    """
    import langchain_core.language_models.chat_models as models
    import langchain_core.tools.base as tools

    ensure_threads()
    with _lock:
        if not all(_asks(getattr(tools.BaseTool, name)) for name in ("run", "arun")):
            patch_tools(tools)
        wanted = ("_generate_with_cache", "_agenerate_with_cache", "stream", "astream")
        if not all(_asks(getattr(models.BaseChatModel, name)) for name in wanted):
            patch_models(models)


def ensure_threads() -> None:
    """Make sure that threads and pools which a governed agent uses act in its run."""
    with _lock:
        if not (_asks(ThreadPoolExecutor.submit) and _asks(threading.Thread.start)):
            patch_threads()


def _asks(function: Any, depth: int = 8) -> bool:
    """Return whether a function is one of our wrappers, or wraps one."""
    if getattr(function, "masfire_governed", False):
        return True
    cells = getattr(function, "__closure__", None) or ()
    inner = [cell.cell_contents for cell in cells if callable(cell.cell_contents)]
    return depth > 0 and any(_asks(one, depth - 1) for one in inner)
