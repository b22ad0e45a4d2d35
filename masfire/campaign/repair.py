"""An interceptor that undoes deviations from a clean twin: one step's, or all that some agents began."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from masfire.diagnosis.causality import signature
from masfire.errors import RefusedValue
from masfire.trace.model import Action, Message, Observation, Step, Trace
from masfire.trace.payload import pack

_IDENTITY = re.compile(rb'"(?:id|tool_call_id)":"[^"]*"')

Key = tuple[str, str, str]


class Repair:
    """Puts the clean twin's payload where a repeated run deviates from it. Serves one run.

    `at`: the steps of these indexes are repaired. `agents`: every deviation is repaired that one of
    these agents *began*, which is one whose recorded parents are as in the twin; what merely follows
    from another's deviation stays. A step's counterpart is the twin's step of the same agent, kind and
    name with the same rank; one more copy of a message has none, and is dropped.
    `repaired` lists the steps that were changed, `same` those of `at` that needed no repair, and
    `without` those of `at` that have no counterpart.
    """

    def __init__(self, twin: Trace, *, at: Collection[int] = (), agents: Collection[str] = ()) -> None:
        self._at, self._agents = frozenset(at), frozenset(agents)
        self._twin = twin
        self._named: dict[Key, list[Step]] = defaultdict(list)
        self._copies: Counter[Any] = Counter()
        for step in twin.steps:
            self._named[_key(step)].append(step)
            if isinstance(step.body, Message):
                self._copies[signature(step)] += 1
        self._seen: Counter[Key] = Counter()
        self._sent: Counter[Any] = Counter()
        self._deviating: set[int] = set()
        self.repaired: list[int] = []
        self.same: list[int] = []
        self.without: list[int] = []

    def __call__(self, step: Step, history: Sequence[Step]) -> Sequence[Step]:
        """Return the step as the twin has it when it is to be repaired, else unchanged."""
        wanted = step.step in self._at or self._begun_by(step)
        extra = self._is_extra(step)
        counterpart = None if extra else self._counterpart(step)
        clean = None if counterpart is None else self._as_in_twin(step, counterpart)
        if clean is not None and _alike(step, clean):
            if step.step in self._at:
                self.same.append(step.step)
            return (step,)
        if wanted and clean is not None:
            self.repaired.append(step.step)
            return (clean,)
        if wanted and extra:
            self.repaired.append(step.step)
            return ()
        if step.step in self._at:
            self.without.append(step.step)
        self._deviating.add(step.step)
        return (step,)

    def _begun_by(self, step: Step) -> bool:
        return step.agent in self._agents and self._deviating.isdisjoint(step.parents)

    def _is_extra(self, step: Step) -> bool:
        """Return whether this is one more copy of a message than the twin has."""
        if not isinstance(step.body, Message):
            return False
        mark = signature(step)
        self._sent[mark] += 1
        return self._sent[mark] > max(1, self._copies[mark])

    def _counterpart(self, step: Step) -> Step | None:
        key = _key(step)
        rank = self._seen[key]
        self._seen[key] += 1
        found = self._named[key]
        return found[rank] if rank < len(found) else None

    def _as_in_twin(self, step: Step, counterpart: Step) -> Step | None:
        body, other = step.body, counterpart.body
        if isinstance(body, Message) and isinstance(other, Message):
            changed = msgspec.structs.replace(body, content=other.content, to=other.to)
            return msgspec.structs.replace(step, body=changed)
        if isinstance(body, Observation) and isinstance(other, Observation):
            replaced = msgspec.structs.replace(body, outcome=other.outcome, ok=other.ok)
            return msgspec.structs.replace(step, body=replaced)
        if isinstance(body, Action) and body.kind == "model_call":
            try:
                return step.with_payload(pack(self._twin.request(counterpart.step)))
            except (RefusedValue, KeyError, IndexError, TypeError, ValueError):
                return None
        return step.with_payload(counterpart.payload) if isinstance(body, Action) else None


def _key(step: Step) -> Key:
    body = step.body
    return step.agent, step.kind, body.name if isinstance(body, (Action, Observation)) else ""


def _alike(step: Step, other: Step) -> bool:
    """Return whether two versions of one step say the same, correlation ids apart."""
    if isinstance(step.body, Message) and isinstance(other.body, Message) and step.body.to != other.body.to:
        return False
    if (
        isinstance(step.body, Observation)
        and isinstance(other.body, Observation)
        and (step.body.ok != other.body.ok)
    ):
        return False
    return _IDENTITY.sub(b"", bytes(step.payload)) == _IDENTITY.sub(b"", bytes(other.payload))
