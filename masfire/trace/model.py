"""The nouns of a run: a step, its five bodies, and the trace they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from masfire.trace.payload import ABSENT, EMPTY, Payload, unpack

TRACE_VERSION = "trace/v1"


class Message(Struct, frozen=True, gc=False, omit_defaults=True, tag="message", tag_field="type"):
    """Something an agent said to others.

    `to` names the recipients (agents, or `user`). `content` is text, or an object when a framework
    passes structured state ({"messages": [{"role", "content"}], "order": {...}}). `via` says which
    mechanism delivers it: `graph` (a framework's channels), `request` (the receiver's next model
    request), or empty for a message that was only logged.
    """

    to: tuple[str, ...]
    content: Payload
    via: str = ""

    @property
    def kind(self) -> str:
        """Return the step kind, always `message`."""
        return "message"


class Action(Struct, frozen=True, gc=False, omit_defaults=True, tag="action", tag_field="type"):
    """Something an agent does at a boundary.

    `kind` is one of `tool_call`, `model_call`, `memory_read`, `memory_write`, `delegation`,
    `termination`, `event`. `proposed` is what the agent side offers after any fault and before
    governance; `executed` is what governance let through (ABSENT: the same as proposed).
    A tool call's payload is {"args": {...}} or {"args": "<text that is no JSON object>"}; a model
    call's is the request body, {"model", "messages", "tools", ...}. `id` is the caller's own
    correlation id (a tool_call_id).
    """

    kind: str
    name: str
    proposed: Payload
    executed: Payload = ABSENT
    id: str = ""


class Draw(Struct, frozen=True, gc=False, omit_defaults=True):
    """A recorded draw from the nondeterministic outside: which request was answered, and how.

    `request` is a SHA-256 of the request as sent (hex); `source` is `live`, `cache`, `stub` or
    `replay`; `seconds` how long the answer took; token counts are the provider's.
    """

    request: str
    source: str = "live"
    attempt: int = 0
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0


class Observation(Struct, frozen=True, gc=False, omit_defaults=True, tag="observation", tag_field="type"):
    """What came back from an action.

    `kind` is `tool_result`, `model_reply` or `memory_value`; `of` is the step index of the action
    (-1 when it was not recorded). `outcome` is the value, or {"error": {...}} when `ok` is false.
    A model reply's outcome is {"content": str | None, "tool_calls": [{"id", "name", "arguments"}],
    "finish_reason": str}; `arguments` is the text the model wrote.
    """

    kind: str
    name: str
    of: int
    outcome: Payload
    ok: bool = True
    draw: Draw | None = None


class Decision(Struct, frozen=True, gc=False, omit_defaults=True, tag="decision", tag_field="type"):
    """What governance (or a system's own filter) decided about the action at step `of`.

    `outcome` is `allow`, `rewrite` or `block`; `rule` names what decided, `reason` says why.
    """

    outcome: str
    rule: str
    reason: str = ""
    of: int = -1
    evidence: Payload = EMPTY

    @property
    def kind(self) -> str:
        """Return the step kind, always `decision`."""
        return "decision"


class Injection(Struct, frozen=True, gc=False, omit_defaults=True, tag="injection", tag_field="type"):
    """The ground truth of a fault: hidden from everything but the metrics.

    Its step carries the index of the visible step it marks and takes no index of its own, so that
    removing it leaves no gap. `state` is one of `scheduled`, `armed`, `injected`, `witnessed`,
    `not_injected`, `not_exposed`, `inapplicable`; `address` is the fault address that asked for it.
    `before` and `after` are the payload as it stood and as it was delivered.
    """

    fault: str
    address: str
    state: str
    reason: str = ""
    before: Payload = EMPTY
    after: Payload = EMPTY

    @property
    def kind(self) -> str:
        """Return the step kind, always `injection`."""
        return "injection"


Body: TypeAlias = Message | Action | Observation | Decision | Injection


class Step(Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of a run's story.

    `step` is the dense 0-based index among visible steps; `time` seconds since the epoch; `agent`
    the stable name of who acted (`user` for the task's author); `role` the agent's declared role;
    `parents` the earlier steps that were in the input from which this one was made, ascending.
    """

    step: int
    time: float
    agent: str
    body: Body
    role: str = ""
    parents: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """Return `message`, `tool_call`, `model_call`, `tool_result`, `model_reply`, `decision`, …"""
        return self.body.kind

    @property
    def payload(self) -> Payload:
        """Return the payload that this step carries: content, executed or proposed, or outcome."""
        body = self.body
        if isinstance(body, Message):
            return body.content
        if isinstance(body, Action):
            return body.executed or body.proposed
        if isinstance(body, Observation):
            return body.outcome
        if isinstance(body, Decision):
            return body.evidence
        return body.after

    @property
    def value(self) -> Any:
        """Return the payload as a Python value (decoded anew at each call)."""
        return unpack(self.payload)

    def with_payload(self, payload: Payload) -> Step:
        """Return this step carrying another payload (an action: as *proposed*)."""
        body = self.body
        replacement: Body
        if isinstance(body, Message):
            replacement = msgspec.structs.replace(body, content=payload)
        elif isinstance(body, Action):
            replacement = msgspec.structs.replace(body, proposed=payload)
        elif isinstance(body, Observation):
            replacement = msgspec.structs.replace(body, outcome=payload)
        else:
            raise TypeError(f"A {body.kind} carries no payload that can be replaced.")
        return msgspec.structs.replace(self, body=replacement)


class Header(Struct, frozen=True):
    """The first line of a trace: which run this is and how to start it again.

    `launch` is either {"pytest": node id} or {"plan", "system", "fault", "task", "seed"}.
    `faults` (addresses) is ground truth and hidden by `Trace.blind`. Hashes are hex SHA-256.
    """

    run: str
    masfire: str = TRACE_VERSION
    created: float = 0.0
    seed: int = 0
    models: tuple[str, ...] = ()
    task: Payload = EMPTY
    launch: dict[str, Any] = {}
    faults: tuple[str, ...] = ()
    system: str = ""
    system_hash: str = ""
    contracts_hash: str = ""
    tools_hash: dict[str, str] = {}
    privacy: str = "redacted"
    settings: dict[str, Any] = {}


class End(Struct, frozen=True, omit_defaults=True):
    """The last line of a run that ended.

    `status` is `completed`, `error` (the system raised), `budget` (masfire stopped it), `timeout`,
    `overflow` (the model's context was exceeded) or `interrupted`. `success` is what the plan's or
    the test's check said, None when nobody checked. `steps` counts visible steps.
    """

    status: str
    error: str = ""
    answer: Payload = EMPTY
    success: bool | None = None
    steps: int = 0
    seconds: float = 0.0


class Original(Struct, frozen=True):
    """A model's reply as it came, before any fault, kept where its step does not hold all of it.

    `call` is the step index of the model call, `body` the JSON of the whole (unstreamed) response. A
    replay answers with it; judges never see it.
    """

    call: int
    body: Payload


class Drawn(Struct, frozen=True):
    """One thing that the system's own code drew from chance or read off the clock, where that is recorded.

    `source` is `random` (a float in 0..1), `bits` (an integer), `uuid` (its hex) or `time`, `monotonic`
    (seconds); `agent` who was acting ("" for nobody). The draws of one agent and source are in order.
    """

    source: str
    agent: str
    value: Payload


class Trace(Struct, frozen=True):
    """A recorded run as a value: header, visible steps in order, the hidden truth, and the end.

    `end` is None when the writer died before it could say how the run ended. `originals` are replies
    that a replay needs word for word, `draws` what chance and clock gave (opt-in).
    """

    header: Header
    steps: tuple[Step, ...]
    injections: tuple[Step, ...] = ()
    end: End | None = None
    originals: tuple[Original, ...] = ()
    draws: tuple[Drawn, ...] = ()

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __getitem__(self, index: int) -> Step:
        return self.steps[index]

    @property
    def agents(self) -> tuple[str, ...]:
        """Return the agents in order of first appearance."""
        return tuple(dict.fromkeys(step.agent for step in self.steps))

    def blind(self) -> Trace:
        """Return the trace without any ground truth: what every judge but the metrics sees."""
        header = msgspec.structs.replace(self.header, faults=(), launch={})
        return Trace(header=header, steps=self.steps, injections=(), end=self.end)

    def of_agent(self, agent: str) -> Sequence[Step]:
        """Return the steps of one agent, in order."""
        return [step for step in self.steps if step.agent == agent]

    def request(self, index: int) -> Any:
        """Return the full request body of the model call at step `index`, references resolved."""
        from masfire.trace.context import expand

        return expand(self.steps, index)


USER = "user"
"""The agent name of whoever wrote the task."""

__all__ = [
    "ABSENT", "EMPTY",
    "TRACE_VERSION", "USER", "Action", "Body", "Decision", "Draw", "Drawn", "End", "Header", "Injection",
    "Message", "Observation", "Original", "Payload", "Raw", "Step", "Trace",
]  # fmt: skip
