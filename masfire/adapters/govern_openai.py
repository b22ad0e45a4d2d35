"""Governance of an OpenAI client: what it may ask, what it may spend, which tool calls may come back."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any

from masfire.adapters import govern_openai_parts as parts
from masfire.errors import UsageError
from masfire.governance import Blocked, Governor, Proposal, Ruling
from masfire.governance.refusals import refuse

_GOVERNED = {
    ("chat", "completions", "create"), ("chat", "completions", "parse"),
    ("beta", "chat", "completions", "parse"),
    ("responses", "create"), ("responses", "parse"),
}  # fmt: skip
_WAYS = {way[:depth] for way in _GOVERNED for depth in range(1, len(way))}
_WAYS.add(("models",))
_HARMLESS = frozenset({
    ("base_url",), ("api_key",), ("close",), ("timeout",), ("max_retries",), ("is_closed",),
    ("models", "list"), ("models", "retrieve"),
})  # fmt: skip


def govern(
    client: Any, governor: Governor, *, agent: str = "agent", identity: str = "", run: str = ""
) -> Any:
    """Return a stand-in for an OpenAI or AsyncOpenAI client that asks the governor first.

    A model call that is not allowed raises Blocked and is not sent. The tool calls of a reply are
    proposals: they are handed out as they were checked, and one that is blocked raises Blocked before the
    caller sees the reply; the caller reports what came of them by `governor.finish` if budgets are to know.
    Tools that the provider runs itself (`web_search`, `mcp`, …) are proposals before the request is sent.
    What cannot be checked (a stream, an endpoint that is not governed) is blocked.

    Call it in `with governor.run():`, one for each request or conversation that you serve, since budgets
    hold for a run; `run` names one for what is called outside.
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
        """Return the model call as a proposal; foreign objects make it malformed.

        Raise Blocked for a stream, and for an `extra_body` that would change the request unseen.
        """
        shown = {key: parts.frozen(value) for key, value in body.items() if not parts.passes(key, value)}
        extra = shown.get("extra_body") or {}
        proposal = self._proposal("model_call", str(body.get("model", "")), shown)
        overriding = sorted(extra.keys() & parts.OVERRIDING) if isinstance(extra, dict) else ["extra_body"]
        if body.get("stream"):
            reason = "Streams are not governed: a reply is checked as a whole before anybody sees it."
            raise self._refused(proposal, "openai:stream", reason, "use stream=False")
        if overriding:
            reason = f"extra_body may not set {overriding[0]!r}: that would bypass the check of the request."
            raise self._refused(proposal, "openai:extra_body", reason, "give it as an argument of the call")
        return proposal

    def _refused(self, proposal: Proposal, rule: str, reason: str, action: str) -> Blocked:
        refusal = refuse(rule, reason, "invalid", action=action)
        return Blocked(self.governor.blocked(proposal, refusal))

    def hosted(self, body: dict[str, Any]) -> list[Proposal]:
        """Return what the provider would do by itself as proposals."""
        return [self._proposal("tool_call", name, {"args": args}) for name, args in parts.hosted(body)]

    def _proposal(self, kind: str, name: str, value: Any, called: str = "") -> Proposal:
        return self.governor.propose(
            kind, name, value, agent=self.agent, run=self.run, id=called, identity=self.identity
        )

    def blocked_way(self, way: tuple[str, ...]) -> Blocked:
        """Return the error for an endpoint that nobody governs."""
        name = ".".join(way)
        proposal = self.governor.propose("model_call", name, {}, agent=self.agent, run=self.run)
        refusal = refuse("openai:endpoint", f"client.{name} is not governed.", "permission")
        return Blocked(self.governor.blocked(proposal, refusal))

    def judged(self, reply: Any) -> Generator[Proposal, Ruling, None]:
        """Yield what a reply asks for and says; put what is allowed in its place.

        Raise Blocked at the first that is not; what was allowed before is given back.
        """
        if not (hasattr(reply, "choices") or hasattr(reply, "output")):
            refusal = refuse("openai:reply", f"A {type(reply).__name__} cannot be checked.", "internal")
            raise Blocked(self.governor.blocked(self._proposal("event", "reply", None), refusal))
        allowed: list[Ruling] = []
        try:
            for call in parts.calls_of(reply):
                ruling = yield self._proposal("tool_call", call.name, {"args": call.args}, call.id)
                if not ruling.allowed:
                    raise Blocked(ruling)
                allowed.append(ruling)
                self._put(ruling, functools.partial(call.hand, ruling.args))
            for holder, field in parts.texts_of(reply) if self.governor.guard is not None else ():
                text = getattr(holder, field, None)
                if isinstance(text, str):
                    ruling = yield self._proposal("message", "", text)
                    if not ruling.allowed:
                        raise Blocked(ruling)
                    self._put(ruling, functools.partial(parts.put_text, holder, field, ruling.value))
        except Blocked:
            for ruling in allowed:
                self.governor.abandon(ruling)
            raise

    def _put(self, ruling: Ruling, change: Callable[[], None]) -> None:
        """Change a reply as ruled; what cannot be changed is blocked."""
        try:
            change()
        except Exception as failure:  # classes of the project's own refuse what is left
            reason = f"It cannot be handed out as it was checked: {type(failure).__name__}."
            refusal = refuse("openai:rewrite", reason, "invalid")
            raise Blocked(self.governor.blocked(ruling.proposal, refusal)) from None


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
        if way in _HARMLESS:
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
        for proposal in desk.hosted(ruling.value):
            governor.require(proposal)
    except Blocked:
        governor.abandon(ruling)
        raise
    try:
        reply = create(**_given(body, ruling))
    except BaseException as failure:
        governor.finish(ruling, {"type": type(failure).__name__, "message": str(failure)}, ok=False)
        raise
    governor.finish(ruling, _shown(reply), tokens=_tokens(reply))
    judging = desk.judged(reply)
    with contextlib.suppress(StopIteration):
        proposal = next(judging)
        while True:
            proposal = judging.send(governor.decide(proposal))
    return reply


