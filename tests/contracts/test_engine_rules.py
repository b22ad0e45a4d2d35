"""Rules that are no formula of every step: schemas, functions, monitors, ends, keys that retire, causes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from masfire.contracts.engine import Engine
from masfire.contracts.language.formula import parse_formula
from masfire.contracts.model import (
    Always,
    AtEnd,
    Contract,
    Custom,
    Judge,
    Payload,
    Response,
    Retire,
    Rule,
    Status,
    StepStatus,
    Verdict,
    Witness,
)
from masfire.contracts.view import View
from masfire.errors import UsageError
from masfire.trace.model import Action, Step
from masfire.trace.payload import pack

PAY = parse_formula("tool_call('pay')")


def call(name: str, agent: str = "a", **args: Any) -> tuple[str, Action]:
    return agent, Action("tool_call", name, pack({"args": args}))


def judged(contract: Contract, *calls: tuple[str, Action], end: str = "completed", **more: Any) -> Verdict:
    parents = more.get("parents", {})
    engine = Engine([contract])
    for index, (agent, body) in enumerate(calls):
        engine.commit(Step(index, float(index), agent, body, "", parents.get(index, ())))
    if end:
        engine.end(end)
    return engine.verdicts()[0]


def one(*rules: Rule, **more: Any) -> Contract:
    return Contract("c", rules, **more)


def test_a_schema_names_the_place_in_the_payload() -> None:
    schema = {"properties": {"amount": {"type": "number", "maximum": 100}}, "required": ["amount"]}
    verdict = judged(
        one(Payload(PAY, schema)), call("pay", amount=7), call("look", amount=900), call("pay", amount=900)
    )
    assert (verdict.status, verdict.applied) == (Status.VIOLATED, 2)
    (found,) = verdict.violations
    assert (found.violated_at, found.path, found.saw) == (2, ("args", "amount"), (("args.amount", 900),))


def test_a_function_may_pass_fail_doubt_or_raise() -> None:
    def fair(view: View) -> bool | str | None:
        return {"yes": True, "no": "too much", "hm": None}[view.get("args.amount")]

    verdict = judged(one(Judge(PAY, fair)), *(call("pay", amount=word) for word in ("yes", "no", "hm", "?")))
    assert [(found.blame, found.reason) for found in verdict.violations] == [(1, "too much")]
    assert (verdict.applied, verdict.inconclusive) == (2, 2)
    assert any("KeyError" in cause for cause, _ in verdict.causes)


class Even:
    """Wants an even number of payments, and passes each of them."""

    def __init__(self) -> None:
        self.odd = False

    def judge(self, view: View, *, commit: bool) -> tuple[StepStatus, str, Sequence[Witness]]:
        if commit:
            self.odd = not self.odd
        return StepStatus.PASS, "", ()

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        if not ended:
            return (Status.PENDING if self.odd else Status.SATISFIED), "", ()
        return (Status.VIOLATED if self.odd else Status.SATISFIED), "an odd payment", ()

    def save(self) -> Any:
        return self.odd

    def restore(self, state: Any) -> None:
        self.odd = state


@pytest.mark.parametrize(
    ("times", "status", "applied"),
    [(0, Status.SATISFIED, 1), (2, Status.SATISFIED, 2), (3, Status.VIOLATED, 4)],
)
def test_a_monitor_of_its_own_counts_its_steps_once(times: int, status: Status, applied: int) -> None:
    verdict = judged(one(Custom(Even, PAY)), *[call("pay")] * times)
    assert (verdict.status, verdict.applied) == (status, applied)


def test_a_monitor_of_its_own_is_peeked_at_saved_and_keyed() -> None:
    contracts = [one(Custom(Even, PAY), key=(("args", "id"),))]
    engine = Engine(contracts)
    for index, key in enumerate("xyxyx"):
        step = Step(index, 0.0, "a", call("pay", id=key)[1])
        assert engine.peek(step) == engine.commit(step)
        engine = Engine.restore(contracts, engine.save())
    assert engine.verdicts()[0].status is Status.PENDING
    engine.end("completed")
    (found,) = engine.verdicts()[0].violations
    assert (found.violated_at, found.binding) == (5, (("args.id", "x"),))


def test_monitors_of_their_own_refuse_causal_order() -> None:
    with pytest.raises(UsageError, match="recorded order"):
        Engine([one(Custom(Even), order="causal")])


def test_what_must_hold_at_the_end() -> None:
    contract = one(AtEnd(parse_formula("once tool_call('ship')"), PAY))
    assert judged(contract, call("look")).status is Status.VACUOUS
    assert judged(contract, call("pay"), call("ship")).status is Status.SATISFIED
    assert judged(contract, call("pay"), end="").status is Status.PENDING
    verdict = judged(contract, call("look"), call("pay"), call("look"))
    assert [(found.violated_at, found.blame) for found in verdict.violations] == [(3, 1)]


def test_a_run_without_steps_ends() -> None:
    verdict = judged(one(AtEnd(parse_formula("agent == 'a'"))))
    assert verdict.status is Status.VIOLATED


@pytest.mark.parametrize(
    "retire", [Retire(at=parse_formula("tool_call('bye')")), Retire(keys=1)], ids=["event", "cap"]
)
def test_a_key_retired_with_an_open_obligation_is_inconclusive(retire: Retire) -> None:
    rule = Response(PAY, parse_formula("tool_call('ship')"))
    contract = one(rule, key=(("args", "id"),), retire=retire)
    answered = [call("pay", id=1), call("ship", id=1), call("bye", id=1), call("ship", id=2)]
    assert judged(contract, *answered).status is Status.SATISFIED
    verdict = judged(contract, call("pay", id=1), call("bye", id=1), call("ship", id=2))
    assert verdict.status is Status.INCONCLUSIVE
    assert "with an open obligation" in verdict.causes[0][0]


def test_causal_order_asks_the_causes_only() -> None:
    calls = [call("login", "x"), call("pay", "y"), call("pay", "y")]
    rule = Always(parse_formula("tool_call('pay') -> once tool_call('login')"))
    assert judged(one(rule), *calls).status is Status.SATISFIED
    alone = judged(one(rule, order="causal"), *calls)
    assert [found.blame for found in alone.violations] == [1, 2]
    told = judged(one(rule, order="causal"), *calls, parents={2: (0,)})
    assert [found.blame for found in told.violations] == [1]
