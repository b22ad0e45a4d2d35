"""Response rewriting: what an agent said is replaced before anyone reads it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from masfire.claims.leaves import INSIDE, Path, spoken
from masfire.faults.base import Fault, FaultSpec, Inapplicable, Scene, Strike, Unproved
from masfire.faults.edits import carries, replaced
from masfire.trace.model import USER, Observation, Step
from masfire.trace.payload import pack

ATTEMPTS = 3
"""How often a mutator is asked for a variant that passes the predicate."""

NOT_MINE = Inapplicable("")
"""The step is no event of the fault at all (an empty reason is not counted)."""


class Rewritten(Struct, frozen=True):
    """A payload's new value, and in a few words what was changed."""

    value: Any
    note: str


class Rewrite(Fault):
    """Base of the faults that rewrite an agent's output.

    They strike the model's reply; the message of a code node (an agent whose message was made without
    a model reply of its own) is struck instead, because there is nothing else to rewrite.
    """

    kinds = frozenset({"model_reply", "message"})

    def aims(self, spec: FaultSpec, step: Step) -> bool:
        """Return whether `step` is an output of an agent that the spec names (never the user's)."""
        return step.agent != USER and super().aims(spec, step)

    def strike(self, step: Step, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the step with a rewritten payload that the predicate accepts."""
        refusal = _refusal(step, scene)
        if refusal is not None:
            return refusal
        before = step.value
        if scene.mutator is not None:
            written = self._ask(before, step, spec, scene)
        else:
            answer = self.rewrite(before, spec, scene)
            if isinstance(answer, Inapplicable):
                return answer
            written = answer
            if not self.proves(before, written.value, spec, scene):
                return Inapplicable("no change of this output would pass the fault's predicate")
        return Strike((step.with_payload(pack(written.value)),), written.note)

    def landed(
        self, before: Step, after: Step, received: Any, by: str, spec: FaultSpec, scene: Scene
    ) -> bool:
        """Return whether what arrived passes the predicate.

        A message arrives inside larger inputs, so there the altered content must be found whole.
        """
        if isinstance(before.body, Observation):
            return self.proves(before.value, received, spec, scene)
        return carries(received, after.value) and self.proves(before.value, after.value, spec, scene)

    def rewrite(self, value: Any, spec: FaultSpec, scene: Scene) -> Rewritten | Inapplicable:
        """Return the deterministic variant of the payload `value`."""
        raise NotImplementedError

    def proves(self, before: Any, received: Any, spec: FaultSpec, scene: Scene) -> bool:
        """Return whether `received`, against the original payload `before`, shows the fault."""
        raise NotImplementedError

    def _ask(self, before: Any, step: Step, spec: FaultSpec, scene: Scene) -> Rewritten:
        path, text = focus(before)
        if scene.mutator is None or not text:
            raise Unproved("There is no text that a model could rewrite.")
        for _ in range(ATTEMPTS):
            mutated = scene.mutator.mutate(
                fault=self.name, text=text, cards=cards(step.agent, scene), goal=scene.task
            )
            value = replaced(before, path, mutated)
            if value != before and self.proves(before, value, spec, scene):
                return Rewritten(value, "written by a model")
        raise Unproved(f"No model-written variant passed the predicate in {ATTEMPTS} attempts.")


def cards(agent: str, scene: Scene) -> dict[str, str]:
    """Return what is known of the acting agent's role and of its readers' roles."""
    readers = [reader for reader, sources in scene.edges.items() if agent in sources]
    return {name: scene.roles.get(name, "") for name in (agent, *readers)}


def focus(value: Any) -> tuple[Path, str]:
    """Return where the main text of a payload stands, and the text ("" when there is none).

    Of a reply its content, or else its first call's arguments; of structured messages the longest text.
    """
    if isinstance(value, str):
        return (), value
    if isinstance(value, dict):
        if isinstance(value.get("content"), str) and value["content"].strip():
            return ("content",), value["content"]
        calls = value.get("tool_calls")
        if isinstance(calls, list) and calls and isinstance(calls[0], dict):
            arguments = calls[0].get("arguments")
            if isinstance(arguments, str):
                return ("tool_calls", 0, "arguments"), arguments
    said = [(path, leaf) for path, leaf in spoken(value) if isinstance(leaf, str) and INSIDE not in path]
    return max(said, key=lambda item: len(item[1]), default=((), ""))


def within(value: Any) -> Any:
    """Return the part of a reply that states something: its content, or its calls when it has none."""
    if isinstance(value, dict) and "finish_reason" in value:
        content = value.get("content")
        part = "content" if isinstance(content, str) and content.strip() else "tool_calls"
        return {part: value.get(part)}
    return value


def _refusal(step: Step, scene: Scene) -> Inapplicable | None:
    body = step.body
    if isinstance(body, Observation):
        return None if body.ok else Inapplicable("the model call failed, there is no reply to rewrite")
    for index in step.parents:
        if 0 <= index < len(scene.history):
            parent = scene.history[index]
            if parent.agent == step.agent and parent.kind == "model_reply":
                return NOT_MINE
    return None
