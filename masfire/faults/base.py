"""What a fault is: how it changes a step (Fault), and where, when and how often (FaultSpec)."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qsl, quote, unquote

import msgspec
from msgspec import Struct

from masfire.errors import MasfireError, UsageError
from masfire.registry import Registry
from masfire.trace.model import Message, Step

EVERY = -1
"""`times` of a fault that strikes at every matching event."""

_ADDRESS = re.compile(
    r"^(?P<name>[a-z][a-z0-9_]*)(@(?P<agent>[^#?]+?))?(#(?P<n>[0-9]{1,9}))?(\?(?P<query>.*))?$"
)


class FaultSpec(Struct, frozen=True):
    """Where, when and how often a fault strikes.

    `agent` is a name or glob; `to` restricts to the edge agent → to; `n` is the 0-based number of
    the agent's own matching event at which it strikes first; `times` how many matching events in a
    row it strikes (EVERY: all from there on). `parameters` are the fault's own.
    As text: ``name@agent#n?param=value``, ``name@a->b``, ``times=every``.
    """

    name: str
    agent: str = "*"
    to: str = ""
    n: int = 0
    times: int = 1
    parameters: dict[str, str] = {}

    @classmethod
    def parse(cls, address: str, *, where: str = "") -> FaultSpec:
        """Return the spec that `address` names; raise UsageError or UnknownName otherwise.

        >>> FaultSpec.parse("blind_trust@reviewer#2?trusts=planner").n
        2
        """
        match = _ADDRESS.match(address.strip())
        if match is None:
            raise UsageError(
                f"Fault address {address!r} cannot be read.",
                hint="Write name@agent#n?param=value, for example 'hallucination@planner#0?times=every'.",
                where=where,
            )
        fault = FAULTS.get(match["name"], where=where)
        agent, _, to = (match["agent"] or "*").partition("->")
        parameters = dict(parse_qsl(match["query"] or "", keep_blank_values=True))
        times = _times(parameters.pop("times", "1"), address, where)
        agent, to = unquote(agent.strip()) or "*", unquote(to.strip())
        spec = cls(match["name"], agent, to, int(match["n"] or 0), times, parameters)
        fault.configure(spec, where=where)
        return spec

    @property
    def address(self) -> str:
        """Return the canonical text form; `FaultSpec.parse(spec.address) == spec`."""
        place = f"@{_escape(self.agent)}" if self.agent != "*" or self.to else ""
        if self.to:
            place += f"->{_escape(self.to)}"
        query = dict(sorted(self.parameters.items()))
        if self.times != 1:
            query["times"] = "every" if self.times == EVERY else str(self.times)
        text = "&".join(f"{quote(k)}={quote(v, safe='')}" for k, v in query.items())
        return f"{self.name}{place}{f'#{self.n}' if self.n else ''}{f'?{text}' if text else ''}"

    def aims_at(self, agent: str) -> bool:
        """Return whether the agent pattern matches `agent` (whole name or last path segment)."""
        return _matches(self.agent, agent)

    def reaches(self, to: Sequence[str]) -> bool:
        """Return whether one of the recipients is the edge's receiver (True without an edge)."""
        return not self.to or any(_matches(self.to, name) for name in to)


def _escape(name: str) -> str:
    text = quote(name, safe="*[]!/ .-")
    return text if text == text.strip() else text.replace(" ", "%20")


@functools.lru_cache(maxsize=4096)
def _matches(pattern: str, name: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.rsplit("/", 1)[-1], pattern)


def _times(text: str, address: str, where: str) -> int:
    if text == "every":
        return EVERY
    if re.fullmatch("[0-9]{1,9}", text) and int(text) > 0:
        return int(text)
    raise UsageError(
        f"times={text!r} in {address!r} is no count.",
        hint="Write times=every or a positive number.",
        where=where,
    )


class Inapplicable(Struct, frozen=True):
    """This step offers the fault nothing to change (no tool call, no plan, one tool only); says why.

    With an empty `reason` the step is no event of the fault at all and is not counted.
    """

    reason: str


class Strike(Struct, frozen=True):
    """What a fault makes of one step: the steps to record in its place, and in a few words why."""

    steps: tuple[Step, ...]
    note: str = ""


class Unproved(MasfireError):
    """What a fault made of a step does not pass the fault's own predicate."""

    exit_code = 3


class Tool(Struct, frozen=True):
    """One entry of an agent's tool catalogue: its name, description, JSON Schema of the arguments."""

    name: str
    description: str = ""
    schema: dict[str, Any] = {}


