"""Random formulas over random traces: the engine and the naive evaluator agree, step by step."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from masfire.contracts.engine import Engine
from masfire.contracts.language.syntax import And, Formula, Implies, Window
from masfire.contracts.model import Always, AtEnd, Contract, Response, StepStatus
from masfire.contracts.plan import Unmonitorable
from masfire.trace.model import Step
from tests.support.formulas import bound, formulas, steps
from tests.support.reference import Reference

MANY = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
KEYS: list[tuple[Any, ...]] = [(), (("args", 0),), (("agent",),), (("args", "n"), ("agent",))]


def engine_of(contract: Contract) -> Engine:
    try:
        return Engine([contract])
    except Unmonitorable:
        assume(False)
        raise


def compare(contract: Contract, trace: list[Step]) -> None:
    engine, reference = engine_of(contract), Reference(contract, trace)
    for i, step in enumerate(trace):
        expected, bad = reference.status(i)
        peeked = engine.peek(step)
        said = engine.commit(step)
        assert peeked == said
        status = said[0].status if said else StepStatus.VACUOUS
        assert status is expected, f"step {i}: {status} instead of {expected}"
        if said:
            mine = [
                tuple(value for _, value in found.binding)[len(contract.key) :]
                for found in said[0].violations
            ]
            assert sorted(map(str, mine)) == sorted(str(tuple(map(thawed, values))) for values in bad)


def thawed(value: Any) -> Any:
    return value[1] if isinstance(value, tuple) and value[0] == "bool" else value


def always(formula: Formula, key: tuple[Any, ...] = (), order: str = "recorded") -> Contract:
    return Contract("c", (Always(formula),), key=key, order=order)


@MANY
@given(formulas(), steps(), st.sampled_from(KEYS), st.sampled_from(["recorded", "causal"]))
def test_formulas_without_variables(formula: Formula, trace: list[Step], key: Any, order: str) -> None:
    compare(always(formula, key, order), trace)


@MANY
@given(formulas(("x", "y")), steps(), st.sampled_from(KEYS[:3]), st.sampled_from(["recorded", "causal"]))
def test_formulas_with_variables(formula: Formula, trace: list[Step], key: Any, order: str) -> None:
    compare(always(formula, key, order), trace)


@MANY
@given(
    bound(("x", "y")),
    formulas(("x", "y")),
    formulas(("x", "y")),
    steps(12),
    st.sampled_from(["recorded", "causal"]),
)
def test_rules_that_bind_their_variables(
    trigger: Formula, more: Formula, right: Formula, trace: list[Step], order: str
) -> None:
    compare(always(Implies(And((trigger, more)), right), (), order), trace)


@MANY
@given(formulas(("x",)), st.none() | formulas(("x",)), steps(), st.sampled_from(KEYS[:3]))
def test_what_must_hold_at_the_end(
    formula: Formula, applies: Formula | None, trace: list[Step], key: Any
) -> None:
    contract = Contract("c", (AtEnd(formula, applies),), key=key)
    engine = engine_of(contract)
    for step in trace:
        engine.commit(step)
    assume(trace)
    seen = Reference(contract, trace).at_end()
    said = engine.end("completed")
    order = (StepStatus.FAIL, StepStatus.INCONCLUSIVE, StepStatus.PASS)
    expected = next((status for status in order if status in seen), StepStatus.VACUOUS)
    assert (said[0].status if said else StepStatus.VACUOUS) is expected


@MANY
@given(
    formulas(("x",), unknowns=False),
    formulas(("x", "y"), unknowns=False),
    st.none() | st.builds(Window, st.integers(1, 4), st.sampled_from(["steps", "seconds"])),
    steps(12),
    st.sampled_from(KEYS[:3]),
    st.sampled_from(["recorded", "causal"]),
)
def test_responses(
    trigger: Formula, response: Formula, within: Window | None, trace: list[Step], key: Any, order: str
) -> None:
    contract = Contract("c", (Response(trigger, response, within),), key=key, order=order)
    engine = engine_of(contract)
    for step in trace:
        assert engine.peek(step) == engine.commit(step)
    engine.end("completed")
    (verdict,) = engine.verdicts()
    found = {(one.violated_at, one.blame) for one in verdict.violations}
    assert found == Reference(contract, trace).broken()


def test_the_comparison_can_fail() -> None:
    """A wrong engine would be noticed: the same trace under another formula disagrees."""
    from masfire.contracts.language.syntax import Atom, Not, Once
    from masfire.trace.model import Action
    from masfire.trace.payload import pack

    trace = [Step(0, 0.0, "x", Action("event", "a", pack({"args": []})))]
    once = Once(Atom(("event",), "a"))
    contract = always(Not(once))
    engine = Engine([contract])
    reference = Reference(always(once), trace)
    (verdict,) = engine.commit(trace[0])
    with pytest.raises(AssertionError):
        assert verdict.status is reference.status(0)[0]
