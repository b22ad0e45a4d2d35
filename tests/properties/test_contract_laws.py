"""Laws of judging: online is offline, blind, a peek changes nothing, a saved state is the same state."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from masfire.contracts import sweep
from masfire.contracts.engine import Engine, judge
from masfire.contracts.language.syntax import And, Implies, Window
from masfire.contracts.model import (
    Always,
    AtEnd,
    Contract,
    Response,
    Status,
    StepStatus,
    StepVerdict,
    Verdict,
)
from masfire.contracts.plan import Unmonitorable
from masfire.trace.model import End, Header, Injection, Step, Trace
from masfire.trace.payload import pack
from tests.support.formulas import bound, formulas, steps

MANY = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
KEYS: list[tuple[Any, ...]] = [(), (("args", 0),), (("agent",),)]


XY = ("x", "y")
WINDOW = st.none() | st.builds(Window, st.integers(1, 4), st.sampled_from(["steps", "seconds"]))
PLAIN, ONE, TWO = formulas(), formulas(("x",)), formulas(XY)
RULE = st.one_of(
    st.builds(Always, st.builds(Implies, st.tuples(bound(XY), TWO).map(And), TWO)),
    st.builds(Always, PLAIN),
    st.builds(Response, ONE, ONE, WINDOW),
    st.builds(AtEnd, ONE, st.none() | ONE),
)  # made once: making strategies costs more than judging
CONTRACT = st.tuples(RULE, st.sampled_from(KEYS), st.sampled_from(["recorded", "causal"]))
CONTRACTS = st.lists(CONTRACT, min_size=1, max_size=3)
STEPS = steps()


@st.composite
def contracts(draw: Any) -> list[Contract]:
    """Return one to three contracts of any kind of rule."""
    found = [
        Contract(f"c{number}", (rule,), key=key, order=order)
        for number, (rule, key, order) in enumerate(draw(CONTRACTS))
    ]
    try:
        Engine(found)
    except Unmonitorable:
        assume(False)
    return found


def trace_of(events: list[Step], status: str = "completed") -> Trace:
    return Trace(Header("r"), tuple(events), (), End(status, steps=len(events)))


@MANY
@given(contracts(), steps(), st.data())
def test_a_peek_changes_nothing(bundle: list[Contract], events: list[Step], data: st.DataObject) -> None:
    quiet, curious = Engine(bundle), Engine(bundle)
    others = data.draw(STEPS)
    for step in events:
        for other in others[:3]:  # proposals that never happen, also from later times
            changed = Step(step.step, step.time + 3, other.agent, other.body, "", step.parents)
            curious.peek(changed)
        assert curious.peek(step) == quiet.commit(step) == curious.commit(step)
        assert curious.verdicts() == quiet.verdicts()
    assert curious.end("completed") == quiet.end("completed")
    assert curious.verdicts() == quiet.verdicts()


@MANY
@given(contracts(), steps(), st.integers(0, 10))
def test_a_saved_state_is_the_same_state(bundle: list[Contract], events: list[Step], every: int) -> None:
    plain, moved = Engine(bundle), Engine(bundle)
    for place, step in enumerate(events):
        assert moved.commit(step) == plain.commit(step)
        if place % (every + 1) == 0:
            moved = Engine.restore(bundle, moved.save())
        assert moved.verdicts() == plain.verdicts()
    moved = Engine.restore(bundle, moved.save())
    assert moved.end("budget") == plain.end("budget")
    assert moved.verdicts() == plain.verdicts()
    assert Engine.restore(bundle, moved.save()).verdicts() == plain.verdicts()


@MANY
@given(contracts(), steps())
def test_online_is_offline(bundle: list[Contract], events: list[Step]) -> None:
    """The verdicts of growing prefixes merge into the verdict of the finished trace."""
    engine = Engine(bundle)
    said: dict[str, list[Any]] = {contract.id: [] for contract in bundle}
    before: dict[str, Verdict] = {}
    for place, step in enumerate(events):
        for verdict in engine.commit(step):
            said[verdict.contract].append(verdict)
        prefix = Trace(Header("r"), tuple(events[: place + 1]))
        for now, whole in zip(engine.verdicts(), judge(prefix, bundle), strict=True):
            assert now == whole
            old = before.get(now.contract)
            if old is not None and old.status is Status.VIOLATED:
                assert now.status is Status.VIOLATED
                assert now.violations[: len(old.violations)] == old.violations
            before[now.contract] = now
    for verdict in engine.end("completed"):
        said[verdict.contract].append(verdict)
    for verdict in judge(trace_of(events), bundle):
        merged = [one for each in said[verdict.contract] for one in each.violations]
        assert list(verdict.violations) == merged
        statuses = {each.status for each in said[verdict.contract]}
        assert (verdict.status is Status.VIOLATED) == (StepStatus.FAIL in statuses)
        if not merged:
            assert (verdict.status is Status.INCONCLUSIVE) == (StepStatus.INCONCLUSIVE in statuses)
        assert verdict.status is not Status.PENDING


@MANY
@given(contracts(), steps())
def test_judging_is_blind(bundle: list[Contract], events: list[Step]) -> None:
    marks = tuple(
        Step(step.step, step.time, step.agent, Injection("semantic", "semantic@x", "injected", after=pack(1)))
        for step in events
    )
    seen = Trace(Header("r", faults=("semantic@x",)), tuple(events), marks, End("completed"))
    assert judge(seen, bundle) == judge(seen.blind(), bundle)


@MANY
@given(contracts(), steps())
def test_what_is_forgotten_never_matters(bundle: list[Contract], events: list[Step]) -> None:
    """Sweeping before every step changes no verdict; only what explains a violation may be gone."""
    plain, tidy = Engine(bundle), Engine(bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "RECENT", -1)
        for step in events:
            for runner in tidy._runners:
                if runner.sweep_at < math.inf:
                    runner.sweep(step.step, max(step.time, tidy._time))
            assert bare(tidy.commit(step)) == bare(plain.commit(step))
        assert bare(tidy.end("completed")) == bare(plain.end("completed"))
    for mine, whole in zip(tidy.verdicts(), plain.verdicts(), strict=True):
        assert (mine.status, mine.applied, mine.causes) == (whole.status, whole.applied, whole.causes)


def bare(said: tuple[StepVerdict, ...]) -> list[Any]:
    return [
        (
            one.contract,
            one.status,
            one.cause,
            [(bad.violated_at, bad.blame, bad.binding) for bad in one.violations],
        )
        for one in said
    ]


def test_the_laws_are_not_vacuous() -> None:
    """The generated contracts do apply: all verdicts turn up among a few examples."""
    seen: set[Status] = set()

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(contracts(), steps(), st.booleans())
    def collect(bundle: list[Contract], events: list[Step], ended: bool) -> None:
        engine = Engine(bundle)
        for step in events:
            engine.commit(step)
        if ended:
            engine.end("completed")
        seen.update(verdict.status for verdict in engine.verdicts())

    collect()
    assert seen == set(Status)