class Mutator(Protocol):
    """Writes the model-written variant of a semantic fault (any OpenAI-compatible endpoint).

    The deterministic variant is the default; a mutator's answer must pass the same predicate.
    """

    def mutate(self, *, fault: str, text: str, cards: Mapping[str, str], goal: str) -> str:
        """Return the mutated text alone: no marker, no commentary, same style and structure.

        `cards` maps agents to what is known of their role, `goal` is the task.
        """


class Scene(Struct):
    """What a fault may know when it strikes; gathered from what the run (or a control) has shown.

    `agents` in order of appearance; `roles` agent → system prompt; `tools` name → Tool; `edges`
    reader → the agents whose output it read; `task` the task as text; `slot` the model's context
    window in tokens (0: unknown); `memo` the fault's own memory of this run; `rng` the seeded draw
    of this (seed, fault, agent, count); `history` the visible steps recorded so far; `request` gives
    the request body that a struck reply answers ({} when there is none).
    """

    agents: list[str]
    roles: dict[str, str]
    tools: dict[str, Tool]
    task: str
    slot: int
    memo: dict[str, Any]
    rng: random.Random
    history: Sequence[Step]
    count: int = 0
    edges: dict[str, list[str]] = {}
    mutator: Mutator | None = None
    request: Callable[[], dict[str, Any]] = dict


class Fault:
    """How a system is broken: one of the 15 (or a third party's).

    Subclasses set `name`, `kinds` (the step kinds that are matching events) and `Parameters`, and
    define `strike` and `landed`. They are stateless; memory of a run goes to `scene.memo`.
    """

    name: ClassVar[str]
    kinds: ClassVar[frozenset[str]]
    persistent: ClassVar[bool] = False
    """Whether one injection lasts the whole run (prompt modifications) and stays with one agent."""
    routing: ClassVar[bool] = False
    """Whether the content is left alone and only its delivery changes; such faults strike last."""
    about: ClassVar[str] = ""
    """Whom the paper's fault is about: `user`, or a word in the names of such agents ("plan"). A campaign
    that may choose aims there first."""

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """The fault's parameters with their defaults (msgspec converts the address's text)."""

    def configure(self, spec: FaultSpec, *, where: str = "") -> Any:
        """Return the parameters of `spec`; raise UsageError with the list of those that exist."""
        try:
            return msgspec.convert(spec.parameters, self.Parameters, strict=False)
        except msgspec.ValidationError as error:
            fields = [f"{f.encode_name}={f.default!r}" for f in msgspec.structs.fields(self.Parameters)]
            raise UsageError(
                f"Parameters of {spec.name!r} are wrong: {error}.",
                hint=f"It takes: {', '.join(fields) or 'none'}, and times=1|N|every.",
                where=where,
            ) from None

    def lasts(self, spec: FaultSpec) -> bool:
        """Return whether this spec's injection lasts the whole run once it struck an agent."""
        return self.persistent

    def aims(self, spec: FaultSpec, step: Step) -> bool:
        """Return whether `step` is of a kind and an agent (and edge) this spec asks for."""
        if step.kind not in self.kinds or not spec.aims_at(step.agent):
            return False
        return spec.reaches(step.body.to) if isinstance(step.body, Message) else True

    def counts(self, spec: FaultSpec, step: Step) -> bool:
        """Return whether striking `step` uses up one of the spec's `times` (and is its truth)."""
        return True

    def strike(self, step: Step, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the changed steps, or why this step cannot be struck. Never change `step`.

        Must depend on nothing but its arguments; randomness comes from `scene.rng` alone.
        """
        raise NotImplementedError

    def landed(
        self, before: Step, after: Step, received: Any, by: str, spec: FaultSpec, scene: Scene
    ) -> bool:
        """Return whether what the receiver got proves the fault.

        `before` is the step as offered, `after` one of the steps recorded in its place, `received`
        the Python value that arrived at the receiving side `by` (same shape as the payload).
        """
        raise NotImplementedError


class _Faults(Registry[Fault]):
    """The registry that knows where the built-in faults live and loads them on first look-up."""

    _CATEGORIES = (
        "planning", "memory", "reasoning", "action", "configuration", "instruction", "communication",
    )  # fmt: skip

    def _load(self) -> None:
        if not self._loaded:
            for category in self._CATEGORIES:
                importlib.import_module(f"masfire.faults.{category}")
        super()._load()


FAULTS: Registry[Fault] = _Faults("fault")
"""The 15 faults of MAS-FIRE and whatever third parties add."""
