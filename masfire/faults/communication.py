"""Communication faults: who receives a message, and how often, changes; its content never does."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from masfire.errors import UsageError
from masfire.faults.base import FAULTS, Fault, FaultSpec, Inapplicable, Scene, Strike
from masfire.faults.edits import carries
from masfire.trace.model import USER, Message, Step

CHARACTERS_PER_TOKEN = 4
MOST_COPIES = 1000
FEWEST_COPIES = 3


class Routing(Fault):
    """Base of the three: strikes messages between agents, and the user's task only when asked to."""

    kinds = frozenset({"message"})
    routing = True

    def aims(self, spec: FaultSpec, step: Step) -> bool:
        """Return whether the message is the one asked for; a bare `*` leaves the user's task alone."""
        return super().aims(spec, step) and not (step.agent == USER and spec.agent == "*" and not spec.to)

    def strike(self, step: Step, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the same message routed differently."""
        body = step.body
        if not isinstance(body, Message):
            return Inapplicable("the step is no message")
        if all(name == USER for name in body.to):
            return Inapplicable("the message goes to the user, not to an agent")
        return self.route(step, body, spec, scene)

    def route(self, step: Step, body: Message, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the message with other recipients, or several copies of it."""
        raise NotImplementedError


class MessageCycle(Routing):
    """MC: the message goes back to its sender instead of on.

    What the sender makes of the echo goes on, so that with `times=every` each message circles once.
    """

    name = "message_cycle"

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """`keep`: whether the original recipients get the message as well."""

        keep: bool = False

    def route(self, step: Step, body: Message, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the message addressed to its sender."""
        if step.agent == USER:
            return Inapplicable("the sender is the user, who is no part of the system")
        if step.agent in body.to:
            return Inapplicable("the message goes to its sender anyway")
        if _echoed(step.agent, scene):
            return Inapplicable("the message is what its sender made of the last echo")
        keep = self.configure(spec).keep
        to = (*body.to, step.agent) if keep else (step.agent,)
        return Strike((_readdressed(step, body, to),), f"returned to its sender {step.agent}")

    def landed(
        self, before: Step, after: Step, received: Any, by: str, spec: FaultSpec, scene: Scene
    ) -> bool:
        """Return whether the sender itself received its unchanged message."""
        return by == before.agent and carries(received, before.value)


class MessageStorm(Routing):
    """MS: the recipients get many copies of one message."""

    name = "message_storm"

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """`copies`: how often the message is delivered.

        0 stands for the default: 1000, or as many copies as fill half of the model's context window
        (4 characters a token) when the window is known and that is fewer; at least 3.
        """

        copies: int = 0

    def configure(self, spec: FaultSpec, *, where: str = "") -> Any:
        """Return the parameters; one copy is no storm and is refused."""
        parameters = super().configure(spec, where=where)
        if parameters.copies < 0 or parameters.copies == 1:
            raise UsageError(
                f"copies={parameters.copies} of {spec.name!r} is no storm.",
                hint="Ask for 2 or more.",
                where=where,
            )
        return parameters

    def route(self, step: Step, body: Message, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the message many times."""
        copies = self._copies(spec, scene, len(body.content))
        return Strike((step,) * copies, f"{copies} copies")

    def landed(
        self, before: Step, after: Step, received: Any, by: str, spec: FaultSpec, scene: Scene
    ) -> bool:
        """Return whether one receiver has now got every copy, unchanged."""
        if not carries(received, before.value):
            return False
        seen = scene.memo.setdefault(f"copies of {before.step} at {by}", set())
        seen.add(after.step)
        return len(seen) >= self._copies(spec, scene, len(before.payload))

    def _copies(self, spec: FaultSpec, scene: Scene, length: int) -> int:
        asked = int(self.configure(spec).copies)
        if asked:
            return asked
        if not scene.slot:
            return MOST_COPIES
        half = scene.slot * CHARACTERS_PER_TOKEN // 2
        return max(FEWEST_COPIES, min(MOST_COPIES, half // max(length, 1)))


class MessageBroadcastAmplification(Routing):
    """MBA: agents that have nothing to do with the message receive it too."""

    name = "message_broadcast_amplification"

    def route(self, step: Step, body: Message, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the message addressed to every known agent but its sender."""
        more = tuple(name for name in scene.agents if name not in (*body.to, step.agent, USER))
        if not more:
            return Inapplicable("no further agent is known to whom the message could go")
        return Strike((_readdressed(step, body, (*body.to, *more)),), f"also to {', '.join(more)}")

    def landed(
        self, before: Step, after: Step, received: Any, by: str, spec: FaultSpec, scene: Scene
    ) -> bool:
        """Return whether an agent outside the original recipients received the unchanged message."""
        original = before.body.to if isinstance(before.body, Message) else ()
        return by not in (*original, before.agent) and carries(received, before.value)


def _echoed(agent: str, scene: Scene) -> bool:
    """Return whether the last message of `agent` came back to itself."""
    for step in reversed(scene.history):
        if step.agent == agent and isinstance(step.body, Message):
            return agent in step.body.to
    return False


def _readdressed(step: Step, body: Message, to: tuple[str, ...]) -> Step:
    return msgspec.structs.replace(step, body=msgspec.structs.replace(body, to=to))


for _fault in (MessageCycle, MessageStorm, MessageBroadcastAmplification):
    FAULTS.add(_fault.name, _fault(), owner=__name__)
