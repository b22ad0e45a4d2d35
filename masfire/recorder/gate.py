"""The one gate: every step passes the interceptors here before it is written down."""

from __future__ import annotations

import inspect
import os
import threading
import time
import warnings
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from masfire.errors import BudgetExceeded, RecordingError, UsageError
from masfire.recorder.acting import ASIDE, PRODUCED
from masfire.recorder.protocols import Interceptor, PerRun, Sink, Witness
from masfire.trace.context import ContextTable
from masfire.trace.model import (
    Action,
    Body,
    Decision,
    Drawn,
    End,
    Header,
    Injection,
    Observation,
    Original,
    Step,
    Trace,
)
from masfire.trace.payload import Payload, pack, pack_or_refuse

if TYPE_CHECKING:
    from masfire.recorder.player import Player


class Budget(msgspec.Struct, frozen=True):
    """What one run may use up before masfire stops it; 0 means unlimited.

    Dropped or circling messages make agents ask forever, so every run has a budget of its own.
    """

    steps: int = 100_000
    calls: int = 2_000
    seconds: float = 0.0


class Recorder:
    """Guards one run's step sequence: interceptors first, then the record.

    Thread-safe. `submit` returns the visible steps that were recorded in place of the one offered:
    what the adapter must now really deliver. Payloads in them are not redacted; those in `steps` are.
    When the sink cannot write (a full disk), `on_full="raise"` stops the system under test with
    RecordingError; "warn" warns once and lets it go on: steps that could not be written bear the index
    -1 and are counted in `notes["unrecorded"]`. `prior` is what an interrupted run had recorded, `replay` the
    record that this run repeats.
    """

    def __init__(
        self,
        header: Header,
        *,
        sink: Sink | None = None,
        interceptors: Sequence[Interceptor | PerRun] = (),
        witnesses: Sequence[Witness] = (),
        budget: Budget | None = None,
        clock: Callable[[], float] = time.time,
        on_full: str = "raise",
        prior: Trace | None = None,
        replay: Player | None = None,
    ) -> None:
        if on_full not in ("raise", "warn"):
            raise UsageError(f"on_full={on_full!r} is unknown.", hint="Use 'raise' or 'warn'.")
        self.header = header
        self.budget = budget or Budget()
        self.steps: list[Step] = list(prior.steps) if prior else []
        self.injections: list[Step] = list(prior.injections) if prior else []
        self.originals: list[Original] = list(prior.originals) if prior else []
        self.draws: list[Drawn] = list(prior.draws) if prior else []
        self.records_draws = False
        """Whether what the system's own code draws from chance and clock is recorded."""
        self.replay = replay
        self.calls = 0
        self.notes: dict[str, Any] = {}
        """Per-run state of adapters, keyed by adapter name."""
        self._sink = sink
        # One that keeps state of a run (a governor) says what serves this run.
        self._interceptors = tuple(
            one.for_run(header) if hasattr(one, "for_run") else one for one in interceptors
        )
        self._witnesses = tuple(witnesses)
        self._clock = clock
        self._lock = threading.RLock()
        self._context = ContextTable()
        self._started = time.monotonic()
        self._end: End | None = None
        self._on_full = on_full
        _recorders.add(self)

    @property
    def finished(self) -> bool:
        """Return whether `finish` was called; a finished recorder records nothing more."""
        return self._end is not None

    @property
    def has_interceptors(self) -> bool:
        """Return whether anybody may change steps or make them wait; if not, adapters need not buffer."""
        return bool(self._interceptors) or self.replay is not None

    @property
    def watched(self) -> bool:
        """Return whether witnesses want to know what receivers get; if not, adapters skip that work."""
        return bool(self._witnesses)

    def submit(
        self, agent: str, body: Body, *, role: str = "", parents: tuple[int, ...] = ()
    ) -> tuple[Step, ...]:
        """Pass one step through the gate; return what was recorded in its place.

        Raise BudgetExceeded when the run has used up its budget, RecordingError when the step cannot
        be written down, and whatever an interceptor raises.
        """
        if parents and parents[0] < 0:  # a cause that was not recorded
            parents = tuple(parent for parent in parents if parent >= 0)
        if self.replay is not None:
            self.replay.turn(self.steps, agent, body)
        with self._lock:
            self._spend(body)
            if not self._interceptors:
                return (self._commit(Step(len(self.steps), self._clock(), agent, body, role, parents)),)
            offered = Step(len(self.steps), self._clock(), agent, body, role, parents)
            recorded: list[Step] = []
            self._descend(offered, 0, recorded)
            return _deliverable(body, recorded)

    async def asubmit(
        self, agent: str, body: Body, *, role: str = "", parents: tuple[int, ...] = ()
    ) -> tuple[Step, ...]:
        """Like `submit`, for interceptors that wait. No lock is held while one does.

        When other steps were recorded meanwhile, the waiting interceptor is asked again before its
        answer is committed; after three rounds its last answer stands.
        """
        if parents and parents[0] < 0:
            parents = tuple(parent for parent in parents if parent >= 0)
        if self.replay is not None:
            await self.replay.aturn(self.steps, agent, body)
        with self._lock:
            self._spend(body)
            offered = Step(len(self.steps), self._clock(), agent, body, role, parents)
        recorded: list[Step] = []
        todo = [(offered, 0)]
        while todo:
            with self._lock:
                waiting = self._advance(todo, recorded)
            if waiting is not None:
                replacement = await self._awaited(*waiting)
                todo += [(item, waiting[1] + 1) for item in reversed(replacement)]
        return _deliverable(body, recorded)

    def received(self, index: int, content: Any, *, by: str) -> None:
        """Tell the witnesses what the receiving side `by` really got of step `index`."""
        if not self._witnesses:
            return
        with self._lock:
            for witness in self._witnesses:
                marks = witness.received(index, content, by) or ()
                for mark in (marks,) if isinstance(marks, Step) else marks:
                    self._mark(mark)

    def mark(self, injection: Step) -> None:
        """Write down a piece of ground truth outside any submission (a final state)."""
        with self._lock:
            self._mark(injection)

    def keep(self, call: int, body: Payload) -> None:
        """Write down the whole reply to the model call at step `call`, for a replay."""
        with self._lock:
            if 0 <= call < len(self.steps):
                self._keep(Original(call, body), self.originals)

    def drawn(self, source: str, agent: str, draw: Callable[[], Any]) -> Any:
        """Return what `draw` gives, written down; in a replay what it gave before."""
        if self._end is not None:
            return draw()
        found = self.replay.drawn(source, agent) if self.replay is not None else None
        value = draw() if found is None else found
        with self._lock:
            self._keep(Drawn(source, agent, pack(value)), self.draws)
        return value

    def _keep(self, kept: Any, where: list[Any]) -> None:
        if self._end is not None or self.header.privacy == "content-off":
            return
        if self._sink is not None:
            try:
                kept = self._sink.keep(kept)
            except RecordingError as failure:
                self._missed(failure)
                return
        where.append(kept)

    def finish(
        self, status: str, *, error: str = "", answer: Any = None, success: bool | None = None
    ) -> Trace:
        """End the run, close the sink, return the trace. Calling it again returns the same trace."""
        with self._lock:
            if self._end is None:
                packed = pack_or_refuse(answer)
                seconds = time.monotonic() - self._started
                self._end = End(status, error, packed, success, len(self.steps), seconds)
                if self._sink is not None:
                    # What is told of a run must hold no more than its record: errors quote keys.
                    self._end = self._close(self._sink, self._end) or self._end
            return self.trace()

    def trace(self) -> Trace:
        """Return the run so far as a value."""
        with self._lock:
            steps, hidden = tuple(self.steps), tuple(self.injections)
            kept = tuple(self.originals), tuple(self.draws)
            return Trace(self.header, steps, hidden, self._end, *kept)

    def _descend(self, step: Step, level: int, recorded: list[Step]) -> None:
        if isinstance(step.body, Injection):
            self._mark(step)
            return
        if level == len(self._interceptors):
            recorded.append(self._commit(self._renumber(step)))
            return
        token = ASIDE.set(True)
        try:
            replacement = self._interceptors[level](self._renumber(step), self.steps)
        finally:
            ASIDE.reset(token)
        if inspect.isawaitable(replacement):
            if inspect.iscoroutine(replacement):
                replacement.close()
            raise TypeError("An interceptor that waits needs asubmit; this step came through submit.")
        for item in replacement:
            self._descend(item, level + 1, recorded)

    def _advance(
        self, todo: list[tuple[Step, int]], recorded: list[Step]
    ) -> tuple[Step, int, Awaitable[Sequence[Step]], int] | None:
        """Work off `todo`, a stack of (step, level), until it is empty or an interceptor has to wait.

        What needs no waiting is recorded under one hold of the lock, so that the index which an
        interceptor was shown is the one its step gets.
        """
        while todo:
            step, level = todo.pop()
            if isinstance(step.body, Injection):
                self._mark(step)
            elif level == len(self._interceptors):
                recorded.append(self._commit(self._renumber(step)))
            else:
                known = len(self.steps)
                answer = self._ask(step, level)
                if inspect.isawaitable(answer):
                    return step, level, answer, known
                todo += [(item, level + 1) for item in reversed(answer)]
        return None

    def _ask(self, step: Step, level: int) -> Sequence[Step] | Awaitable[Sequence[Step]]:
        token = ASIDE.set(True)
        try:
            return self._interceptors[level](self._renumber(step), self.steps)
        finally:
            ASIDE.reset(token)

    async def _awaited(
        self, step: Step, level: int, answer: Awaitable[Sequence[Step]], known: int
    ) -> Sequence[Step]:
        """Return the answer of a waiting interceptor, asked again while other steps were recorded."""
        for rounds in range(3):
            token = ASIDE.set(True)
            try:
                replacement = await answer
            finally:
                ASIDE.reset(token)
            if len(self.steps) == known or rounds == 2:
                return replacement
            with self._lock:
                known = len(self.steps)
                again = self._ask(step, level)
            if not inspect.isawaitable(again):
                return again
            answer = again
        return replacement

    def _renumber(self, step: Step) -> Step:
        if step.step == len(self.steps):
            return step
        return msgspec.structs.replace(step, step=len(self.steps))

    def _commit(self, step: Step) -> Step:
        if self.replay is not None:
            step = self.replay.settled(step)
        stored = step
        body = step.body
        if isinstance(body, Action) and body.kind == "model_call":
            stored = step.with_payload(self._context.shorten(body.proposed, step.step))
        if self._sink is not None:
            written = self._write(self._sink, stored)
            if written is None:
                return msgspec.structs.replace(step, step=-1)
            stored = written
        self.steps.append(stored)
        if isinstance(body, Observation):
            produced = PRODUCED.get()
            if produced is not None:
                produced.append(step.step)
        if self.replay is not None:
            self.replay.check(self.steps)
        return step

    def _mark(self, injection: Step) -> None:
        stored = injection if self._sink is None else self._write(self._sink, injection)
        if stored is not None:
            self.injections.append(stored)

    def _write(self, sink: Sink, step: Step) -> Step | None:
        """Return the step as stored, or None when it could not be and the run goes on regardless."""
        try:
            return sink.write(step)
        except RecordingError as failure:
            self._context.forget(step.step)
            self._missed(failure)
            return None

    def _close(self, sink: Sink, end: End) -> End | None:
        try:
            return sink.close(end)
        except RecordingError as failure:
            self._missed(failure)
            return None

    def _missed(self, failure: RecordingError) -> None:
        missed = self.notes["unrecorded"] = self.notes.get("unrecorded", 0) + 1
        if self._on_full == "raise":
            raise failure
        if missed == 1:
            warnings.warn(f"{failure} The run goes on unrecorded.", RuntimeWarning, stacklevel=5)

    def _spend(self, body: Body) -> None:
        if self._end is not None:
            raise BudgetExceeded(f"Run {self.header.run} is over; nothing more can be recorded in it.")
        budget = self.budget
        if isinstance(body, Action) and body.kind == "model_call":
            self.calls += 1
            if budget.calls and self.calls > budget.calls:
                self._exhausted("model calls", budget.calls)
        if budget.steps and len(self.steps) >= budget.steps:
            self._exhausted("steps", budget.steps)
        if budget.seconds and time.monotonic() - self._started > budget.seconds:
            self._exhausted("seconds", budget.seconds)

    def _exhausted(self, what: str, limit: float) -> None:
        self.notes["budget"] = f"{limit:g} {what}"
        raise BudgetExceeded(
            f"Run {self.header.run} used up its budget of {limit:g} {what}.",
            hint="Raise `budget` in the plan or the marker if the system needs more.",
        )


def _deliverable(body: Body, recorded: Sequence[Step]) -> tuple[Step, ...]:
    """Return what the adapter must deliver: a decision about a step is no step to carry out."""
    if isinstance(body, Decision):
        return tuple(recorded)
    return tuple(step for step in recorded if not isinstance(step.body, Decision))


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _fresh_locks() -> None:
    for recorder in list(_recorders):  # a thread of the parent may have held the lock at the fork
        recorder._lock = threading.RLock()
        own = len(recorder.steps)  # and have written a step that this process does not know
        recorder._context.forget(own)
        if isinstance(getattr(recorder._sink, "steps", None), int):
            recorder._sink.steps = own  # type: ignore[union-attr]


os.register_at_fork(after_in_child=_fresh_locks)
