"""One contract over one run: its state, what it found so far, and what it says of a step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import structs

from masfire.contracts.core import free
from masfire.contracts.explain import Explanation
from masfire.contracts.language.show import show_path
from masfire.contracts.model import (
    AtEnd,
    Contract,
    Custom,
    Judge,
    Payload,
    Response,
    Status,
    StepStatus,
    StepVerdict,
    Verdict,
    Violation,
    Witness,
)
from masfire.contracts.obligations import Obligation, Obligations
from masfire.contracts.program import (
    ANSWER,
    FAIL,
    MAYBE_ANSWER,
    MAYBE_OPEN,
    MAYBE_WHEN,
    OPEN,
    RETIRED,
    UNKNOWN,
    Program,
)
from masfire.contracts.tables import Moment, undo
from masfire.contracts.values import MISSING, Absence, freeze, thaw
from masfire.contracts.view import View

MAX_EXPLAINED = 1_000
"""Violations of one contract in one run that are explained; further ones say where, who and for what."""


class Findings:
    """What one contract says of one step, while it is being put together."""

    __slots__ = ("causes", "passed", "violations")

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.causes: list[str] = []
        self.passed = False

    def verdict(self, contract: str) -> StepVerdict | None:
        """Return the verdict; None when the contract does not apply."""
        if self.violations:
            return StepVerdict(contract, StepStatus.FAIL, tuple(self.violations), "; ".join(self.causes))
        if self.causes:
            return StepVerdict(contract, StepStatus.INCONCLUSIVE, (), "; ".join(dict.fromkeys(self.causes)))
        return StepVerdict(contract, StepStatus.PASS) if self.passed else None


class Runner:
    """The monitors of one contract over one run."""

    def __init__(self, program: Program, moment: Moment) -> None:
        self.program, self.moment = program, moment
        contract = program.contract
        self.contract: Contract = contract
        self.passed = StepVerdict(contract.id, StepStatus.PASS)
        self.state = program.fresh()
        self.slices: dict[Any, list[Any]] = {}
        self.touched: dict[Any, tuple[int, float]] = {}
        self.violations: list[Violation] = []
        self.applied = 0
        self.inconclusive = 0
        self.causes: Counter[str] = Counter()
        self.obligations = Obligations(
            {number: ready for number, ready in enumerate(program.rules) if isinstance(ready.rule, Response)}
        )
        self.customs: dict[Any, dict[int, Any]] = {}
        self.ended = False
        self.keyed = bool(program.key)

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
        monitors = self.customs.get(key, {})
        if number not in monitors:
            monitor = rule.make()
            if not commit:
                return monitor
            self.customs.setdefault(key, {})[number] = monitor
            return monitor
        return monitors[number]

    def _said(
        self,
        number: int,
        status: StepStatus,
        why: str,
        witnesses: Sequence[Witness],
        view: View,
        key: Any,
        findings: Findings,
    ) -> None:
        if status is StepStatus.FAIL:
            plain = self._plain(number, view.step, view.index, view.index, key)
            findings.violations.append(_with(plain, reason=why, witnesses=tuple(witnesses)))
        elif status is StepStatus.INCONCLUSIVE:
            findings.causes.append(why)
        elif status is StepStatus.PASS:
            findings.passed = True

    def _validate(self, number: int, rule: Payload, view: View, key: Any, findings: Findings) -> None:
        value = view.get(rule.path)
        if isinstance(value, Absence):
            findings.causes.append(f"absent: {show_path(rule.path)}")
            return
        errors = self.program.validator(number)(value)
        if not errors:
            findings.passed = True
            return
        plain = self._plain(number, view.step, view.index, view.index, key)
        first = errors[0]
        guilty = View.get(view, (*rule.path, *first.path))
        findings.violations.append(
            _with(
                plain,
                path=(*rule.path, *first.path),
                reason="; ".join(error.message for error in errors[:3]),
                saw=(
                    (show_path((*rule.path, *first.path)), None if isinstance(guilty, Absence) else guilty),
                ),
            )
        )

    def _judge(self, number: int, rule: Judge, view: View, key: Any, findings: Findings) -> None:
        try:
            said = rule.function(view)
        except Exception as error:  # a contract that raises has not judged
            findings.causes.append(f"raised {type(error).__name__}: {error}"[:300])
            return
        if said is True:
            findings.passed = True
        elif said is None:
            findings.causes.append("the function could not tell")
        else:
            plain = self._plain(number, view.step, view.index, view.index, key)
            findings.violations.append(_with(plain, reason=said if isinstance(said, str) else ""))

    # Violations

    def _binding(self, key: Any, names: Sequence[str], values: Sequence[Any]) -> tuple[tuple[str, Any], ...]:
        paths = self.program.key
        keys = key if len(paths) > 1 else (key,)
        slices = [(show_path(path), thaw(value)) for path, value in zip(paths, keys, strict=False)]
        return (*slices, *((name, thaw(value)) for name, value in zip(names, values, strict=False)))

    def _plain(self, number: int, step: Any, at: int, blame: int, key: Any) -> Violation:
        agent, role = (step.agent, step.role) if step is not None else ("", "")
        return Violation(
            self.contract.id,
            at,
            blame,
            self.contract.where,
            agent,
            role,
            self.contract.severity,
            number,
            self._binding(key, (), ()),
            self.program.texts[number],
        )

    def _violation(
        self,
        number: int,
        state: list[Any],
        view: View,
        key: Any,
        values: tuple[Any, ...],
        *,
        end: bool = False,
    ) -> Violation:
        ready = self.program.rules[number]
        plain = self._plain(number, view.step, view.index, view.index, key)
        binding = self._binding(key, ready.names, values)
        if len(self.violations) >= MAX_EXPLAINED:
            return _with(plain, binding=binding)
        explained = Explanation(self.program, ready, state, view, self.moment, values, end=end)
        formula, saw, witnesses = explained.parts()
        return _with(
            plain,
            binding=binding,
            formula=formula,
            saw=saw,
            witnesses=witnesses,
        )

    def _broken(self, obligation: Obligation, at: int, findings: Findings, why: str) -> None:
        if obligation.maybe:
            findings.causes.append(f"unknown whether step {obligation.index} was answered")
            return
        ready = self.program.rules[obligation.rule]
        assert isinstance(ready.rule, Response)  # noqa: S101 - only those have obligations
        findings.violations.append(
            Violation(
                self.contract.id,
                at,
                obligation.index,
                self.contract.where,
                *obligation.who,
                self.contract.severity,
                obligation.rule,
                self._binding(obligation.key, ready.names, obligation.values),
                self.program.texts[obligation.rule],
                (),
                (
                    Witness(
                        obligation.index,
                        f"{self.program.triggers[obligation.rule]} at {obligation.index} {why}",
                    ),
                ),
            )
        )

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

    # The end

    def _last(self, state: list[Any], view: View | None) -> Any:
        if self.program.causal:
            index = int(state[0]).bit_length() - 1 if self.keyed else -1
            return self.moment.views[index] if 0 <= index < len(self.moment.views) else view or NULL
        return (state[1] if self.program.keeps_last else view) or NULL

    def _at_end(self, view: View | None) -> Iterator[tuple[Any, list[Any], Any, Any]]:
        states = self.slices.items() if self.keyed else [((), self.state)]
        function = self.program.end()
        for key, state in list(states):
            last = self._last(state, view)
            if self.program.causal and 0 <= last.index < len(self.moment.ancestors):
                self.moment.now = self.moment.ancestors[last.index] | 1 << last.index
            yield key, state, last, function(state, last, self.moment, None)

    def end(self, steps: int, status: str, view: View | None) -> StepVerdict | None:
        """Settle what is pending; `steps` is their number, `view` the last one."""
        findings = Findings()
        self.ended = True
        for obligation in self.obligations.all_open():
            self._broken(obligation, steps, findings, "was never answered")
        if self.program.at_end:
            for key, state, last, result in self._at_end(view):
                self._settle(key, state, last, result, steps, findings)
        for key, monitors in self.customs.items():
            for number, monitor in monitors.items():
                self._custom_end(number, monitor.end(status), key, steps, findings)
        for number, ready in enumerate(self.program.rules):
            if isinstance(ready.rule, Custom) and not self.keyed and number not in self.customs.get((), {}):
                self._custom_end(number, ready.rule.make().end(status), (), steps, findings)
        return self.told(findings, True)

    def _settle(
        self, key: Any, state: list[Any], last: Any, result: Any, steps: int, findings: Findings
    ) -> None:
        if result is True:
            findings.passed = True
        if not isinstance(result, list):
            return
        for number, code, values in result:
            ready = self.program.rules[number]
            if code == UNKNOWN:
                explained = Explanation(self.program, ready, state, last, self.moment, values, end=True)
                findings.causes.append(explained.cause())
                continue
            found = self._violation(number, state, last, key, values, end=True)
            blame = max(steps - 1, 0)
            if isinstance(ready.rule, AtEnd) and ready.rule.applies is not None:
                blame = self._opened(ready, state, last, values, blame)
            findings.violations.append(_with(found, violated_at=steps, blame=blame))

    def _opened(
        self, ready: Any, state: list[Any], last: Any, values: tuple[Any, ...], otherwise: int
    ) -> int:
        env = dict(zip(ready.names, values, strict=False))
        if ready.left is None or type(ready.left).__name__ != "Once":
            return otherwise
        names = tuple(sorted(free(ready.left)))
        function = self.program.value("stamps", ready.left, names, False, True)
        began, _ = function(state, last, self.moment, None, tuple(env[name] for name in names))
        return int(began) if began >= 0 else otherwise

    def _custom_end(self, number: int, said: Any, key: Any, steps: int, findings: Findings) -> None:
        status, why, witnesses = said
        if status is Status.VIOLATED:
            blame = witnesses[-1].step if witnesses else max(steps - 1, 0)
            plain = self._plain(number, None, steps, blame, key)
            findings.violations.append(_with(plain, reason=why, witnesses=tuple(witnesses)))
        elif status in (Status.INCONCLUSIVE, Status.PENDING):
            findings.causes.append(why or "still pending when the run ended")
        elif status is Status.SATISFIED and not self.applied:
            findings.passed = True  # the end is where it applied; steps that passed are counted already

    # The verdict

    def pending(self, view: View | None) -> bool:
        """Return whether something is still owed."""
        if self.ended:
            return False
        if self.obligations.any_open():
            return True
        if self.program.at_end and any(result is not False for *_, result in self._at_end(view)):
            return True
        for monitors in self.customs.values():
            for monitor in monitors.values():
                if monitor.end("")[0] is Status.PENDING:
                    return True
        return False

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
        self.ended = saved["ended"]
        self.obligations.restore(saved["obligations"])
        for key, monitors in saved["customs"].items():
            for number, inner in monitors.items():
                rule = self.program.rules[number].rule
                assert isinstance(rule, Custom)  # noqa: S101 - written by save
                monitor = rule.make()
                monitor.restore(inner)
                self.customs.setdefault(key, {})[number] = monitor


class NoStep:
    """Stands for the last step of a run without steps."""

    step = None
    index, time = -1, -math.inf
    kind = name = ""
    args: Any = MISSING

    def get(self, _: Any) -> Any:
        """Return that there is nothing."""
        return MISSING

    field = get


NULL = NoStep()


def _with(violation: Violation, **changes: Any) -> Violation:
    return structs.replace(violation, **changes)
