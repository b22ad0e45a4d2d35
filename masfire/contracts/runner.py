"""One contract over one run: its state, what it found so far, and what it says of a step."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from masfire.contracts.assemble import (
    ANSWER,
    FAIL,
    MAYBE_ANSWER,
    MAYBE_OPEN,
    MAYBE_WHEN,
    OPEN,
    RETIRED,
    UNKNOWN,
    WHEN,
)
from masfire.contracts.explain import Explanation
from masfire.contracts.model import (
    Custom,
    Judge,
    Payload,
    Status,
    StepStatus,
    StepVerdict,
    Verdict,
)
from masfire.contracts.program import Program
from masfire.contracts.reports import Findings
from masfire.contracts.settle import Settling
from masfire.contracts.sweep import PERIOD
from masfire.contracts.tables import Moment, undo
from masfire.contracts.values import Absence, freeze
from masfire.contracts.view import View


class Runner(Settling):
    """The monitors of one contract over one run."""

    def __init__(self, program: Program, moment: Moment) -> None:
        super().__init__(program, moment)
        self.passed = StepVerdict(self.contract.id, StepStatus.PASS)
        self.touched: dict[Any, tuple[int, float]] = {}
        self.inconclusive = 0
        self.causes: Counter[str] = Counter()
        useful = program.sweeper.useful or (self.keyed and not program.causal)
        self.sweep_at: float = PERIOD if useful else math.inf

    # One step

    def key_of(self, view: View) -> Any:
        """Return the key of the slice that a step belongs to; None when it belongs to none."""
        found = []
        for path in self.program.key:
            value = freeze(view.get(path))
            if type(value) is Absence:
                return None
            found.append(value)
        return found[0] if len(found) == 1 else tuple(found)

    def step(
        self, function: Any, view: View, findings: Findings | None, *, commit: bool
    ) -> StepVerdict | None:
        """Return what a woken contract says of a step; `findings` holds what deadlines said already."""
        journal: list[Any] | None = None if commit else []
        key: Any = ()
        state = self.state
        if self.keyed:
            key = self.key_of(view)
            if key is None:
                return self.told(findings, commit)
            state = self._slice(key, view, commit)
        result = function(state, view, self.moment, journal)
        try:
            if result is False:
                return self.told(findings, commit)
            return self.weighed(result, state, view, key, findings, commit=commit)
        finally:
            if journal:
                undo(journal)

    def weighed(
        self, result: Any, state: list[Any], view: View, key: Any, findings: Findings | None, *, commit: bool
    ) -> StepVerdict | None:
        """Return the verdict of what generated code found."""
        if findings is None:
            if result is True:
                self.applied += commit
                return self.passed
            if len(result) == 1 and result[0][1] in (OPEN, ANSWER):
                return self._responded(result[0], view, key, commit=commit)
            if len(result) == 1 and result[0][1] == WHEN:
                return self._asked(result[0][0], view, key, commit=commit)
            findings = Findings()
        if result is True:
            findings.passed = True
        else:
            self._weigh(result, state, view, key, findings, commit=commit)
        return self.told(findings, commit)

    def told(self, findings: Findings | None, commit: bool) -> StepVerdict | None:
        """Return the verdict of findings, counted when the step is committed."""
        if findings is None:
            return None
        verdict = findings.verdict(self.contract.id)
        if commit and verdict is not None:
            self._count(verdict)
        return verdict

    def failed(self, error: Exception, *, commit: bool) -> StepVerdict:
        """Return an inconclusive verdict: the contract could not be judged at this step."""
        cause = f"raised {type(error).__name__}: {error}"[:300]
        verdict = StepVerdict(self.contract.id, StepStatus.INCONCLUSIVE, (), cause)
        if commit:
            self._count(verdict)
        return verdict

    def overdue(self, index: int, time: float, *, commit: bool) -> Findings | None:
        """Return what deadlines that passed before this step say."""
        late = self.obligations.overdue(index, time, commit=commit)
        if not late:
            return None
        findings = Findings()
        for obligation in late:
            self._broken(obligation, index, findings, "was not answered in time")
        return findings

    def _count(self, verdict: StepVerdict) -> None:
        if verdict.status is StepStatus.INCONCLUSIVE:
            self.inconclusive += 1
            self.causes[verdict.cause] += 1
            return
        self.applied += 1
        self.violations += verdict.violations
        if verdict.cause:
            self.causes[verdict.cause] += 1

    def _slice(self, key: Any, view: View, commit: bool) -> list[Any]:
        state = self.slices.get(key)
        if state is None:
            state = self.program.fresh()
            if commit:
                self.slices[key] = state
        if commit and self.contract.retire is not None:
            self.touched.pop(key, None)
            self.touched[key] = (view.index, view.time)
        return state

    def _weigh(
        self, found: list[Any], state: list[Any], view: View, key: Any, findings: Findings, *, commit: bool
    ) -> None:
        seen: set[Any] = set()
        unsure: dict[int, tuple[Any, ...]] = {}
        sure: set[int] = set()
        for entry in found:
            number, code, values = entry
            if code == FAIL:
                if entry not in seen:
                    seen.add(entry)
                    findings.violations.append(self._violation(number, state, view, key, values))
            elif code == UNKNOWN:
                unsure.setdefault(number, values)
            elif code == RETIRED:
                if commit:
                    self.retire(key, "retired")
            elif code in (ANSWER, MAYBE_ANSWER, OPEN, MAYBE_OPEN):
                self._respond(entry, view, key, findings, commit=commit)
            elif code == MAYBE_WHEN:
                unsure.setdefault(number, ())
            elif number not in sure:
                sure.add(number)
                self._apply(number, view, key, findings, commit=commit)
        for number, values in unsure.items():
            if number not in sure:
                ready = self.program.rules[number]
                part = ready._replace(names=()) if values == () else ready
                findings.causes.append(
                    Explanation(self.program, part, state, view, self.moment, values).cause()
                )

    def _asked(self, number: int, view: View, key: Any, *, commit: bool) -> StepVerdict | None:
        """Return the verdict of a step of which nothing but one rule's own judgement is asked."""
        rule = self.program.rules[number].rule
        if isinstance(rule, Custom):  # which says mostly nothing, or that all is well
            status, why, witnesses = self._custom(number, rule, key, commit=commit).judge(view, commit=commit)
            if status is StepStatus.VACUOUS:
                return None
            if status is StepStatus.PASS:
                self.applied += commit
                return self.passed
            findings = Findings()
            self._said(number, status, why, witnesses, view, key, findings)
        else:
            findings = Findings()
            self._apply(number, view, key, findings, commit=commit)
        return self.told(findings, commit)

    def _responded(self, entry: Any, view: View, key: Any, *, commit: bool) -> StepVerdict | None:
        """Return the verdict of a step that does nothing but open or answer an obligation."""
        number, code, values = entry
        if code == OPEN:
            if commit:
                who = (view.step.agent, view.step.role)
                self.obligations.open(number, key, values, view.index, view.time, who)
            return None
        history = self.moment.now if self.program.causal else -1
        if not self.obligations.answer(number, key, values, view.index, history, certain=True, commit=commit):
            return None
        self.applied += commit
        return self.passed

    def _respond(self, entry: Any, view: View, key: Any, findings: Findings, *, commit: bool) -> None:
        number, code, values = entry
        if code == MAYBE_OPEN:
            findings.causes.append("unknown whether this step must be answered")
        elif code == OPEN:
            if commit:
                agent, role = view.step.agent, view.step.role
                self.obligations.open(number, key, values, view.index, view.time, (agent, role))
        else:
            history = self.moment.now if self.program.causal else -1
            findings.passed |= self.obligations.answer(
                number, key, values, view.index, history, certain=code == ANSWER, commit=commit
            )

    def _apply(self, number: int, view: View, key: Any, findings: Findings, *, commit: bool) -> None:
        """Ask a schema, a function or a monitor of its own about a step."""
        rule = self.program.rules[number].rule
        if isinstance(rule, Payload):
            self._validate(number, rule, view, key, findings)
        elif isinstance(rule, Judge):
            self._judge(number, rule, view, key, findings)
        elif isinstance(rule, Custom):
            monitor = self._custom(number, rule, key, commit=commit)
            status, why, witnesses = monitor.judge(view, commit=commit)
            self._said(number, status, why, witnesses, view, key, findings)

    def _custom(self, number: int, rule: Custom, key: Any, *, commit: bool) -> Any:
        monitors = self.customs.get(key)
        if monitors is not None and number in monitors:
            return monitors[number]
        monitor = rule.make()
        if commit:
            self.customs.setdefault(key, {})[number] = monitor
        return monitor

    # Keys that are forgotten

    def retire(self, key: Any, why: str) -> None:
        """Forget the state of a key; an open obligation makes the contract inconclusive."""
        state = self.slices.pop(key, None)
        self.touched.pop(key, None)
        self.customs.pop(key, None)
        open_ones = self.obligations.drop(key)
        if state is not None and self.program.at_end:
            open_ones |= self.program.end()(state, self._last(state, None), self.moment, None) is not False
        if open_ones:
            self.inconclusive += 1
            self.causes[f"a key was {why} with an open obligation"] += 1

    def forget(self, index: int, time: float) -> None:
        """Retire keys that were silent for too long, or that are too many."""
        rule = self.contract.retire
        if rule is None:
            return
        while self.touched:
            key, (touched, when) = next(iter(self.touched.items()))
            silent = (
                rule.after is not None
                and (index - touched if rule.after.unit == "steps" else time - when) > rule.after.amount
            )
            if not silent and not (rule.keys and len(self.slices) > rule.keys):
                return
            self.retire(key, "retired after silence" if silent else "dropped (too many keys)")

    def sweep(self, index: int, time: float) -> None:
        """Drop state that is as good as none, before step `index`; O(1) a step in the long run."""
        sweeper, looked = self.program.sweeper, 0
        if not self.keyed:
            looked = sweeper.sweep(self.state, index, time)
        else:
            fresh = self.program.fresh()
            droppable = not self.program.at_end and self.contract.retire is None
            for key, state in list(self.slices.items()):
                looked += 1 + sweeper.sweep(state, index, time)
                if droppable and state == fresh:
                    del self.slices[key]
        self.sweep_at = index + max(PERIOD, looked)

    # The end

    def end(self, steps: int, status: str, view: View | None) -> StepVerdict | None:
        """Settle what is pending; `steps` is their number, `view` the last one."""
        self.ended = True
        return self.told(self.settled(steps, status, view), True)

    # The verdict

    def verdict(self, more_passes: int, view: View | None) -> Verdict:
        """Return what the contract says of the steps so far."""
        applied = self.applied + more_passes
        if self.violations:
            status = Status.VIOLATED
        elif self.inconclusive:
            status = Status.INCONCLUSIVE
        elif self.pending(view):
            status = Status.PENDING
        else:
            status = Status.SATISFIED if applied else Status.VACUOUS
        causes = tuple(sorted(self.causes.items(), key=lambda item: (-item[1], item[0])))
        return Verdict(
            self.contract.id,
            status,
            tuple(self.violations),
            applied,
            self.inconclusive,
            causes,
            self.contract.severity,
        )

    # State

    def save(self) -> dict[str, Any]:
        """Return everything that changes, as plain values."""
        return {
            "contract": self.contract.id,
            "state": self.state,
            "slices": self.slices,
            "touched": self.touched,
            "violations": self.violations,
            "applied": self.applied,
            "inconclusive": self.inconclusive,
            "causes": dict(self.causes),
            "ended": self.ended,
            "sweep_at": self.sweep_at,
            "obligations": self.obligations.save(),
            "customs": {
                key: {number: monitor.save() for number, monitor in monitors.items()}
                for key, monitors in self.customs.items()
            },
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over a saved state."""
        self.state, self.slices, self.touched = saved["state"], saved["slices"], saved["touched"]
        self.violations, self.applied = saved["violations"], saved["applied"]
        self.inconclusive, self.causes = saved["inconclusive"], Counter(saved["causes"])
        self.ended, self.sweep_at = saved["ended"], saved["sweep_at"]
        self.obligations.restore(saved["obligations"])
        for key, monitors in saved["customs"].items():
            for number, inner in monitors.items():
                rule = self.program.rules[number].rule
                assert isinstance(rule, Custom)  # noqa: S101 - written by save
                monitor = rule.make()
                monitor.restore(inner)
                self.customs.setdefault(key, {})[number] = monitor
