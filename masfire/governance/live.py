"""The runs that are under way: which one a context belongs to, what each has used, when it ends."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from masfire.errors import UsageError
from masfire.governance.history import History
from masfire.governance.interceptor import RecordedHistory
from masfire.governance.lineage import LineageGuard
from masfire.governance.policy import Policy
from masfire.governance.refusals import refuse
from masfire.governance.ruling import Refusal
from masfire.governance.runs import RunState

P = ParamSpec("P")
R = TypeVar("R")

MAX_RUNS = 100_000
"""Live runs a governor keeps; more are blocked, because forgetting one would renew its budget."""

RUN: ContextVar[str] = ContextVar("masfire_governed_run", default="")
WITHIN: ContextVar[bool] = ContextVar("masfire_governed_within", default=False)
AGENT: ContextVar[str] = ContextVar("masfire_governed_agent", default="")


class LiveRuns:
    """Guards the states of all runs; a governor is one."""

    def __init__(self, policy: Policy, guard: LineageGuard | None) -> None:
        self.policy, self.guard = policy, guard
        self._judged = bool(policy.contracts) or policy.retries
        self._states: dict[str, RunState] = {}
        self._inside: dict[str, int] = {}
        self._over: dict[str, None] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def run(self, run: str = "", *, status: str = "completed") -> Iterator[str]:
        """Make `run` (empty: a new one) the run that counts in this context, and end it afterwards.

        Inside another run's block the outer run goes on to count: a nested agent gets no new budget. A
        task takes its run along; a thread or a pool's worker only by `carry`, and is blocked without.
        """
        outer = RUN.get()
        if outer:
            yield outer
            return
        run = run or uuid.uuid4().hex
        token = RUN.set(run)
        self.enter(run)
        try:
            yield run
        finally:
            RUN.reset(token)
            self.leave(run, status)

    def carry(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return `function` as it acts here: in this context's run and agent, whatever thread calls it.

        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from masfire.governance import Governor, Policy
        >>> governor = Governor(Policy())
        >>> with governor.run("today"), ThreadPoolExecutor() as pool:
        ...     pool.submit(governor.carry(governor.current_run)).result()
        'today'
        """
        context = contextvars.copy_context()

        @functools.wraps(function)
        def carried(*args: P.args, **kwargs: P.kwargs) -> R:
            return context.copy().run(function, *args, **kwargs)  # one copy a call: calls may overlap

        return carried

    def current_run(self) -> str:
        """Return the run of this context, or empty."""
        return RUN.get()

    def enter(self, run: str) -> None:
        """Begin a run, or join it; each `enter` needs its `leave`."""
        with self._lock:
            self._inside[run] = self._inside.get(run, 0) + 1
            self._over.pop(run, None)

    def leave(self, run: str, status: str = "completed") -> None:
        """Leave a run; who leaves it last ends it."""
        with self._lock:
            self._inside[run] -= 1
            last = not self._inside[run]
            if last:
                del self._inside[run]
        if last:
            self.end(run, status)

    def recorded(self, run: str) -> RecordedHistory | None:
        """Begin a run whose history is its record; return that history when contracts need one."""
        history = RecordedHistory(self.policy) if self._judged else None
        with self._lock:
            if run in self._states:
                raise UsageError(f"Run {run!r} is governed already.", hint="Give each run an id of its own.")
            self._over.pop(run, None)
            self._states[run] = RunState(self.policy, history)
        return history

    @contextlib.contextmanager
    def inside(self, run: str, agent: str = "") -> Iterator[None]:
        """Join a run in this context (and act as `agent`) without ending it; an outer run wins.

        What happens inside is an agent's doing: `nested` is true there.
        """
        within = WITHIN.set(True)
        joined = RUN.set(RUN.get() or run)
        named = AGENT.set(agent or AGENT.get())
        try:
            yield
        finally:
            AGENT.reset(named)
            RUN.reset(joined)
            WITHIN.reset(within)

    def nested(self) -> bool:
        """Return whether this context is inside an agent's action: who speaks here is not the user."""
        return WITHIN.get()

    @contextlib.contextmanager
    def acting(self, agent: str) -> Iterator[None]:
        """Name the agent that acts in this context."""
        token = AGENT.set(agent)
        try:
            yield
        finally:
            AGENT.reset(token)

    def end(self, run: str, status: str = "completed") -> tuple[Any, ...]:
        """Forget a run (its budgets with it); return the final verdicts of its contracts.

        What is proposed in it later, by a thread that was left behind, is blocked until the run is
        entered again.
        """
        with self._lock:
            state = self._states.pop(run, None)
            if self.guard is not None:
                self.guard.forget(run)
            self._over[run] = None
            if len(self._over) > MAX_RUNS:
                del self._over[next(iter(self._over))]
        if state is None:
            return ()
        state.closed = _over(run)  # for who has found it already and waits for its lock
        if state.history is None:
            return ()
        with state.held(self.policy.seconds):
            return state.history.end(status)

    def state_of(self, run: str) -> RunState:
        """Return the state of a run, made when it is new; raise Refusal when there are too many."""
        found = self._states.get(run)
        if found is not None:
            return found
        with self._lock:
            found = self._states.get(run)
            if found is None:
                if run in self._over:
                    raise _over(run)
                if len(self._states) >= MAX_RUNS:
                    raise refuse("budget:runs", f"{MAX_RUNS} runs are live; end some.", "budget")
                history = History(self.policy) if self._judged else None
                found = self._states[run] = RunState(self.policy, history)
            return found


def _over(run: str) -> Refusal:
    return refuse("run-over", f"Run {run!r} has ended.", "budget")


def runless(per_run: tuple[str, ...]) -> Refusal:
    """Return the Refusal of an action in no run, by a policy whose fields `per_run` count within one."""
    reason = f"No run is open here, and the policy's {', '.join(per_run)} hold for one run."
    action = (
        "open one by `with governor.run():`, take it to a thread by governor.carry(function), "
        "or let all that has none share one for good: Governor(policy, run='service')"
    )
    return refuse("run:none", reason, "internal", action=action)
