"""LangChain's tools as steps: what was asked of a tool, what it was given, what it gave back."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import msgspec

from masfire.adapters import provenance
from masfire.adapters.langchain_models import patch_models
from masfire.adapters.langchain_replay import LIVE, Replayed
from masfire.adapters.langgraph_board import PARENTS, TOOL
from masfire.adapters.langgraph_writes import message_class, pack_content, texts, to_plain
from masfire.adapters.patching import Patch, Undo
from masfire.errors import IncompatibleVersion
from masfire.recorder import ACTOR, PRODUCED, Recorder, current
from masfire.trace.model import Action, Observation, Step
from masfire.trace.payload import unpack

TOOLS = "tools"
"""Key in a recorder's notes: the tools seen in this run, by name."""
TOOL_IDS = "tool_ids"
"""Key in a recorder's notes: the tool_call_ids whose calls are recorded."""
LOOK_BACK = 200
"""How many steps back the model reply that asked for a tool call is looked for."""


def patch_tools(module: ModuleType) -> Undo:
    """Wrap `BaseTool.run` and `BaseTool.arun`: the call before, the result after."""
    tool_class = module.BaseTool
    run, arun = _require(tool_class, "run"), _require(tool_class, "arun")

    def recorded_run(self: Any, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = current()
        if recorder is None:
            return run(self, tool_input, *args, **kwargs)
        call = Call(recorder, self, tool_input, kwargs)
        steps = recorder.submit(call.agent, call.body, parents=call.parents)
        answer = call.refusal()
        for step in steps:
            tool, given = call.begin(step)
            try:
                with call.running(step):
                    replayed = call.replayed(tool, step)
                    result = run(tool, given, *args, **kwargs) if replayed is None else replayed.result()
            except Exception as failure:
                if call.interrupted(failure):
                    raise
                call.end(
                    recorder.submit(call.agent, call.failed(step, failure), parents=call.made_from(step))
                )
                raise
            seen = recorder.submit(call.agent, call.succeeded(step, result), parents=call.made_from(step))
            answer = call.answer(result, seen)
        return answer

    async def recorded_arun(self: Any, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = current()
        if recorder is None:
            return await arun(self, tool_input, *args, **kwargs)
        call = Call(recorder, self, tool_input, kwargs)
        steps = await recorder.asubmit(call.agent, call.body, parents=call.parents)
        answer = call.refusal()
        for step in steps:
            tool, given = call.begin(step)
            try:
                with call.running(step):
                    replayed = call.replayed(tool, step)
                    result = (
                        await arun(tool, given, *args, **kwargs) if replayed is None else replayed.result()
                    )
            except Exception as failure:
                if call.interrupted(failure):
                    raise
                failed = call.failed(step, failure)
                call.end(await recorder.asubmit(call.agent, failed, parents=call.made_from(step)))
                raise
            seen = await recorder.asubmit(
                call.agent, call.succeeded(step, result), parents=call.made_from(step)
            )
            answer = call.answer(result, seen)
        return answer

    tool_class.run, tool_class.arun = recorded_run, recorded_arun

    def undo() -> None:
        tool_class.run, tool_class.arun = run, arun

    return undo


def _require(owner: Any, name: str) -> Any:
    found = getattr(owner, name, None)
    if not callable(found) or list(inspect.signature(found).parameters)[:2] != ["self", "tool_input"]:
        raise IncompatibleVersion(
            f"langchain's {owner.__name__}.{name} is gone or has another signature.",
            hint="masfire supports langchain-core 1.x.",
        )
    return found


class Call:
    """One tool call on its way."""

    def __init__(self, recorder: Recorder, tool: Any, tool_input: Any, kwargs: dict[str, Any]) -> None:
        self.recorder, self.tool, self.input = recorder, tool, tool_input
        self.catalogue: dict[str, Any] = recorder.notes.setdefault(TOOLS, {})
        self.catalogue.setdefault(tool.name, tool)
        self.id = kwargs.get("tool_call_id") or ""
        if self.id:
            recorder.notes.setdefault(TOOL_IDS, set()).add(self.id)
        actor = ACTOR.get()
        self.agent = actor.agent if actor is not None else tool.name
        self.parents = _asked_by(recorder.steps, self.id) or (actor.parents if actor is not None else ())
        self.injected = _injected(tool)
        self.heard: list[int] = []
        self.body = Action(
            "tool_call", tool.name, pack_content({"args": self._visible(tool_input)}), id=self.id
        )

    def _visible(self, given: Any) -> Any:
        if isinstance(given, dict):
            return {name: to_plain(value) for name, value in given.items() if name not in self.injected}
        return given if isinstance(given, str) else to_plain(given)

    def begin(self, step: Step) -> tuple[Any, Any]:
        """Return the tool to run and its input, as the recorded step has them."""
        body = step.body
        name = body.name if isinstance(body, Action) else self.tool.name
        tool, given = self.catalogue.get(name, self.tool), self.input
        if bytes(step.payload) != bytes(self.body.proposed):
            asked = unpack(step.payload)
            given = asked.get("args", {}) if isinstance(asked, dict) else asked
            if isinstance(given, dict) and isinstance(self.input, dict):
                given = {**{n: v for n, v in self.input.items() if n in self.injected}, **given}
        if self.recorder.watched:
            self.recorder.received(step.step, {"args": self._visible(given)}, by=tool.name)
        return tool, given

    @contextlib.contextmanager
    def running(self, step: Step) -> Iterator[None]:
        """Let agents and models that the tool's code asks know that this call is why; note their answers."""
        self.heard = []
        tool, produced, actor = TOOL.set(self._name(step)), PRODUCED.set(self.heard), ACTOR.get()
        asked = None if actor is None else ACTOR.set(msgspec.structs.replace(actor, parents=(step.step,)))
        try:
            yield
        finally:
            if asked is not None:
                ACTOR.reset(asked)
            PRODUCED.reset(produced)
            TOOL.reset(tool)

    def replayed(self, tool: Any, step: Step) -> Replayed | None:
        """Return what the record says the tool came to; None: run it."""
        player = self.recorder.replay
        if player is None or LIVE in (getattr(tool, "tags", None) or ()):
            return None
        return Replayed.of(tool, self.id, player.answer(self.recorder.steps, step.step))

    def made_from(self, step: Step) -> tuple[int, ...]:
        """Return the parents of the result: the call, and what the tool's code was answered meanwhile."""
        return (step.step, *sorted(set(self.heard))[-PARENTS:]) if self.heard else (step.step,)

    def succeeded(self, step: Step, result: Any) -> Observation:
        """Return the observation of what the tool gave back."""
        outcome, ok = outcome_of(result)
        return Observation("tool_result", self._name(step), step.step, pack_content(outcome), ok)

    def failed(self, step: Step, failure: Exception) -> Observation:
        """Return the observation of what the tool raised."""
        error = {"type": type(failure).__name__, "message": str(failure)}
        return Observation(
            "tool_result", self._name(step), step.step, pack_content({"error": error}), ok=False
        )

    @staticmethod
    def interrupted(failure: Exception) -> bool:
        """Return whether the tool did not fail but asked a human, handed over, or ran out of budget."""
        names = {cls.__name__ for cls in type(failure).__mro__}
        return bool(names & {"GraphBubbleUp", "BudgetExceeded", "Divergence", "ReplayEnded"})

    def _name(self, step: Step) -> str:
        return step.body.name if isinstance(step.body, Action) else self.tool.name

    def answer(self, result: Any, steps: Sequence[Step]) -> Any:
        """Return what the caller gets: the result as recorded, or an empty one when it was lost."""
        if not steps:
            return _with_content(result, "", failed=False)
        step = steps[-1]
        outcome, ok = outcome_of(result)
        body = step.body
        wanted = unpack(step.payload)
        altered = isinstance(body, Observation) and (body.ok != ok or wanted != unpack(pack_content(outcome)))
        if altered and isinstance(wanted, dict):
            error = wanted.get("error")
            value = error.get("message", "") if isinstance(error, dict) else wanted.get("value")
            result = _with_content(result, value, failed=error is not None)
        self.end(steps)
        if self.recorder.watched:
            got = outcome_of(result)[0]
            for seen in steps:
                self.recorder.received(seen.step, got, by=self.agent)
        return result

    def end(self, steps: Sequence[Step]) -> None:
        """Make the text of the result known to the provenance index."""
        index = provenance.of(self.recorder)
        for step in steps:
            for text in texts(unpack(step.payload)):
                index.add(step.step, step.agent, text)

    def refusal(self) -> Any:
        """Return what the caller gets when the call was never made."""
        text = f"The call of {self.tool.name} was not carried out."
        if not self.id:
            return text
        from langchain_core.messages import ToolMessage

        return ToolMessage(text, name=self.tool.name, tool_call_id=self.id, status="error")


def outcome_of(result: Any) -> tuple[dict[str, Any], bool]:
    """Return what came back as an outcome, and whether it is a success."""
    if isinstance(result, message_class()):
        content = result.content if isinstance(result.content, str) else to_plain(result.content)
        if getattr(result, "status", "success") == "error":
            return {"error": {"type": "ToolError", "message": content}}, False
        return {"value": content}, True
    goto = getattr(result, "goto", None)
    if goto is not None and hasattr(result, "update"):  # a Command: its update may be the whole state
        targets = goto if isinstance(goto, (list, tuple)) else [goto]
        return {"value": {"goto": [getattr(one, "node", one) for one in targets]}}, True
    return {"value": to_plain(result)}, True


def _with_content(result: Any, value: Any, *, failed: bool) -> Any:
    if isinstance(result, message_class()):
        content = value if isinstance(value, (str, list)) else bytes(pack_content(value)).decode()
        return result.model_copy(update={"content": content, "status": "error" if failed else "success"})
    if hasattr(result, "goto"):
        return result
    if failed:
        from langchain_core.tools import ToolException

        raise ToolException(str(value))
    return value


def _asked_by(steps: Sequence[Step], call_id: str) -> tuple[int, ...]:
    """Return the model reply that asked for this call."""
    if not call_id:
        return ()
    needle = call_id.encode()
    for step in reversed(steps[-LOOK_BACK:]):
        if step.kind == "model_reply" and needle in bytes(step.payload):
            return (step.step,)
    return ()


def _injected(tool: Any) -> frozenset[str]:
    """Return the names of the arguments that the framework fills in (state, store, ids), not the model."""
    names = set(getattr(tool, "_injected_args_keys", ()))
    schema = tool.args_schema
    fields = getattr(schema, "model_fields", None)
    if fields:
        names |= set(fields) - set(getattr(tool.tool_call_schema, "model_fields", fields))
    return frozenset(names)


PATCHES: tuple[Patch, ...] = (
    Patch("langchain_core.tools.base", patch_tools),
    Patch("langchain_core.language_models.chat_models", patch_models),
)
"""What a recorded run changes in LangChain while it lasts."""
