"""Strikes at the place, time and number of times that fault addresses ask for, and watches what arrives."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from masfire.faults.base import EVERY, FAULTS, FaultSpec, Inapplicable, Mutator, Scene
from masfire.faults.knowledge import Knowledge
from masfire.trace.context import expand
from masfire.trace.model import Injection, Message, Observation, Step
from masfire.trace.payload import EMPTY, Payload, pack, unpack


class Outcome(Struct, frozen=True):
    """What became of one fault that was asked for.

    `state` is `scheduled`, `armed`, `injected`, `witnessed`, `not_injected`, `not_exposed` or
    `inapplicable`; `reason` says why in a clause. `agent` and `step` are the truth of the injection
    (-1: never struck), `witnessed_at` the visible step whose receipt proved it (-1: not witnessed).
    """

    address: str
    fault: str
    state: str
    reason: str = ""
    agent: str = ""
    step: int = -1
    witnessed_at: int = -1


class _Plan:
    """The state of one fault address during a run."""

    def __init__(self, spec: FaultSpec) -> None:
        self.spec = spec
        self.fault = FAULTS.get(spec.name)
        self.fault.configure(spec)
        self.address = spec.address
        self.lasting = self.fault.lasts(spec)
        self.left = EVERY if self.lasting else spec.times
        self.pinned = ""
        self.counts: dict[str, int] = {}
        self.events: dict[str, int] = {}
        self.memo: dict[str, Any] = {}
        self.refusal = self.failure = ""
        self.note = ""
        self.first: tuple[str, int] | None = None
        self.witness: tuple[str, int] | None = None

    def met(self, agent: str) -> None:
        """Count a matching event of `agent`."""
        self.events[agent] = self.events.get(agent, 0) + 1

    @property
    def over(self) -> bool:
        """Return whether no further event can be struck."""
        return self.left == 0

    def outcome(self, *, seen: Sequence[str], began: bool, ended: bool) -> Outcome:
        """Return the state now; `seen` are the agents that acted so far."""
        agent, step = self.first or ("", -1)
        witnessed_at = self.witness[1] if self.witness else -1
        state, reason = self._state(seen, began, ended)
        return Outcome(self.address, self.fault.name, state, reason, agent, step, witnessed_at)

    def _state(self, seen: Sequence[str], began: bool, ended: bool) -> tuple[str, str]:
        if self.witness is not None:
            return "witnessed", f"received by {self.witness[0]}"
        if self.first is not None:
            return "injected", f"{self.note}; no receiver was seen to get it".lstrip("; ")
        if self.failure:
            return "not_injected", self.failure
        if not ended:
            return ("armed" if began else "scheduled"), ""
        if self.refusal and not self.counts:
            return "inapplicable", self.refusal
        return "not_exposed", self._exposure(seen)

    def _exposure(self, seen: Sequence[str]) -> str:
        agents = f"agents seen: {', '.join(seen) or 'none'}"
        if not self.events:
            kinds = "/".join(sorted(self.fault.kinds))
            return f"no {kinds} event of {self.spec.agent!r} occurred; {agents}"
        met = ", ".join(f"{name} {self.counts.get(name, 0)}" for name in self.events)
        return f"event #{self.spec.n} never came; applicable events: {met}; {agents}"


class _Record(Struct):
    """One changed step on its way to a receiver."""

    plan: _Plan
    before: Step
    scene: Scene
    counted: bool
    witnessed: bool = False


class _Item(Struct):
    """A step about to be recorded, and the strikes that made it."""

    step: Step
    records: list[_Record]


class Injector:
    """Injects faults: an Interceptor that changes steps, and a Witness that sees what arrived.

    `specs` are struck independently; content faults before routing faults. `knowledge` is what a
    control has shown; the injector learns more while it runs. `mutator` writes the model-written
    variants. Draws depend on `seed`, the fault, the agent and the agent's own count alone. The
    recorder calls it under its lock.
    """

    def __init__(
        self,
        specs: Sequence[FaultSpec],
        *,
        seed: int = 0,
        knowledge: Knowledge | None = None,
        mutator: Mutator | None = None,
    ) -> None:
        self._seed = seed
        self._known = knowledge.copy() if knowledge is not None else Knowledge()
        self._mutator = mutator
        self._plans = [_Plan(spec) for spec in specs]
        self._by_kind: dict[str, tuple[_Plan, ...]] = {}
        for plan in sorted(self._plans, key=lambda plan: plan.fault.routing):
            for kind in plan.fault.kinds:
                self._by_kind[kind] = (*self._by_kind.get(kind, ()), plan)
        self._pending: dict[int, list[tuple[_Record, Step]]] = {}
        self._requests: dict[str, tuple[int, Payload]] = {}
        self._history: Sequence[Step] = ()
        self._learnt = 0
        self._began = self._ended = False

    def __call__(self, step: Step, history: Sequence[Step]) -> Sequence[Step]:
        """Return the steps to record in place of `step`, with their marks before them."""
        self._began = True
        self._history = history
        plans = self._by_kind.get(step.kind)
        items = [_Item(step, [])]
        marks: list[Step] = []
        for plan in plans or ():
            if plan.fault.aims(plan.spec, step):
                self._try(plan, items, marks)
        if step.kind == "model_call" and "model_reply" in self._by_kind:
            self._requests[step.agent] = (step.step, items[0].step.payload)
        if not marks:
            return (step,)
        return (*marks, *self._number(items, step.step))

    def received(self, index: int, content: Any, by: str) -> Sequence[Step]:
        """Return a mark for every strike which `content`, received by `by`, proves."""
        waiting = self._pending.get(index)
        if not waiting:
            return ()
        marks: list[Step] = []
        for record, after in waiting:
            if record.witnessed or not self._landed(record, after, content, by):
                continue
            record.witnessed = True
            plan = record.plan
            if plan.witness is None:
                plan.witness = (by, index)
            marks.append(_mark(plan, after, "witnessed", f"received by {by}"))
        if all(record.witnessed for record, _ in waiting):
            del self._pending[index]
        return marks

    def outcomes(self) -> list[Outcome]:
        """Return what became of each fault so far, in the order asked for."""
        seen = list(dict.fromkeys(step.agent for step in self._history))
        return [plan.outcome(seen=seen, began=self._began, ended=self._ended) for plan in self._plans]

    def settle(self) -> list[Step]:
        """End the run: return a final-state mark for every fault that never struck."""
        self._ended = True
        last = len(self._history) - 1
        time = self._history[-1].time if self._history else 0.0
        return [
            Step(last, time, "", Injection(outcome.fault, outcome.address, outcome.state, outcome.reason))
            for outcome in self.outcomes()
            if outcome.step < 0
        ]

    def _try(self, plan: _Plan, items: list[_Item], marks: list[Step]) -> None:
        step = items[0].step
        agent = step.agent
        counted = plan.fault.counts(plan.spec, step)
        count = plan.counts.get(agent, 0)
        if counted and (plan.over or (plan.pinned and agent != plan.pinned)):
            return
        scene = self._scene(plan, step, count)
        try:
            result = plan.fault.strike(step, plan.spec, scene)
        except Exception as error:
            plan.failure = f"{type(error).__name__}: {error}"
            plan.met(agent)
            self._spend(plan, counted)
            return
        if isinstance(result, Inapplicable) and not result.reason:
            return
        plan.met(agent)
        if isinstance(result, Inapplicable) or result.steps == (step,):
            plan.refusal = result.reason if isinstance(result, Inapplicable) else "nothing would change"
            return
        if counted:
            plan.counts[agent] = count + 1
            if count < plan.spec.n:
                return
            self._spend(plan, counted)
            plan.note = result.note
            plan.first = plan.first or (agent, step.step)
            plan.pinned = agent if plan.lasting else ""
        record = _Record(plan, step, scene, counted)
        before = items[0].records
        items[:1] = [_Item(each, [*before, record]) for each in result.steps]
        marks.append(_changed(plan, step, result.steps, result.note))

    def _spend(self, plan: _Plan, counted: bool) -> None:
        if counted and plan.left > 0:
            plan.left -= 1

    def _number(self, items: list[_Item], first: int) -> list[Step]:
        steps: list[Step] = []
        for offset, item in enumerate(items):
            step = item.step
            if step.step != first + offset:
                step = msgspec.structs.replace(step, step=first + offset)
            if item.records:
                self._pending[step.step] = [(record, step) for record in item.records]
            steps.append(step)
        return steps

    def _landed(self, record: _Record, after: Step, content: Any, by: str) -> bool:
        plan = record.plan
        try:
            return plan.fault.landed(record.before, after, content, by, plan.spec, record.scene)
        except Exception as error:
            plan.note = f"the predicate failed: {type(error).__name__}: {error}"
            return False

    def _scene(self, plan: _Plan, step: Step, count: int) -> Scene:
        self._learn()
        known = self._known
        draw = f"{self._seed}\x1f{plan.fault.name}\x1f{step.agent}\x1f{count}"
        return Scene(
            agents=known.agents,
            roles=known.roles,
            tools=known.tools,
            task=known.task,
            slot=known.slot,
            memo=plan.memo,
            rng=random.Random(hashlib.sha256(draw.encode("utf-8", "surrogatepass")).digest()),  # noqa: S311 - reproducible, no secret
            history=self._history,
            count=count,
            edges=known.edges,
            mutator=self._mutator,
            request=self._request(step),
        )

    def _request(self, step: Step) -> Callable[[], dict[str, Any]]:
        def read() -> dict[str, Any]:
            body = step.body
            if not isinstance(body, Observation) or body.of < 0:
                return {}
            index, payload = self._requests.get(step.agent, (-1, EMPTY))
            if index == body.of:
                found = unpack(payload)
            else:
                found = expand(self._history, body.of) if body.of < len(self._history) else {}
            return found if isinstance(found, dict) else {}

        return read

    def _learn(self) -> None:
        self._learnt = self._known.learn(self._history, self._learnt)


def _mark(
    plan: _Plan, step: Step, state: str, reason: str, before: Payload = EMPTY, after: Payload = EMPTY
) -> Step:
    body = Injection(plan.fault.name, plan.address, state, reason, before, after)
    return Step(step.step, step.time, step.agent, body)


def _changed(plan: _Plan, before: Step, after: tuple[Step, ...], note: str) -> Step:
    if plan.fault.routing:
        return _mark(plan, before, "injected", note, _route((before,)), _route(after))
    return _mark(plan, before, "injected", note, before.payload, after[0].payload if after else EMPTY)


def _route(steps: tuple[Step, ...]) -> Payload:
    recipients = [list(step.body.to) for step in steps[:1] if isinstance(step.body, Message)]
    return pack({"to": recipients[0] if recipients else [], "copies": len(steps)})


__all__ = ["Injector", "Knowledge", "Outcome"]
