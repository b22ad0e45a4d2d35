"""What a contract reports of a step: violations with their binding and explanation, and causes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from masfire.contracts.explain import Explanation
from masfire.contracts.language.show import show_path
from masfire.contracts.model import (
    Contract,
    Judge,
    Payload,
    Response,
    StepStatus,
    StepVerdict,
    Violation,
    Witness,
)  # fmt: skip
from masfire.contracts.obligations import Obligation
from masfire.contracts.program import Program
from masfire.contracts.tables import Moment
from masfire.contracts.values import Absence, thaw
from masfire.contracts.view import View
from masfire.trace.model import Step

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


class Reporter:
    """Words what one contract found in one run."""

    def __init__(self, program: Program, moment: Moment) -> None:
        self.program, self.moment = program, moment
        self.contract: Contract = program.contract
        self.violations: list[Violation] = []

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
            findings.violations.append(changed(plain, reason=why, witnesses=tuple(witnesses)))
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
            changed(
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
            findings.violations.append(changed(plain, reason=said if isinstance(said, str) else ""))

    # Violations

    def _binding(self, key: Any, names: Sequence[str], values: Sequence[Any]) -> tuple[tuple[str, Any], ...]:
        paths = self.program.key
        keys = key if len(paths) > 1 else (key,)
        slices = [(show_path(path), thaw(value)) for path, value in zip(paths, keys, strict=False)]
        return (*slices, *((name, thaw(value)) for name, value in zip(names, values, strict=False)))

    def _plain(self, number: int, step: Any, at: int, blame: int, key: Any) -> Violation:
        agent, role = (step.agent, step.role) if isinstance(step, Step) else ("", "")
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
            return changed(plain, binding=binding)
        explained = Explanation(self.program, ready, state, view, self.moment, values, end=end)
        formula, saw, witnesses = explained.parts()
        return changed(
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


def changed(violation: Violation, **changes: Any) -> Violation:
    """Return a violation with some fields replaced."""
    return structs.replace(violation, **changes)
