"""Contracts in Python: judged by the same engine, online and offline."""

from __future__ import annotations

from typing import Any

import pytest

from masfire.contracts.decorators import step_contract, trace_contract
from masfire.contracts.engine import Engine, judge
from masfire.contracts.model import Contract, Status, StepStatus
from masfire.contracts.view import View
from masfire.errors import UnknownName, UsageError
from masfire.trace.model import Action, End, Header, Step, Trace
from masfire.trace.payload import pack


def calls(*amounts: Any, agent: str = "a", end: str | None = "completed") -> Trace:
    steps = tuple(
        Step(i, float(i), agent, Action("tool_call", "pay", pack({"args": {"amount": amount}})))
        for i, amount in enumerate(amounts)
    )
    return Trace(Header("r"), steps, end=End(end) if end else None)


def contract_of(target: Any) -> Contract:
    found: Contract = target.contract
    return found


@step_contract(tool="pay", severity="warning", catches=["parameter_filling_error"], key="args.user")
def whole_cents(view: View) -> bool | str | None:
    """Amounts have at most two decimals."""
    amount = view.get("args.amount")
    if amount == "?":
        return None
    return round(amount, 2) == amount or f"{amount} has more than two decimals"


def test_a_step_contract_says_what_yaml_would() -> None:
    contract = contract_of(whole_cents)
    assert (contract.id, contract.severity, contract.enforce) == ("whole-cents", "warning", "block")
    assert contract.description == "Amounts have at most two decimals."
    assert contract.catches == ("parameter_filling_error",)
    assert contract.key == (("args", "user"),)
    assert contract.where.split(":")[0].endswith("test_decorators.py")
    line = int(contract.where.rpartition(":")[2])
    with open(__file__, encoding="utf-8") as source:
        assert "@step_contract(tool=" in source.read().splitlines()[line - 1]


def test_the_four_answers_of_a_step_contract() -> None:
    @step_contract(tool="pay", id="cents")
    def cents(view: View) -> bool | str | None:
        return whole_cents(view)  # a decorated function can be called as before

    contract = contract_of(cents)
    (good,) = judge(calls(1.25, 2), [contract])
    assert (good.status, good.applied) == (Status.SATISFIED, 2)
    (bad,) = judge(calls(1.25, 1.234, 9.999), [contract])
    assert bad.status is Status.VIOLATED
    assert [(each.violated_at, each.reason) for each in bad.violations] == [
        (1, "1.234 has more than two decimals"), (2, "9.999 has more than two decimals"),
    ]  # fmt: skip
    (unsure,) = judge(calls(1.25, "?"), [contract])
    assert unsure.status is Status.INCONCLUSIVE
    (broken,) = judge(calls([1]), [contract])  # round() raises
    assert broken.status is Status.INCONCLUSIVE
    assert "TypeError" in broken.causes[0][0]
    (vacuous,) = judge(Trace(Header("r"), (), end=End("completed")), [contract])
    assert vacuous.status is Status.VACUOUS


@trace_contract(kind="tool_call")
class NoMoreThanThree:
    """At most three tool calls."""

    def __init__(self) -> None:
        self.seen = 0

    def step(self, view: View) -> bool | str | None:
        self.seen += 1
        return self.seen <= 3 or f"call number {self.seen}"


def test_a_class_is_made_anew_for_each_run() -> None:
    contract = contract_of(NoMoreThanThree)
    assert contract.id == "no-more-than-three"
    for _ in range(2):
        (verdict,) = judge(calls(1, 2, 3), [contract])
        assert verdict.status is Status.SATISFIED
        (verdict,) = judge(calls(1, 2, 3, 4, 5), [contract])
        assert [(each.violated_at, each.reason) for each in verdict.violations] == [
            (3, "call number 4"), (4, "call number 5"),
        ]  # fmt: skip


