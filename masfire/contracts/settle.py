"""What the end of a run says of a contract, and what it still owes before."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from masfire.contracts.assemble import UNKNOWN
from masfire.contracts.core import free
from masfire.contracts.explain import Explanation
from masfire.contracts.model import AtEnd, Custom, Response, Status
from masfire.contracts.obligations import Obligations
from masfire.contracts.program import Program
from masfire.contracts.reports import Findings, Reporter, changed
from masfire.contracts.tables import Moment
from masfire.contracts.values import FOREIGN, MISSING
from masfire.contracts.view import View


class Nobody:
    """Stands for who acted in a run without steps: comparisons with its fields are false."""

    agent = role = kind = FOREIGN
    parents = ()


class NoStep:
    """Stands for the last step of a run without steps."""

    step = Nobody()
    index, time = -1, -math.inf
    kind = name = ""
    args: Any = MISSING

    def get(self, _: Any) -> Any:
        """Return that there is nothing."""
        return MISSING

    field = get


NULL = NoStep()


class Settling(Reporter):
    """The state of a contract over one run, as far as the end asks for it."""

    def __init__(self, program: Program, moment: Moment) -> None:
        super().__init__(program, moment)
        self.state = program.fresh()
        self.slices: dict[Any, list[Any]] = {}
        self.applied = 0
        self.obligations = Obligations(
            {number: ready for number, ready in enumerate(program.rules) if isinstance(ready.rule, Response)}
        )
        self.customs: dict[Any, dict[int, Any]] = {}
        self.ended = False
        self.keyed = bool(program.key)

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

    def settled(self, steps: int, status: str, view: View | None) -> Findings:
        """Return what the end of the run settles; `steps` is their number, `view` the last one."""
        findings = Findings()
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
        return findings

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
            findings.violations.append(changed(found, violated_at=steps, blame=blame))

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
            findings.violations.append(changed(plain, reason=why, witnesses=tuple(witnesses)))
        elif status in (Status.INCONCLUSIVE, Status.PENDING):
            findings.causes.append(why or "still pending when the run ended")
        elif status is Status.SATISFIED and not self.applied:
            findings.passed = True  # the end is where it applied; steps that passed are counted already

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
