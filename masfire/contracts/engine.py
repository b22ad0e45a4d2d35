"""The engine: the same monitors judge a finished trace and a live step."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from masfire.contracts.model import Contract, StepVerdict, Verdict
from masfire.contracts.program import Compiled, Program
from masfire.contracts.reports import Findings
from masfire.contracts.runner import Runner
from masfire.contracts.saved import dump, load
from masfire.contracts.tables import Moment
from masfire.contracts.view import RESULT_KINDS, View, name_of
from masfire.errors import UsageError
from masfire.trace.model import Action, Step, Trace

MAX_CALLS = 65_536
"""Most actions whose arguments are remembered for their results."""

MAX_CAUSAL = 50_000
"""Most steps for which contracts in causal order are judged (their histories are sets of steps)."""

MAX_CLASSES = 16_384
"""Most pairs of kind and name whose contracts are looked up once only."""

_CALLING = frozenset({"tool_call", "memory_read", "memory_write", "delegation", "termination"})
"""Kinds of actions whose results may be asked for their arguments."""

_programs: dict[int, tuple[Contract, Program]] = {}


def program_of(contract: Contract) -> Program:
    """Return the contract made ready to run; made once for each contract object."""
    known = _programs.get(id(contract))
    if known is not None and known[0] is contract:
        return known[1]
    program = Program(contract)
    if len(_programs) > 4096:
        _programs.clear()
    _programs[id(contract)] = (contract, program)
    return program


class _Class:
    """What steps of one kind and name wake."""

    __slots__ = ("answers", "bounded", "constant", "count", "idle", "remembers", "sees", "slow", "woken")

    def __init__(self, runners: Sequence[Runner], kind: str, name: str, *, journal: bool) -> None:
        self.woken: list[tuple[Runner, Any, Any]] = []
        self.idle: list[Runner] = []
        self.bounded: list[Runner] = []
        self.sees = False
        for runner in runners:
            found: Compiled = runner.program.compiled(kind, name, journal)
            if found.step is None:
                if found.passes:
                    self.idle.append(runner)
                continue
            waiting = runner.obligations.waiting if found.answers else None
            self.woken.append((runner, found.step, waiting))
            self.sees = self.sees or found.sees
            if runner.obligations.bounded:
                self.bounded.append(runner)
        self.constant = tuple(runner.passed for runner in self.idle)
        self.answers = kind in RESULT_KINDS
        self.remembers = kind in _CALLING
        self.slow = False
        self.count = 0


class Engine:
    """Judges the steps of one run by contracts, as they come.

    Raise UsageError for a contract that cannot be monitored. Times never go back: a step's time is the
    latest so far.
    """

    def __init__(self, contracts: Sequence[Contract]) -> None:
        self.contracts = tuple(contracts)
        self._moment = Moment()
        self._runners = [Runner(program_of(contract), self._moment) for contract in self.contracts]
        self._bounded = [runner for runner in self._runners if runner.obligations.bounded]
        self._retiring = [runner for runner in self._runners if runner.contract.retire is not None]
        self._causal = any(runner.program.causal for runner in self._runners)
        self._classes: dict[tuple[str, str], _Class] = {}
        self._peeks: dict[tuple[str, str], _Class] = {}
        self._calls: OrderedDict[int, Step] = OrderedDict()
        self._remembers = any(runner.program.asks_arguments for runner in self._runners)
        self._agents: dict[str, int] = {}
        self._time = -math.inf
        self._last: Step | None = None
        self._last_call: Step | None = None
        self._swept = [runner for runner in self._runners if runner.sweep_at < math.inf]
        self._due_step = self._due_time = self._sweep_at = math.inf
        self._aim_sweep()
        self._ended = False

    # Steps

    def commit(self, step: Step) -> tuple[StepVerdict, ...]:
        """Return the verdicts of woken contracts; the step is now history."""
        body: Any = step.body
        kind = body.kind
        time, index = step.time, step.step
        if time < self._time:
            time = self._time
        else:
            self._time = time
        name = body.name if type(body) is Action else name_of(step)
        try:
            entry = self._classes[kind, name]
        except KeyError:
            entry = self._class(kind, name)
        entry.count += 1
        self._last = step
        late: dict[int, Findings] | None = None
        if index > self._due_step or time > self._due_time:
            late = self._overdue(index, time)
        if entry.slow or late:
            return self._commit_slowly(step, entry, time, late)
        woken = entry.woken
        if not woken:
            return entry.constant
        # The usual case: generated functions, which mostly ask for nothing but the step's index.
        moment = self._moment
        moment.index, moment.time = index, time
        view = View(step, None, time, kind, name) if entry.sees else None
        said: list[StepVerdict] | None = None
        for runner, function, waiting in woken:
            if waiting is not None and not waiting:
                continue  # it could only answer, and nothing waits
            if runner.keyed:
                verdict = self._judged(runner, function, view, None, commit=True)
            else:
                try:
                    result = function(runner.state, view, moment, None)
                    if result is False:
                        continue
                    if result is True:
                        runner.applied += 1
                        verdict = runner.passed
                    else:
                        if view is None:
                            view = View(step, None, time, kind, name)
                        verdict = runner.weighed(result, runner.state, view, (), None, commit=True)
                except Exception as error:  # a contract that raises has not judged
                    verdict = runner.failed(error, commit=True)
            if verdict is not None:
                if said is None:
                    said = [verdict]
                else:
                    said.append(verdict)
        if entry.bounded:
            self._aim(entry)
        return entry.constant if said is None else (*entry.constant, *said)

    def _judged(
        self, runner: Runner, function: Any, view: Any, found: Findings | None, *, commit: bool
    ) -> StepVerdict | None:
        try:
            return runner.step(function, view, found, commit=commit)
        except Exception as error:  # a contract that raises has not judged
            return runner.failed(error, commit=commit)

    def _commit_slowly(
        self, step: Step, entry: _Class, time: float, late: dict[int, Findings] | None
    ) -> tuple[StepVerdict, ...]:
        """Judge a step of which more must be known: results, deadlines, causal order, keys that retire."""
        call: Step | None = None
        if entry.answers:
            self._last_call = call = self._calls.pop(getattr(step.body, "of", -1), None)
        elif entry.remembers and self._remembers:
            self._remember(step)
        view = View(step, call, time)
        said: list[StepVerdict] = []
        moment, index = self._moment, step.step
        moment.index, moment.time = index, time
        if self._causal:
            history = self._history(step)
            moment.now = history | 1 << index
        for runner, function, _ in entry.woken:
            if runner.program.causal and index >= MAX_CAUSAL:
                said.append(runner.failed(_too_long(), commit=True))
                continue
            found = late.pop(id(runner), None) if late else None
            verdict = self._judged(runner, function, view, found, commit=True)
            if verdict is not None:
                said.append(verdict)
        if late:
            said += self._left(late)
        if self._causal and index < MAX_CAUSAL:
            self._keep(view, history)
        if self._bounded:
            self._aim()
        for runner in self._retiring:
            runner.forget(index, time)
        return (*entry.constant, *said)

    def _keep(self, view: View, history: int) -> None:
        """Keep a step for those that it will have caused."""
        moment, index = self._moment, view.index
        while len(moment.ancestors) < index:
            moment.ancestors.append(0)
            moment.times.append(view.time)
            moment.views.append(None)
        moment.ancestors.append(history)
        moment.times.append(view.time)
        moment.views.append(view)
        self._agents[view.step.agent] = index

    def _history(self, step: Step) -> int:
        """Return the causal ancestors of a step as a mask: parents and the same agent's step before."""
        ancestors, mask = self._moment.ancestors, 0
        before = self._agents.get(step.agent, -1)
        for parent in (*step.parents, before):
            if 0 <= parent < step.step and parent < len(ancestors):
                mask |= ancestors[parent] | 1 << parent
        return mask

    def peek(self, step: Step) -> tuple[StepVerdict, ...]:
        """Return what `commit` would say; nothing changes."""
        key = (step.kind, name_of(step))
        entry = self._peeks.get(key)
        if entry is None:
            entry = _Class(self._runners, *key, journal=True)
            if len(self._peeks) < MAX_CLASSES:
                self._peeks[key] = entry
        time = max(step.time, self._time)
        call = self._calls.get(getattr(step.body, "of", -1)) if key[0] in RESULT_KINDS else None
        view = View(step, call, time)
        self._moment.index, self._moment.time = step.step, time
        if self._causal:
            self._moment.now = self._history(step) | 1 << step.step
        said: list[StepVerdict] = []
        for runner, function, _ in entry.woken:
            if runner.program.causal and step.step >= MAX_CAUSAL:
                said.append(runner.failed(_too_long(), commit=False))
                continue
            late = runner.overdue(step.step, time, commit=False) if runner.obligations.bounded else None
            verdict = self._judged(runner, function, view, late, commit=False)
            if verdict is not None:
                said.append(verdict)
        woken = dict.fromkeys(runner for runner, *_ in entry.woken)
        for runner in self._bounded:  # last, as `commit` says it
            if runner not in woken:
                verdict = runner.told(runner.overdue(step.step, time, commit=False), False)
                said += [verdict] if verdict is not None else []
        return (*entry.constant, *said)

    def _class(self, kind: str, name: str) -> _Class:
        entry = _Class(self._runners, kind, name, journal=False)
        entry.slow = (
            self._causal or bool(self._retiring) or entry.answers or (entry.remembers and self._remembers)
        )
        if len(self._classes) >= MAX_CLASSES:
            self._settle_counts()
            self._classes.clear()
        self._classes[(kind, name)] = entry
        return entry

    def _remember(self, step: Step) -> None:
        if len(self._calls) >= MAX_CALLS:
            self._calls.popitem(last=False)
        self._calls[step.step] = step

    def _overdue(self, index: int, time: float) -> dict[int, Findings]:
        late: dict[int, Findings] = {}
        if index > self._sweep_at:
            for runner in self._swept:
                if index > runner.sweep_at:
                    runner.sweep(index, time)
            self._aim_sweep()
        for runner in self._bounded:
            due = runner.obligations
            if index > due.due_step or time > due.due_time:
                found = runner.overdue(index, time, commit=True)
                if found is not None:
                    late[id(runner)] = found
        self._aim()
        return late

    def _left(self, late: dict[int, Findings]) -> list[StepVerdict]:
        """Return what passed deadlines say of contracts that the step did not wake."""
        said = []
        for runner in self._bounded:
            if id(runner) in late:
                verdict = runner.told(late[id(runner)], True)
                said += [verdict] if verdict is not None else []
        return said

    def _aim_sweep(self) -> None:
        self._sweep_at = min((runner.sweep_at for runner in self._swept), default=math.inf)
        self._aim()

    def _aim(self, entry: _Class | None = None) -> None:
        """Find when the next deadline is, after a step of a class (None: anything may have changed)."""
        step, time, runners = self._sweep_at, math.inf, self._bounded
        if entry is not None and len(runners) > 1:  # it may still be too early, never too late
            step, time, runners = self._due_step, self._due_time, entry.bounded
        for runner in runners:
            due = runner.obligations
            if due.due_step < step:
                step = due.due_step
            if due.due_time < time:
                time = due.due_time
        self._due_step, self._due_time = step, time

    # Verdicts

    def end(self, status: str) -> tuple[StepVerdict, ...]:
        """Settle what is pending: the run ended (`completed`, `error`, `budget`, …). Idempotent."""
        if self._ended:
            return ()
        self._ended = True
        view = self._last_view()
        said = [
            runner.end(0 if self._last is None else self._last.step + 1, status, view)
            for runner in self._runners
        ]
        return tuple(verdict for verdict in said if verdict is not None)

    def verdicts(self) -> tuple[Verdict, ...]:
        """Return one verdict a contract, in order, of the steps so far."""
        self._settle_counts()
        view = self._last_view()
        return tuple(runner.verdict(0, view) for runner in self._runners)

    def _last_view(self) -> View | None:
        return None if self._last is None else View(self._last, self._last_call, self._time)

    def _settle_counts(self) -> None:
        """Count the steps that contracts passed without being woken."""
        for entry in self._classes.values():
            for runner in entry.idle:
                runner.applied += entry.count
            entry.count = 0

    # State

    def save(self) -> bytes:
        """Return the whole state as JSON; `restore` with the same contracts continues from it."""
        self._settle_counts()
        moment = self._moment
        state = {
            "masfire": "engine/v1",
            "time": self._time,
            "ended": self._ended,
            "last": self._last,
            "last_call": self._last_call,
            "calls": dict(self._calls),
            "agents": self._agents,
            "moment": [moment.ancestors, moment.times, moment.views, moment.now],
            "runners": [runner.save() for runner in self._runners],
        }
        return msgspec.json.encode(dump(state))

    @classmethod
    def restore(cls, contracts: Sequence[Contract], saved: bytes) -> Engine:
        """Return an engine that goes on where `save` was called; raise UsageError for another's state."""
        engine = cls(contracts)
        try:
            state = load(msgspec.json.decode(saved))
            names = [entry["contract"] for entry in state["runners"]]
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"This is no saved state of an engine: {error}.") from None
        if names != [contract.id for contract in engine.contracts]:
            raise UsageError(
                f"The saved state is of other contracts: {', '.join(names) or 'none'}.",
                hint="Restore with the contracts that it was saved with, in their order.",
            )
        engine._time, engine._ended = state["time"], state["ended"]
        engine._last, engine._last_call = state["last"], state["last_call"]
        engine._calls, engine._agents = OrderedDict(state["calls"]), state["agents"]
        moment = engine._moment
        moment.ancestors, moment.times, moment.views, moment.now = state["moment"]
        for runner, inner in zip(engine._runners, state["runners"], strict=True):
            runner.restore(inner)
        engine._aim_sweep()
        return engine


def _too_long() -> Exception:
    return OverflowError(f"causal order is judged for at most {MAX_CAUSAL} steps")


def judge(trace: Trace, contracts: Sequence[Contract]) -> tuple[Verdict, ...]:
    """Return the verdicts of a recorded run: the same engine over all steps, then the end.

    A trace without an end leaves what is pending pending. The hidden truth is not looked at.
    """
    engine = Engine(contracts)
    commit = engine.commit
    for step in trace.steps:
        commit(step)
    if trace.end is not None:
        engine.end(trace.end.status)
    return engine.verdicts()
