"""A replay in progress: who may take the next step, what calls are answered, where it leaves the record."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from masfire.errors import Divergence, ReplayEnded, UsageError
from masfire.recorder.likeness import first_overlap, holds, said, shown
from masfire.trace.difference import NOTHING, step_difference, value_difference
from masfire.trace.model import Action, Body, Message, Observation, Step, Trace
from masfire.trace.payload import unpack
from masfire.trace.replay import Answer, Tape, asked

PATIENCE = 2.0
"""Seconds that a step waits, while nothing else happens, for the one which the record has before it."""

_POLL = 0.001
_AHEAD = 256
"""How many recorded steps ahead a step is looked for."""
_CUT_SHORT = frozenset({"budget", "error", "overflow"})
"""How runs end in which parallel agents may have been stopped in the middle."""
_BROKEN_OFF = frozenset({"timeout", "interrupted"})


class Player:
    """Guards one replay of `trace`; hand it to `masfire.session.run(replay=…)`.

    With `strict` every step must be the recorded one, and the first that is not ends the run by Divergence.
    Without it only the calls matter: each is answered by what its agent's same request was answered
    before, in order. `live` says what becomes of a request which the record cannot answer: True asks the
    model (runs the tool), False is a Divergence. `live_tools` runs all tools for real. `until` stops the
    run after that step; `hint` is added to what is told of a request without an answer. Steps of
    parallel agents come in the recorded order as long as the run says what the record says.
    """

    def __init__(
        self,
        trace: Trace,
        *,
        strict: bool = True,
        live: bool = False,
        live_tools: bool = False,
        until: int | None = None,
        patience: float = PATIENCE,
        hint: str = "",
    ) -> None:
        if until is not None and not 0 <= until < len(trace):
            raise UsageError(
                f"There is no step {until} in run {trace.header.run}.",
                hint=f"Its steps are 0 to {len(trace) - 1}.",
            )
        self.tape = Tape(trace)
        self.trace = trace
        self.strict, self.live, self.live_tools = strict, live and not strict, live_tools
        self.divergence: Divergence | None = None
        self.ended: ReplayEnded | None = None
        self.answered = self.asked_live = 0
        self.left_at = -1
        """The first step that is not the recorded one (-1: none so far)."""
        self._tools_answered = 0
        self.until = until
        self._patience = patience
        self._hint = hint
        self._changed = threading.Condition()
        self._draws: dict[tuple[str, str], deque[Any]] = {}
        for drawn in trace.draws:
            self._draws.setdefault((drawn.source, drawn.agent), deque()).append(unpack(drawn.value))
        self._parallel = first_overlap(trace.steps)
        status = trace.end.status if trace.end is not None else ""
        self._breaks_off = strict and (trace.end is None or status in _BROKEN_OFF)
        self._cut_short = status if strict and status in _CUT_SHORT else ""
        self._run_over = False

    @property
    def over(self) -> bool:
        """Return whether the run was stopped by this replay."""
        return self.divergence is not None or self.ended is not None

    def turn(self, steps: Sequence[Step], agent: str, body: Body) -> None:
        """Wait until the record has a step like this next (or nothing else happens for a while)."""
        self._wait(steps, lambda at: self._is_next(at, agent, body))

    async def aturn(self, steps: Sequence[Step], agent: str, body: Body) -> None:
        """Like `turn`, letting other tasks of the event loop go on meanwhile."""
        await self._await(steps, lambda at: self._is_next(at, agent, body))

    def enter(self, steps: Sequence[Step], agent: str, request: dict[str, Any]) -> None:
        """Wait until the record has this model request of an agent next, or a message or tool result in it.

        What a request is made of is looked up before its first step is submitted.
        """
        self._wait(steps, lambda at: self._may_enter(at, agent, request), leave=False)

    async def aenter(self, steps: Sequence[Step], agent: str, request: dict[str, Any]) -> None:
        """Like `enter`, letting other tasks of the event loop go on meanwhile."""
        await self._await(steps, lambda at: self._may_enter(at, agent, request), leave=False)

    def _wait(self, steps: Sequence[Step], fits: Callable[[int], bool], *, leave: bool = True) -> None:
        self._stop()
        known, since = len(steps), time.monotonic()
        if fits(known):
            return
        self._parallel = min(self._parallel, known)
        if threading.active_count() == 1:
            return  # nobody else could come first
        looping = asyncio._get_running_loop() is not None
        patience = min(self._patience, 0.1) if looping else self._patience  # it stops its own loop meanwhile
        with self._changed:
            while time.monotonic() - since < patience:
                self._changed.wait(0.05)
                self._stop()
                if len(steps) != known:
                    known, since = len(steps), time.monotonic()
                    if fits(known):
                        return
        if leave:
            self._leave_over(known)

    async def _await(self, steps: Sequence[Step], fits: Callable[[int], bool], *, leave: bool = True) -> None:
        self._stop()
        known, since = len(steps), time.monotonic()
        while not fits(known):
            self._parallel = min(self._parallel, known)
            if time.monotonic() - since >= self._patience:
                if leave:
                    self._leave_over(known)
                return
            await asyncio.sleep(_POLL)
            self._stop()
            if len(steps) != known:
                known, since = len(steps), time.monotonic()

    def settled(self, step: Step) -> Step:
        """Return the step about to be recorded, with its recorded parents once agents ran in parallel.

        Which text a request is found to stem from then depends on what masfire had noted at that
        instant, which is no choice of the system's.
        """
        if self.left_at >= 0 or not self._parallel <= step.step < len(self.trace):
            return step
        recorded = self.trace[step.step]
        if recorded.parents == step.parents or (recorded.agent, recorded.kind) != (step.agent, step.kind):
            return step
        return msgspec.structs.replace(step, parents=recorded.parents)

    def check(self, steps: Sequence[Step]) -> None:
        """Compare the step just recorded with the record; raise Divergence, or ReplayEnded where it ends."""
        index = len(steps) - 1
        try:
            if self.left_at < 0:
                self._compare(steps, index)
            if self.until == index and self.ended is None:
                self.ended = ReplayEnded(f"Stopped after step {index}, as asked.")
        finally:
            with self._changed:
                self._changed.notify_all()
        self._stop()

    def answer(self, steps: Sequence[Step], call: int) -> Answer | None:
        """Return what the action recorded at step `call` was answered; None: ask the model, run the tool.

        Raise Divergence when the record has no answer and nobody may be asked.
        """
        self._stop()
        if not 0 <= call < len(steps):
            return None
        step = steps[call]
        if step.kind == "tool_call" and self.live_tools:
            return None
        found = self.tape.at(call) if self.strict else self._found(steps, call)
        if found is not None and step.kind == "tool_call" and self.tape.nested(found.call):
            return None  # what the tool asked is answered instead
        if found is not None and found.heard:
            self.answered += 1
            self._tools_answered += step.kind == "tool_call"
            return found
        if found is not None and self._breaks_off:
            self.ended = ReplayEnded(f"The record breaks off before step {call} was answered.")
            self._stop()
        if self.live:
            self.asked_live += 1
            return None
        if found is not None and self._cut_short:
            self._linger()
        raise self._unanswered(steps, call)

    def finish(self, trace: Trace) -> None:
        """Raise Divergence when a strict replay ended before its record did."""
        self.close()
        self._stop(ended=False)
        if not self.strict or self.ended is not None or len(trace) >= len(self.trace):
            return
        missing = self.trace[len(trace)]
        self._diverge(
            f"The replay ended after {len(trace)} steps; the record goes on with a {missing.kind} of "
            f"{missing.agent}.",
            step=len(trace), agent=missing.agent, expected=f"{missing.agent}'s {missing.kind}", got=NOTHING,
        )  # fmt: skip
        self._stop()

    def drawn(self, source: str, agent: str) -> Any:
        """Return the next recorded draw of this source by this agent; None when there is none left."""
        with self._changed:
            waiting = self._draws.get((source, agent))
            return waiting.popleft() if waiting else None

    def close(self) -> None:
        """Say that the run is over: nothing waits for it any longer."""
        with self._changed:
            self._run_over = True
            self._changed.notify_all()

    def reraise(self, cause: BaseException) -> None:
        """Raise what ended this replay, with what the system made of it as the cause."""
        stop = self.divergence or self.ended
        if stop is not None:
            raise stop from cause

    def diverge(self, message: str, **where: Any) -> None:
        """Note a divergence unless there was one before, and raise the first."""
        self._diverge(message, **where)
        self._stop()

    def _found(self, steps: Sequence[Step], call: int) -> Answer | None:
        step = steps[call]
        with self._changed:
            return self.tape.find(step.agent, step.kind, asked(steps, call))

    def _compare(self, steps: Sequence[Step], index: int) -> None:
        recorded = self.trace.steps
        step = steps[index]
        if index >= len(recorded):
            self.left_at = index
            if self._breaks_off:
                self.ended = ReplayEnded(f"The record breaks off after step {index - 1}.")
            elif self.strict:
                self._diverge(
                    f"The record ends with step {index - 1}; the replay goes on with a {step.kind} of "
                    f"{step.agent}.",
                    step=index, agent=step.agent, expected=NOTHING, got=f"{step.agent}'s {step.kind}",
                )  # fmt: skip
            return
        found = step_difference(recorded, steps, index)
        if found is None:
            return
        self.left_at = index
        if self.strict:
            one = found.difference
            self._diverge(
                f"The replay left the record at step {index} ({found.agent}, {found.kind}): {one.path} is "
                f"{shown(one.got, one.expected)}; the record has {shown(one.expected, one.got)}.",
                step=index, agent=found.agent, path=one.path, expected=one.expected, got=one.got,
                hint=self._advice(),
            )  # fmt: skip

    def _advice(self) -> str:
        if self._tools_answered:
            return (
                "Tools were answered from the record and not run: if what they do stays inside the process, "
                "replay with --live-tools."
            )
        return ""

    def _unanswered(self, steps: Sequence[Step], call: int) -> Divergence:
        step = steps[call]
        near = -1 if self.strict else self.tape.nearest(step.agent, step.kind)
        told = {"model_call": "model request", "tool_call": "tool call"}.get(step.kind, step.kind)
        if near < 0:
            self._diverge(
                f"The record has no further {told} of {step.agent}; step {call} cannot be answered.",
                step=call, agent=step.agent, expected=NOTHING, got=asked(steps, call),
                hint=self._hint,
            )  # fmt: skip
        else:
            one = value_difference(self.tape.asked(near), asked(steps, call))
            path, expected, got = (one.path, one.expected, one.got) if one else ("", NOTHING, NOTHING)
            self._diverge(
                f"The record has no answer to the {told} of {step.agent} at step {call}: nearest is that of "
                f"step {near}, where {path or 'it'} is {shown(expected, got)}, not {shown(got, expected)}.",
                step=call, agent=step.agent, path=path, expected=expected, got=got,
                hint=self._hint,
            )  # fmt: skip
        if self.divergence is None:  # _diverge has just set it
            raise AssertionError
        return self.divergence

    def _diverge(self, message: str, **where: Any) -> None:
        if self.divergence is None:
            self.divergence = Divergence(message, **where)

    def _stop(self, *, ended: bool = True) -> None:
        """Raise what ended this replay, if anything did: whoever goes on is told again."""
        if self.divergence is not None:
            raise self.divergence
        if ended and self.ended is not None:
            raise self.ended

    def _leave_over(self, position: int) -> None:
        """Stop an agent that would go on where the record says its run was cut short by another's end."""
        if position >= len(self.trace) and self._cut_short and self.left_at < 0:
            raise ReplayEnded("The run was cut short here while this agent was at work.")

    def _linger(self) -> None:
        """Wait for the end of the run, which came before this call was answered."""
        if asyncio._get_running_loop() is None:
            with self._changed:
                self._changed.wait_for(lambda: self._run_over or self.over, self._patience)
        raise ReplayEnded("The run was cut short here while this call waited for its answer.")

    def _is_next(self, position: int, agent: str, body: Body) -> bool:
        """Return whether this step may come at `position`: the record has it there, or nowhere ahead."""
        recorded = self.trace.steps
        if self.left_at >= 0:
            return True
        if position >= len(recorded):
            # Somebody's end cut the run short: whoever is not its cause was in the middle of something.
            alone = self._parallel > len(recorded) or not self._cut_short
            return alone or (self._cut_short == "budget" and body.kind == "model_call")
        ahead = recorded[position : position + _AHEAD]
        if self._is_like(ahead[0], agent, body):
            if self._struck(position, agent) or self._says(ahead[0], body):
                return True
            # One of several like it: each takes the place that the record has for its words.
            return not any(self._is_like(step, agent, body) and self._says(step, body) for step in ahead[1:])
        if self._struck(position, agent):  # it may have been swallowed here
            return True
        if self._cut_short == "budget" and body.kind == "model_call" and self._parallel <= position:
            return False  # the call too many: not before the others did what they did
        return not any(self._is_like(step, agent, body) for step in ahead[1:])

    def _may_enter(self, position: int, agent: str, request: dict[str, Any]) -> bool:
        """Return whether the step at `position` can come of this request; True when none ahead can."""
        recorded = self.trace.steps
        if self.left_at >= 0 or position >= len(recorded) or self._struck(position, agent):
            return True
        if self._stems_from(recorded[position], agent, request):
            return True
        ahead = recorded[position + 1 : position + _AHEAD]
        return not any(self._stems_from(step, agent, request) for step in ahead)

    def _stems_from(self, step: Step, agent: str, request: dict[str, Any]) -> bool:
        body = step.body
        if isinstance(body, Message):
            return body.via == "request" and agent in body.to and holds(request, said(step.value))
        if step.agent != agent:
            return False
        if step.kind == "model_call":
            return value_difference(self.tape.asked(step.step), request) is None
        return isinstance(body, Action) and bool(body.id) and holds(request, body.id)

    def _struck(self, position: int, agent: str) -> bool:
        return any(mark.agent == agent for mark in self.tape.struck.get(position, ()))

    @staticmethod
    def _is_like(step: Step, agent: str, body: Body) -> bool:
        if step.agent != agent or step.kind != body.kind:
            return False
        here = step.body
        if isinstance(here, Observation) and isinstance(body, Observation):
            return here.of == body.of
        if isinstance(here, Action) and isinstance(body, Action):
            return here.name == body.name and here.id == body.id
        return True

    def _says(self, step: Step, body: Body) -> bool:
        if isinstance(body, Observation):
            return True  # `of` has told
        if isinstance(body, Message):
            return bytes(step.payload) == bytes(body.content)
        if not isinstance(body, Action):
            return True
        if step.kind == "model_call":
            return value_difference(self.tape.asked(step.step), unpack(body.proposed)) is None
        return bytes(step.payload) == bytes(body.proposed)


__all__ = ["PATIENCE", "Player"]