def test_peek_changes_nothing_and_state_can_be_saved() -> None:
    contract = contract_of(NoMoreThanThree)
    trace = calls(1, 2, 3, 4)
    engine = Engine([contract])
    for step in trace.steps[:3]:
        for _ in range(5):
            engine.peek(step)
        engine.commit(step)
    restored = Engine.restore([contract], engine.save())
    for each in (engine, restored):
        assert [found.status for found in each.peek(trace.steps[3])] == [StepStatus.FAIL]
        each.commit(trace.steps[3])
        assert each.verdicts()[0].first is not None
        assert each.verdicts()[0].first.violated_at == 3  # type: ignore[union-attr]


def test_a_class_judges_the_end() -> None:
    @trace_contract(tool="pay")
    class PaysSomething:
        def __init__(self) -> None:
            self.total = 0

        def step(self, view: View) -> None:
            self.total += view.get("args.amount")

        def end(self, ended: str) -> bool | str:
            return self.total > 0 or f"nothing was paid when the run ended as {ended}"

    contract = contract_of(PaysSomething)
    assert judge(calls(1), [contract])[0].status is Status.SATISFIED
    (verdict,) = judge(calls(0, 0), [contract])
    assert verdict.status is Status.VIOLATED
    assert verdict.violations[0].violated_at == 2
    assert "ended as completed" in verdict.violations[0].reason


def test_a_function_sees_the_finished_run() -> None:
    seen: list[int] = []

    @trace_contract(tool="pay")
    def rising(views: list[View]) -> bool | str | None:
        """Amounts rise."""
        seen.append(len(views))
        amounts = [view.get("args.amount") for view in views]
        return None if None in amounts else amounts == sorted(amounts) or "they fall"

    contract = contract_of(rising)
    assert judge(calls(1, 2), [contract])[0].status is Status.SATISFIED
    (verdict,) = judge(calls(2, 1), [contract])
    assert (verdict.status, verdict.violations[0].reason) == (Status.VIOLATED, "they fall")
    assert judge(calls(1, None), [contract])[0].status is Status.INCONCLUSIVE
    assert judge(calls(2, 1, end=None), [contract])[0].status is Status.PENDING
    assert judge(Trace(Header("r"), (), end=End("completed")), [contract])[0].status is Status.VACUOUS
    assert seen == [2, 2, 2]
    engine = Engine([contract])
    for step in calls(2, 1).steps:
        engine.commit(step)
    restored = Engine.restore([contract], engine.save())
    restored.end("completed")
    assert restored.verdicts()[0].status is Status.VIOLATED


def test_state_that_cannot_be_saved_says_so() -> None:
    @trace_contract()
    class Collects:
        def __init__(self) -> None:
            self.agents: set[str] = set()

        def step(self, view: View) -> bool:
            self.agents.add(view.step.agent)
            return len(self.agents) < 3

    engine = Engine([contract_of(Collects)])
    engine.commit(calls(1).steps[0])
    with pytest.raises(UsageError, match="cannot be saved"):
        engine.save()


def _decorate(options: dict[str, Any], target: Any, make: Any = step_contract) -> None:
    make(**options)(target)


async def _async(view: View) -> bool:
    return True


@pytest.mark.parametrize(
    ("options", "target", "why"),
    [
        ({"tol": "x"}, lambda view: True, "Did you mean 'tool'"),
        ({"severity": "fatal"}, lambda view: True, "Unknown severity 'fatal'"),
        ({"kind": "tool_cal"}, lambda view: True, "select no steps"),
        ({"where": "contnt == 3"}, lambda view: True, "Did you mean 'content'"),
        ({"kind": "message", "where": "args.x == 3"}, lambda view: True, "a message has no 'args'"),
        ({"when": "tool('x') and"}, lambda view: True, "not complete"),
        ({"key": "ags.x"}, lambda view: True, "Did you mean 'args'"),
        ({}, lambda: True, "takes one argument"),
        ({}, _async, "not async"),
    ],
)
def test_what_cannot_be_a_contract(options: dict[str, Any], target: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        _decorate(options, target)


def test_a_class_needs_a_method() -> None:
    class Nothing:
        pass

    with pytest.raises(UsageError, match="has a method step"):
        _decorate({}, Nothing, trace_contract)
    with pytest.raises(UnknownName):
        _decorate({"order": "random"}, NoMoreThanThree, trace_contract)
