"""One step of a satisfied trace dropped, doubled, swapped or edited: each pattern notices what it should."""

from typing import Any

import pytest

from masfire.contracts.engine import Engine, judge
from masfire.contracts.examples import trace_of
from masfire.contracts.model import Status, Verdict
from masfire.contracts.patterns import PATTERNS
from masfire.trace.model import Trace
from tests.support.pattern_cases import CASES, Case, contract, mutated

ROWS = [(case, mutation) for case in CASES for mutation in case.mutations]


def of(value: Any) -> str:
    if isinstance(value, Case):
        return value.pattern
    return "-".join(str(part.value if isinstance(part, Status) else part) for part in value)


@pytest.mark.parametrize("case", CASES, ids=of)
def test_the_trace_satisfies_the_pattern(case: Case) -> None:
    [verdict] = judge(trace_of(case.trace), [contract(case)])
    assert verdict.status is Status.SATISFIED


@pytest.mark.parametrize(("case", "mutation"), ROWS, ids=of)
def test_the_mutation_is_noticed_if_it_should_be(case: Case, mutation: tuple[Any, ...]) -> None:
    *how, expected = mutation
    changed = mutated(case.trace, *how)
    assert changed != [dict(step) for step in case.trace] or how[0] == "swap"
    [verdict] = judge(trace_of(changed), [contract(case)])
    assert verdict.status is expected, verdict
    assert (verdict.first is not None) is (expected is Status.VIOLATED)


def test_every_pattern_has_every_mutation_and_is_violated_by_one() -> None:
    kinds: dict[str, set[str]] = {}
    noticed: dict[str, set[str]] = {}
    for case, mutation in ROWS:
        kinds.setdefault(case.pattern, set()).add(mutation[0])
        if mutation[-1] is Status.VIOLATED:
            noticed.setdefault(case.pattern, set()).add(mutation[0])
    for name in PATTERNS.names():
        assert kinds[name] == {"drop", "double", "swap", "edit"}, name
        assert noticed[name], name


def peeked(trace: Trace, case: Case) -> Verdict:
    """Return the verdict of an engine that peeks (twice, and at another step) before it commits."""
    engine = Engine([contract(case)])
    for step in trace.steps:
        foreseen = engine.peek(step)
        engine.peek(trace.steps[0])
        assert engine.peek(step) == foreseen
        said = engine.commit(step)
        assert {v.contract: v.status for v in foreseen} == {v.contract: v.status for v in said}
    engine.end(trace.end.status if trace.end else "")
    return engine.verdicts()[0]


def restored(trace: Trace, case: Case) -> Verdict:
    """Return the verdict of an engine that is saved and restored after every step."""
    rules = [contract(case)]
    engine = Engine(rules)
    for step in trace.steps:
        engine.commit(step)
        engine = Engine.restore(rules, engine.save())
    if trace.end is not None:
        engine.end(trace.end.status)
    return engine.verdicts()[0]


@pytest.mark.parametrize(("case", "mutation"), ROWS, ids=of)
def test_peeking_and_saving_change_no_verdict(case: Case, mutation: tuple[Any, ...]) -> None:
    trace = trace_of(mutated(case.trace, *mutation[:-1]))
    [verdict] = judge(trace, [contract(case)])
    assert restored(trace, case) == verdict
    if trace.end is not None:
        assert peeked(trace, case) == verdict
