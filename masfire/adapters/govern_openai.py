"""Governance of an OpenAI client: what it may ask, what it may spend, which tool calls may come back."""

from __future__ import annotations

import inspect
import json
from typing import Any

from masfire.errors import UsageError
from masfire.governance import Blocked, Governor, Proposal, Ruling
from masfire.governance.refusals import refuse

_GOVERNED = {
    ("chat", "completions", "create"), ("chat", "completions", "parse"),
    ("beta", "chat", "completions", "parse"),
    ("responses", "create"), ("responses", "parse"),
}  # fmt: skip
_WAYS = {way[:depth] for way in _GOVERNED for depth in range(1, len(way))}
_HARMLESS = frozenset({"base_url", "api_key", "close", "models", "timeout", "max_retries", "is_closed"})


def govern(
    client: Any, governor: Governor, *, agent: str = "agent", identity: str = "", run: str = ""
) -> Any:
    """Return a stand-in for an OpenAI or AsyncOpenAI client that asks the governor first.

    A model call that is not allowed raises Blocked and is not sent. The tool calls of a reply are
    proposals: they are handed out as they were checked, and one that is blocked raises Blocked before the
    caller sees the reply; the caller reports what came of them by `governor.finish` if budgets are to know.
    What cannot be checked (a stream, an endpoint that is not governed) is blocked.
    """
    if not hasattr(client, "chat"):
        raise UsageError(
            f"{type(client).__name__} is no OpenAI client.", hint="Pass OpenAI() or AsyncOpenAI()."
        )
    return _Way(client, (), _Desk(governor, agent, identity, run))


class _Desk:
    """Turns requests and replies into proposals."""

    def __init__(self, governor: Governor, agent: str, identity: str, run: str) -> None:
        self.governor, self.agent, self.identity, self.run = governor, agent, identity, run

    def request(self, body: dict[str, Any]) -> Proposal:
        """Return the model call as a proposal; a stream and foreign objects make it malformed."""
        shown = {key: value for key, value in body.items() if _plain(value)}
        if body.get("stream"):
            shown["stream"] = object()  # frozen values only: this blocks
        return self.governor.propose(
            "model_call", str(body.get("model", "")), shown, agent=self.agent, run=self.run,
            identity=self.identity,
        )  # fmt: skip

    def blocked_way(self, way: tuple[str, ...]) -> Blocked:
        """Return the error for an endpoint that nobody governs."""
        name = ".".join(way)
        proposal = self.governor.propose("model_call", name, {}, agent=self.agent, run=self.run)
        refusal = refuse("openai:endpoint", f"client.{name} is not governed.", "permission")
        return Blocked(self.governor.blocked(proposal, refusal))

    def calls(self, reply: Any) -> list[tuple[Any, Proposal]]:
        """Return the tool calls of a reply, each with its proposal."""
        found = []
        for call in _tool_calls(reply):
            function = getattr(call, "function", call)
            try:
                args = json.loads(function.arguments)
            except (ValueError, RecursionError, AttributeError, TypeError):
                args = str(getattr(function, "arguments", ""))
            proposal = self.governor.propose(
                "tool_call", str(getattr(function, "name", "")), {"args": args}, agent=self.agent,
                run=self.run,
                id=str(getattr(call, "call_id", "") or getattr(call, "id", "") or ""), identity=self.identity,
            )  # fmt: skip
            found.append((function, proposal))
        return found

    def texts(self, reply: Any) -> list[tuple[Any, str, Proposal]]:
        """Return the texts of a reply with where they stand, when they are screened."""
        if self.governor.guard is None:
            return []
        spots = [
            (choice.message, "content") for choice in getattr(reply, "choices", None) or []
        ] or [
            (part, "text") for item in getattr(reply, "output", None) or []
            for part in getattr(item, "content", None) or []
        ]  # fmt: skip
        return [
            (holder, field, self.governor.propose(
                "message", "", getattr(holder, field), agent=self.agent, run=self.run
            ))
            for holder, field in spots if isinstance(getattr(holder, field, None), str)
        ]  # fmt: skip


