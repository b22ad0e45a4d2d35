"""How far a trace is from violating a contract: what a search for counterexamples descends by."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from masfire.contracts.language.syntax import Compare, Const, Count, Field, Formula, Implies, Sum, Window
from masfire.contracts.model import Always, Contract, Response, Rule, Status
from masfire.trace.model import Trace

_HALVINGS = 24
_FURTHEST = 1e6


class Margin(Struct, frozen=True):
    """The distance of a trace from violating a contract, in `unit`; below 0 when it is violated.

    `unit` is `steps` or `seconds` (to a deadline), `count` (a number of steps against its limit),
    `value` (a sum or a field against its bound) or `boolean` (1 satisfied, 0 violated: no better
    distance is known). Of several rules the least counts.
    """

    amount: float
    unit: str


def margin(contract: Contract, trace: Trace) -> Margin | None:
    """Return how far a trace is from violating a contract; None when the contract never applied.

    For a rule `… -> count(…) <= n`, a sum, a field against a constant, or a response within a window,
    the bound is tightened (or loosened) until the verdict turns: the margin is how far it could go.
    Counts and steps are exact, other numbers to about one part in ten million of the margin.
    """
    found = [_of_rule(contract, place, trace) for place in range(len(contract.rules))]
    measured = [each for each in found if each is not None]
    return min(measured, key=lambda each: each.amount, default=None)


def _of_rule(contract: Contract, place: int, trace: Trace) -> Margin | None:
    rule = contract.rules[place]
    alone = msgspec.structs.replace(contract, rules=(rule,))
    status = _status(alone, trace)
    if status in (Status.VACUOUS, Status.INCONCLUSIVE, Status.PENDING):
        return None
    holds = status is Status.SATISFIED
    bound, unit = _bound(rule)
    if bound is None:
        return Margin(float(holds), "boolean")

    def at(value: float) -> bool:
        changed = msgspec.structs.replace(alone, rules=(_with_bound(rule, value),))
        return _status(changed, trace) is not Status.VIOLATED

    whole = unit in ("count", "steps")
    turned = _turning(bound, at, holds=holds, upper=_is_upper(rule), whole=whole)
    return Margin(turned, unit)


def _turning(bound: float, at: Callable[[float], bool], *, holds: bool, upper: bool, whole: bool) -> float:
    """Return how far the bound could be tightened (below 0: must be loosened) for the verdict to turn."""
    toward = -1 if upper is holds else 1
    reach = 1.0
    while at(bound + toward * reach) is holds:
        if reach >= _FURTHEST:
            return reach if holds else -reach
        reach *= 2
    near, far = reach / 2 if reach > 1 else 0.0, reach
    for _ in range(_HALVINGS):
        if whole and far - near <= 1:
            break
        middle = float(int((near + far) / 2)) if whole else (near + far) / 2
        if at(bound + toward * middle) is holds:
            near = middle
        else:
            far = middle
    return near if holds else -far


def _status(contract: Contract, trace: Trace) -> Status:
    from masfire.contracts.engine import judge

    return judge(trace, [contract])[0].status


def _compared(rule: Rule) -> Compare | None:
    if not isinstance(rule, Always):
        return None
    formula: Formula = rule.formula.right if isinstance(rule.formula, Implies) else rule.formula
    if not isinstance(formula, Compare) or formula.op not in ("<", "<=", ">", ">="):
        return None
    value = formula.right.value if isinstance(formula.right, Const) else None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return formula if number and isinstance(formula.left, (Count, Sum, Field)) else None


def _bound(rule: Rule) -> tuple[float | None, str]:
    if isinstance(rule, Response) and rule.within is not None:
        return rule.within.amount, rule.within.unit
    compared = _compared(rule)
    if compared is None:
        return None, "boolean"
    assert isinstance(compared.right, Const)  # noqa: S101 - see _compared
    return float(compared.right.value), "count" if isinstance(compared.left, Count) else "value"


def _is_upper(rule: Rule) -> bool:
    compared = _compared(rule)
    return compared is None or compared.op in ("<", "<=")


def _with_bound(rule: Rule, value: float) -> Rule:
    if isinstance(rule, Response):
        assert rule.within is not None  # noqa: S101 - see _bound
        return msgspec.structs.replace(rule, within=Window(value, rule.within.unit))
    compared = _compared(rule)
    assert isinstance(rule, Always)  # noqa: S101 - see _compared
    assert compared is not None  # noqa: S101 - see _bound
    changed: Formula = msgspec.structs.replace(compared, right=Const(value))
    if isinstance(rule.formula, Implies):
        changed = msgspec.structs.replace(rule.formula, right=changed)
    return msgspec.structs.replace(rule, formula=changed)
