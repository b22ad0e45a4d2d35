"""Governance of LangChain agents: a middleware for `create_agent`."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import uuid
from typing import Annotated, Any, NotRequired

from masfire.adapters.govern_langgraph_calls import ensure_threads, failed, unchanged
from masfire.adapters.govern_langgraph_writes import LOST, rebuilt, shown
from masfire.adapters.govern_python import RUN, error_of
from masfire.errors import MissingDependency, UsageError
from masfire.governance import Blocked, Governor, Proposal, Ruling


def middleware(
    governor: Governor, *, agent: str = "agent", on_block: str = "answer", identity: str = ""
) -> Any:
    """Return an `AgentMiddleware` that governs an agent's tool calls, model calls and words.

    A blocked tool call is answered by an error message that the model can read (`on_block="answer"`) or
    raises Blocked ("raise"). A blocked model call always raises Blocked. Words that the lineage guard
    rejects are said anew, with evidence, as often as the policy's `lineage.retries` allows.

    An invocation is a run. One with a `thread_id` belongs to that conversation, whose budgets go on from
    one invocation to the next until `governor.end(thread_id)`; in `with governor.run():` that run counts.
    Raise MissingDependency when langchain is not installed.
    """
    if on_block not in ("answer", "raise"):
        raise UsageError(f"on_block={on_block!r} is unknown.", hint="Use 'answer' or 'raise'.")
    return _middleware_class()(governor, agent, on_block, identity)


@functools.cache
def _middleware_class() -> Any:
    try:
        from langchain.agents.middleware.types import AgentMiddleware, AgentState, PrivateStateAttr
    except ImportError as missing:
        raise MissingDependency(
            "Governing LangChain agents needs langchain.",
            hint="Install it with: pip install 'langchain>=1.0'",
        ) from missing

    class GovernedState(AgentState):  # type: ignore[type-arg, unused-ignore]
        """An agent's state with the run it belongs to, which no input and no output holds."""

        masfire_run: str

    # Said in code, because the name of the annotation is only known in here.
    GovernedState.__annotations__["masfire_run"] = NotRequired[Annotated[str, PrivateStateAttr]]

    class GovernanceMiddleware(AgentMiddleware):  # type: ignore[type-arg, unused-ignore]
        """Asks a governor before each tool and model call of one agent."""

        state_schema = GovernedState

        def __init__(self, governor: Governor, agent: str, on_block: str, identity: str) -> None:
            super().__init__()
            self.governor, self.agent, self.on_block, self.identity = governor, agent, on_block, identity

        @property
        def name(self) -> str:
            return f"masfire-{self.agent}"

        def before_agent(self, state: Any, runtime: Any) -> Any:
            return self._begun(state)

        async def abefore_agent(self, state: Any, runtime: Any) -> Any:
            return self._begun(state)

        def after_agent(self, state: Any, runtime: Any) -> None:
            self._ended(state)

        async def aafter_agent(self, state: Any, runtime: Any) -> None:
            self._ended(state)

        def _begun(self, state: Any) -> dict[str, Any] | None:
            """Give an invocation that is in no run its own, and confirm what the user said.

            An agent that another governed one calls as a tool hears that agent, and not the user.
            """
            ensure_threads()
            named = self.governor.current_run() or _configured()
            run = named or uuid.uuid4().hex
            guard = self.governor.guard
            if guard is not None and not self.governor.nested():
                for message in state.get("messages", ()):
                    made = getattr(message, "additional_kwargs", {}).get("lc_source")  # a summary, by a model
                    if getattr(message, "type", "") == "human" and not made:
                        guard.confirm(run, _text(message), "user")
            return None if named else {"masfire_run": run}

        def _ended(self, state: Any) -> None:
            run = state.get("masfire_run")
            if run and not (self.governor.current_run() or _configured()):
                self.governor.end(run)

        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            ruling = self.governor.decide(self._tool(request))
            if not ruling.allowed:
                return self._refused(request, ruling)
            try:
                with self.governor.inside(ruling.proposal.run):
                    result = handler(_given(request, ruling))
            except BaseException as failure:
                failed(self.governor, ruling, failure)
                raise
            self._done(ruling, result)
            return result

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            ruling = await self.governor.adecide(self._tool(request))
            if not ruling.allowed:
                return self._refused(request, ruling)
            try:
                with self.governor.inside(ruling.proposal.run):
                    async with asyncio.timeout(ruling.seconds or None):
                        result = await handler(_given(request, ruling))
            except BaseException as failure:
                failed(self.governor, ruling, failure)
                raise
            self._done(ruling, result)
            return result

        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            for attempt in range(self._attempts()):
                ruling = unchanged(self.governor, self.governor.require(self._model(request)))
                try:
                    response = handler(request)
                except BaseException as failure:
                    self.governor.finish(ruling, error_of(failure), ok=False)
                    raise
                self.governor.finish(ruling, _reply(response), tokens=_tokens(response))
                said = self._said(request, response, attempt)
                word = None if said is None else self.governor.decide(said)
                if word is None or not _again(word):
                    form = self._form(request, response)
                    return _formed(
                        _spoken(response, word), None if form is None else self.governor.decide(form)
                    )
                request = _told(request, response, word)
            raise AssertionError("unreachable: the last attempt is final")

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            for attempt in range(self._attempts()):
                ruling = await self.governor.adecide(self._model(request))
                if not ruling.allowed:
                    raise Blocked(ruling)
                unchanged(self.governor, ruling)
                try:
                    response = await handler(request)
                except BaseException as failure:
                    self.governor.finish(ruling, error_of(failure), ok=False)
                    raise
                self.governor.finish(ruling, _reply(response), tokens=_tokens(response))
                said = self._said(request, response, attempt)
                word = None if said is None else await self.governor.adecide(said)
                if word is None or not _again(word):
                    form = self._form(request, response)
                    return _formed(
                        _spoken(response, word), None if form is None else await self.governor.adecide(form)
                    )
                request = _told(request, response, word)
            raise AssertionError("unreachable: the last attempt is final")

        def _attempts(self) -> int:
            lineage = self.governor.policy.lineage
            return 1 if lineage is None else 1 + lineage.retries

        def _tool(self, request: Any) -> Proposal:
            call = request.tool_call
            return self.governor.propose(
                "tool_call", str(call.get("name", "")), {"args": call.get("args")}, agent=self.agent,
                run=self._run(request), id=str(call.get("id") or ""), identity=self.identity,
            )  # fmt: skip

        def _model(self, request: Any) -> Proposal:
            model = request.model
            name = str(
                getattr(model, "model_name", "") or getattr(model, "model", "") or type(model).__name__
            )
            texts = [_text(message) for message in request.messages]
            body: dict[str, Any] = {
                "model": name,
                "messages": texts,
                "system": str(request.system_prompt or ""),
            }
            for key in ("max_tokens", "max_completion_tokens"):
                if type(getattr(model, key, None)) is int:
                    body["max_tokens"] = getattr(model, key)
            return self.governor.propose(
                "model_call", name, body, agent=self.agent, run=self._run(request), identity=self.identity
            )

        def _said(self, request: Any, response: Any, attempt: int) -> Proposal | None:
            text = "\n".join(_text(message) for message in _ai(response)).strip()
            if not text or self.governor.guard is None:
                return None
            import msgspec

            proposal = self.governor.propose(
                "message", "", text, agent=self.agent, run=self._run(request), identity=self.identity
            )
            final = attempt + 1 >= self._attempts()
            return msgspec.structs.replace(proposal, attempt=-1 if final else attempt)

        def _run(self, request: Any) -> str:
            state = getattr(request, "state", None)
            given = state.get("masfire_run", "") if isinstance(state, dict) else ""
            return _configured() or str(given or "")

        def _form(self, request: Any, response: Any) -> Proposal | None:
            """Return an answer in a structured form as a proposal, if it is screened."""
            form = getattr(response, "structured_response", None)
            if form is None or self.governor.guard is None:
                return None
            return self.governor.propose(
                "message", "", shown(form), agent=self.agent, run=self._run(request),
                identity=self.identity,
            )  # fmt: skip

        def _refused(self, request: Any, ruling: Ruling) -> Any:
            if self.on_block == "raise":
                raise Blocked(ruling)
            from langchain_core.messages import ToolMessage

            call = request.tool_call
            return ToolMessage(
                json.dumps({"error": ruling.as_error()}), name=call.get("name"),
                tool_call_id=call.get("id") or "", status="error",
            )  # fmt: skip

        def _done(self, ruling: Ruling, result: Any) -> None:
            status = getattr(result, "status", "success")
            content = getattr(result, "content", None)
            self.governor.finish(ruling, _decoded(content), ok=status != "error")

    return GovernanceMiddleware