class _Way:
    """A client or one of its parts; attributes lead on, the last one calls."""

    def __init__(self, inner: Any, way: tuple[str, ...], desk: _Desk) -> None:
        self._inner, self._way, self._desk = inner, way, desk

    def __getattr__(self, name: str) -> Any:
        way = (*self._way, name)
        if way in _WAYS:
            return _Way(getattr(self._inner, name), way, self._desk)
        found = getattr(self._inner, name)
        if way in _GOVERNED:
            called = _acall if inspect.iscoroutinefunction(inspect.unwrap(found)) else _call
            return lambda **body: called(found, body, self._desk)
        if len(way) == 1 and name in _HARMLESS:
            return found
        raise self._desk.blocked_way(way)

    def __enter__(self) -> _Way:
        self._inner.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._inner.__exit__(*raised)

    async def __aenter__(self) -> _Way:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._inner.__aexit__(*raised)


def _call(create: Any, body: dict[str, Any], desk: _Desk) -> Any:
    governor = desk.governor
    ruling = governor.require(desk.request(body))
    try:
        reply = create(**_given(body, ruling))
    except BaseException as failure:
        governor.finish(ruling, {"type": type(failure).__name__, "message": str(failure)}, ok=False)
        raise
    governor.finish(ruling, _shown(reply), tokens=_tokens(reply))
    for function, proposal in desk.calls(reply):
        _hand_out(function, governor.require(proposal))
    for holder, field, proposal in desk.texts(reply):
        setattr(holder, field, governor.require(proposal).value)
    return reply


async def _acall(create: Any, body: dict[str, Any], desk: _Desk) -> Any:
    governor = desk.governor
    ruling = await governor.adecide(desk.request(body))
    if not ruling.allowed:
        raise Blocked(ruling)
    try:
        reply = await create(**_given(body, ruling))
    except BaseException as failure:
        governor.finish(ruling, {"type": type(failure).__name__, "message": str(failure)}, ok=False)
        raise
    governor.finish(ruling, _shown(reply), tokens=_tokens(reply))
    for function, proposal in desk.calls(reply):
        decided = await governor.adecide(proposal)
        if not decided.allowed:
            raise Blocked(decided)
        _hand_out(function, decided)
    for holder, field, proposal in desk.texts(reply):
        decided = await governor.adecide(proposal)
        if not decided.allowed:
            raise Blocked(decided)
        setattr(holder, field, decided.value)
    return reply


def _given(body: dict[str, Any], ruling: Ruling) -> dict[str, Any]:
    """Return the request to send: the checked copy, and what is no JSON (a response model) as it came."""
    return {**body, **ruling.value}


def _hand_out(function: Any, ruling: Ruling) -> None:
    args = ruling.args
    function.arguments = args if isinstance(args, str) else json.dumps(args)


def _plain(value: Any) -> bool:
    """Return whether a request field is data; clients' own markers and classes are not."""
    return value is None or isinstance(value, (str, int, float, bool, list, tuple, dict))


def _tool_calls(reply: Any) -> list[Any]:
    chat = [
        call for choice in getattr(reply, "choices", None) or []
        for call in getattr(choice.message, "tool_calls", None) or []
    ]  # fmt: skip
    return chat or [
        item for item in getattr(reply, "output", None) or []
        if getattr(item, "type", "") in ("function_call", "custom_tool_call")
    ]  # fmt: skip


def _tokens(reply: Any) -> int | None:
    total = getattr(getattr(reply, "usage", None), "total_tokens", None)
    return total if type(total) is int and total > 0 else None


def _shown(reply: Any) -> dict[str, Any]:
    dump = getattr(reply, "model_dump", None)
    return {"content": dump(mode="json") if callable(dump) else str(reply)}
