"""A check put together by hand, with hostile names, for tests of what reports make of it."""

from __future__ import annotations

from masfire.contracts.model import Contract, Status, Verdict, Violation, Witness
from masfire.reporting.checked import Check, Checked, Told
from masfire.trace.model import Action, Message, Observation, Step
from masfire.trace.payload import pack

HOSTILE = 'evil\x1b[31m"]]><x>&\n::error::\ud800,%0A:'


def limit_check(*, source: str = "runs/one.jsonl", name: str = "wire-under-limit") -> Check:
    """Return a check of four contracts: violated at step 2, inconclusive, pending, vacuous."""
    contracts = tuple(
        Contract(id=one, rules=(), where=f"contracts/desk.yaml:{line}:5", description=f"About {one}.")
        for line, one in ((4, name), (9, "needs-field"), (12, "answers"), (15, "never-fires"))
    )
    violation = Violation(
        contract=name,
        violated_at=2,
        blame=2,
        where=contracts[0].where,
        agent="payer",
        role="cashier",
        binding=(("args.order", "o7"),),
        formula="args.amount <= 10000",
        saw=(("args.amount", 25000),),
        witnesses=(Witness(1, "the model asked for it"),),
        path=("args", "amount"),
        reason="25000 is greater than the maximum of 10000",
    )
    verdicts = (
        Verdict(name, Status.VIOLATED, (violation,), applied=2),
        Verdict("needs-field", Status.INCONCLUSIVE, inconclusive=1, causes=(("args.user is absent", 1),)),
        Verdict("answers", Status.PENDING),
        Verdict("never-fires", Status.VACUOUS),
    )
    told = Told(violation, (0, 1, 2), {step.step: step for step in steps()})
    one = Checked(
        source, 3, "completed", verdicts, (told,), {1: 4, 2: 5},
        replay="masfire replay runs/one.jsonl --until {step}",
    )  # fmt: skip
    return Check(contracts, (one,))


def steps() -> list[Step]:
    """Return a short run in which 25000 is wired."""
    reply = {
        "content": None,
        "tool_calls": [{"id": "c", "name": "wire", "arguments": '{"amount":25000}'}],
        "finish_reason": "tool_calls",
    }
    return [
        Step(0, 1.0, "user", Message(("payer",), pack("Pay \x1b]0;title\x07 the invoice"))),
        Step(1, 2.0, "payer", Observation("model_reply", "m", -1, pack(reply)), "cashier", (0,)),
        Step(2, 3.0, "payer", Action("tool_call", "wire",
             pack({"args": {"to": "DE" + "0" * 300, "amount": 25000, "note": "x" * 300}})), "cashier", (1,)),
    ]  # fmt: skip
