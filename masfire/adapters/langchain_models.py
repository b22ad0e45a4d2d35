"""Chat models that never reach HTTP (fakes, custom classes, answers from LangChain's cache) as steps."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from masfire.adapters import provenance
from masfire.adapters.langchain_replay import model_result
from masfire.adapters.langgraph_writes import pack_content, texts
from masfire.adapters.patching import Undo
from masfire.errors import IncompatibleVersion
from masfire.recorder import ACTOR, PRODUCED, Recorder, current
from masfire.trace.model import Action, Observation, Step
from masfire.trace.payload import unpack

_CLIENTS = (
    "client",
    "async_client",
    "root_client",
    "_client",
    "_async_client",
    "openai_api_base",
    "base_url",
)


def patch_models(module: ModuleType) -> Undo:
    """Wrap the two methods through which every chat model's answer passes, cached or not."""
    model_class = module.BaseChatModel
    generate = _require(model_class, "_generate_with_cache")
    agenerate = _require(model_class, "_agenerate_with_cache")

    def recorded(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = current()
        if recorder is None:
            return generate(self, messages, *args, **kwargs)
        call = ModelCall(recorder, self, messages, kwargs)
        if call.by_http:
            with call:
                result = generate(call.asked(self), messages, *args, **kwargs)
            if call.recorded:
                return result
            steps = recorder.submit(call.agent, call.body, parents=call.parents)
        else:
            steps = recorder.submit(call.agent, call.body, parents=call.parents)
            sent, result = call.ask(steps), call.replayed(steps)
            if result is None:
                result = generate(self, sent, *args, **kwargs)
        return call.answer(result, recorder.submit(call.agent, call.reply(steps, result), parents=call.of))

    async def arecorded(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = current()
        if recorder is None:
            return await agenerate(self, messages, *args, **kwargs)
        call = ModelCall(recorder, self, messages, kwargs)
        if call.by_http:
            with call:
                result = await agenerate(call.asked(self), messages, *args, **kwargs)
            if call.recorded:
                return result
            steps = await recorder.asubmit(call.agent, call.body, parents=call.parents)
        else:
            steps = await recorder.asubmit(call.agent, call.body, parents=call.parents)
            sent, result = call.ask(steps), call.replayed(steps)
            if result is None:
                result = await agenerate(self, sent, *args, **kwargs)
        seen = await recorder.asubmit(call.agent, call.reply(steps, result), parents=call.of)
        return call.answer(result, seen)

    model_class._generate_with_cache, model_class._agenerate_with_cache = recorded, arecorded

    def undo() -> None:
        model_class._generate_with_cache, model_class._agenerate_with_cache = generate, agenerate

    return undo


def _require(owner: Any, name: str) -> Any:
    found = getattr(owner, name, None)
    if not callable(found) or list(inspect.signature(found).parameters)[:2] != ["self", "messages"]:
        raise IncompatibleVersion(
            f"langchain's private {owner.__name__}.{name} is gone or has another signature.",
            hint="masfire supports langchain-core 1.x.",
        )
    return found


class ModelCall:
    """One chat model call that is recorded here unless the HTTP layer sees it.

    As a context manager it listens whether the HTTP layer recorded a reply meanwhile (`recorded`).
    """

    def __init__(self, recorder: Recorder, model: Any, messages: Any, kwargs: dict[str, Any]) -> None:
        self.recorder, self.messages = recorder, messages
        self.by_http = any(hasattr(model, name) for name in _CLIENTS)
        self.recorded = False
        self.of: tuple[int, ...] = ()
        self._heard: list[int] = []
        actor = ACTOR.get()
        self.agent = actor.agent if actor is not None else "agent"
        self.role = actor.role if actor is not None else ""
        self.name = str(
            getattr(model, "model_name", "") or getattr(model, "model", "") or type(model).__name__
        )
        if self.by_http:
            return
        self._describe(kwargs)

    def _describe(self, kwargs: dict[str, Any]) -> None:
        from langchain_core.messages import convert_to_openai_messages

        body: dict[str, Any] = {"model": self.name, "messages": convert_to_openai_messages(self.messages)}
        if kwargs.get("tools"):
            body["tools"] = kwargs["tools"]
        self.body = Action("model_call", self.name, pack_content(body))
        actor = ACTOR.get()
        found = provenance.of(self.recorder).parents(texts(body["messages"]), reader=self.agent)
        self.parents = tuple(sorted({*found, *(actor.parents if actor is not None else ())}))

    def __enter__(self) -> None:
        self._token = PRODUCED.set(self._heard)

    def __exit__(self, *_: object) -> None:
        PRODUCED.reset(self._token)
        outer = PRODUCED.get()
        if outer is not None:
            outer.extend(self._heard)
        steps = self.recorder.steps
        self.recorded = any(steps[index].kind == "model_reply" for index in self._heard)
        if not self.recorded:
            self._describe({})

    def asked(self, model: Any) -> Any:
        """Return the model to ask: one without LangChain's cache while somebody may change steps.

        The cache knows only the request as it was before, and would keep altered answers for other
        runs. Without interceptors its answers are taken and recorded.
        """
        if not self.recorder.has_interceptors or model.cache is False:
            return model
        from langchain_core.globals import get_llm_cache

        return model.model_copy(update={"cache": False}) if model.cache or get_llm_cache() else model

    def ask(self, steps: Sequence[Step]) -> Any:
        """Return the messages to send: those of the recorded step."""
        if not steps:
            return self.messages
        step = steps[0]
        sent = self.messages
        if bytes(step.payload) != bytes(self.body.proposed):
            from langchain_core.messages import convert_to_messages

            sent = convert_to_messages(unpack(step.payload)["messages"])
        if self.recorder.watched:
            from langchain_core.messages import convert_to_openai_messages

            got = {**unpack(step.payload), "messages": convert_to_openai_messages(sent)}
            for one in steps:
                self.recorder.received(one.step, got, by="model")
        return sent

    def replayed(self, steps: Sequence[Step]) -> Any:
        """Return what the record says the model answered; None: ask it."""
        player = self.recorder.replay
        answer = player.answer(self.recorder.steps, steps[0].step) if player is not None and steps else None
        return None if answer is None else model_result(answer)

    def reply(self, steps: Sequence[Step], result: Any) -> Observation:
        """Return the observation of the model's answer."""
        self.of = (steps[0].step,) if steps else ()
        outcome = outcome_of(result.generations[0].message)
        return Observation("model_reply", self.name, self.of[0] if self.of else -1, pack_content(outcome))

    def answer(self, result: Any, steps: Sequence[Step]) -> Any:
        """Return the result the caller gets: the answer as recorded (empty when it was lost)."""
        message = result.generations[0].message
        outcome = unpack(steps[-1].payload) if steps else {"content": "", "tool_calls": []}
        if outcome != outcome_of(message) and isinstance(outcome, dict):
            result = _altered(result, outcome)
        index = provenance.of(self.recorder)
        for step in steps:
            for text in texts(unpack(step.payload)):
                index.add(step.step, step.agent, text)
            if self.recorder.watched:
                got = outcome_of(result.generations[0].message)
                self.recorder.received(step.step, got, by=self.agent)
        return result


def outcome_of(message: Any) -> dict[str, Any]:
    """Return a model's message as the outcome of a model_reply."""
    calls = [
        {"id": call.get("id") or "", "name": call["name"], "arguments": json.dumps(call["args"])}
        for call in getattr(message, "tool_calls", None) or ()
    ]
    content = message.content if isinstance(message.content, str) else message.text
    reason = message.response_metadata.get("finish_reason") or ("tool_calls" if calls else "stop")
    return {"content": str(content), "tool_calls": calls, "finish_reason": reason}


def _altered(result: Any, outcome: dict[str, Any]) -> Any:
    from masfire.adapters.langgraph_writes import altered_message

    generation = result.generations[0]
    message = altered_message(generation.message, outcome)
    changed = generation.model_copy(update={"message": message, "text": str(outcome.get("content") or "")})
    return result.model_copy(update={"generations": [changed, *result.generations[1:]]})