def _given(request: Any, ruling: Ruling) -> Any:
    return request.override(tool_call={**request.tool_call, "args": ruling.args})


def _again(word: Ruling) -> bool:
    return not word.allowed and word.rule == "lineage:again"


def _ai(response: Any) -> list[Any]:
    found = response.result if hasattr(response, "result") else [response]
    return [message for message in found if getattr(message, "type", "") == "ai"]


def _text(message: Any) -> str:
    text = message.text if hasattr(message, "text") else ""
    return str(text() if callable(text) and not isinstance(text, str) else text)


def _reply(response: Any) -> dict[str, Any]:
    messages = _ai(response)
    calls = [
        {"id": call.get("id") or "", "name": call["name"], "arguments": json.dumps(call["args"], default=str)}
        for message in messages for call in getattr(message, "tool_calls", ())
    ]  # fmt: skip
    text = "\n".join(_text(message) for message in messages)
    return {"content": text, "tool_calls": calls, "finish_reason": "tool_calls" if calls else "stop"}


def _tokens(response: Any) -> int | None:
    used = [getattr(message, "usage_metadata", None) for message in _ai(response)]
    known = [usage["total_tokens"] for usage in used if usage and "total_tokens" in usage]
    return sum(known) if known else None


def _spoken(response: Any, word: Ruling | None) -> Any:
    """Return the response as the agent may say it."""
    if word is None or (word.allowed and word.payload == word.proposal.payload):
        return response
    text = str(word.value) if word.allowed else ""
    messages = _ai(response)
    for message in messages:
        message.content = ""
    messages[-1].content = text
    return response


def _formed(response: Any, word: Ruling | None) -> Any:
    """Return the response with the structured answer as it was screened; raise Blocked when none is left."""
    if word is None or (word.allowed and word.payload == word.proposal.payload):
        return response
    form = rebuilt(response.structured_response, word.value)
    if form is LOST and word.rule != "lineage:yellow":
        raise Blocked(word)
    return response if form is LOST else dataclasses.replace(response, structured_response=form)


def _configured() -> str:
    """Return the run that this invocation's configuration names."""
    from langgraph.config import get_config

    try:
        configurable = get_config().get("configurable") or {}
    except RuntimeError:  # outside any graph
        return ""
    return str(configurable.get(RUN) or configurable.get("thread_id") or "")


def _told(request: Any, response: Any, word: Ruling) -> Any:
    from langchain_core.messages import AIMessage, HumanMessage

    said = "\n".join(_text(message) for message in _ai(response))
    more = [AIMessage(said), HumanMessage(word.reason)]
    return request.override(messages=[*request.messages, *more])


def _decoded(content: Any) -> Any:
    if isinstance(content, str):
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            return content
    return content