async def _acall(create: Any, body: dict[str, Any], desk: _Desk) -> Any:
    governor = desk.governor
    ruling = await governor.arequire(desk.request(body))
    try:
        for proposal in desk.hosted(ruling.value):
            await governor.arequire(proposal)
    except Blocked:
        governor.abandon(ruling)
        raise
    try:
        reply = await create(**_given(body, ruling))
    except BaseException as failure:
        governor.finish(ruling, {"type": type(failure).__name__, "message": str(failure)}, ok=False)
        raise
    governor.finish(ruling, _shown(reply), tokens=_tokens(reply))
    judging = desk.judged(reply)
    with contextlib.suppress(StopIteration):
        proposal = next(judging)
        while True:
            proposal = judging.send(await governor.adecide(proposal))
    return reply


def _given(body: dict[str, Any], ruling: Ruling) -> dict[str, Any]:
    """Return the request to send: the checked copy, and what is no JSON (a response model) as it came."""
    given = {**{key: value for key, value in body.items() if parts.passes(key, value)}, **ruling.value}
    for original, checked in zip(body.get("tools") or (), given.get("tools") or (), strict=False):
        function = original.get("function") if isinstance(original, dict) else None
        if isinstance(function, dict) and hasattr(
            function, "model"
        ):  # what the SDK parses the arguments into
            made: Any = type(function)
            checked["function"] = made(checked["function"], function.model)
    return given


def _tokens(reply: Any) -> int | None:
    total = getattr(getattr(reply, "usage", None), "total_tokens", None)
    return total if type(total) is int and total > 0 else None


def _shown(reply: Any) -> dict[str, Any]:
    dump = getattr(reply, "model_dump", None)
    return {"content": dump(mode="json", warnings=False) if callable(dump) else str(reply)}
