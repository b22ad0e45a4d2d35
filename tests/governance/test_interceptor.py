"""Governance at the recorder's gate: the trace shows every decision, and faults come before it."""

import asyncio
from pathlib import Path
from typing import Any

from langchain_core.tools import tool

from masfire.governance import (
    AgentRules,
    AuditLog,
    Bound,
    Capability,
    Governor,
    Limits,
    Outcome,
    Policy,
    verify,
)
from masfire.recorder import Recorder, agent
from masfire.session import run
from masfire.trace.io import read_trace
from masfire.trace.model import Action, Decision, Header, Message, Observation
from masfire.trace.payload import pack, unpack

CLAMP = Capability({"amount": Bound(maximum=10, otherwise="clamp")})
RULES = AgentRules(tools={"pay": CLAMP, "look": Capability()}, budget=Limits(steps=4))
POLICY = Policy(agents={"clerk": RULES})


def call(name: str, amount: Any) -> Action:
    return Action("tool_call", name, pack({"args": {"amount": amount}}))


def test_the_record_shows_what_was_proposed_decided_and_executed(tmp_path: Path) -> None:
    paid: list[int] = []

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        return "paid"

    @tool
    def burn(amount: int) -> str:
        """Burn."""
        paid.append(-amount)
        return "burnt"

    path = tmp_path / "run.jsonl"
    log = AuditLog(tmp_path / "audit")
    with log, run(path=path, interceptors=[Governor(POLICY, audit=log)]), agent("clerk"):
        pay.invoke({"amount": 5_000})
        answer = burn.invoke({"amount": 7})
    assert paid == [10]
    assert "was not carried out" in answer
    verify(tmp_path / "audit")
    steps = read_trace(path).steps
    assert [step.kind for step in steps] == ["tool_call", "decision", "tool_result", "decision"]
    action, rewrite, blocked = steps[0].body, steps[1].body, steps[3].body
    assert isinstance(action, Action)
    assert unpack(action.proposed)["args"] == {"amount": 5000}
    assert unpack(action.executed)["args"] == {"amount": 10}
    assert isinstance(rewrite, Decision)
    assert (rewrite.outcome, rewrite.of) == ("rewrite", 0)
    assert isinstance(blocked, Decision)
    assert (blocked.outcome, blocked.of, unpack(blocked.evidence)["name"]) == ("block", -1, "burn")


def test_decisions_are_not_handed_to_the_adapter() -> None:
    recorder = Recorder(Header(run="r"), interceptors=[Governor(POLICY)])
    assert [step.kind for step in recorder.submit("clerk", call("pay", 5))] == ["tool_call"]
    assert recorder.submit("clerk", call("burn", 5)) == ()
    assert len(recorder.steps) == 3


def test_a_copy_of_a_storm_is_judged_knowing_the_copy_before() -> None:
    def storm(step: Any, history: Any) -> Any:
        return (step,) * 9 if isinstance(step.body, Action) else (step,)

    recorder = Recorder(Header(run="r"), interceptors=[storm, Governor(POLICY)])
    assert len(recorder.submit("clerk", call("look", 1))) == 4


def test_checks_that_wait_reserve_once_however_often_they_are_asked() -> None:
    """Steps recorded meanwhile make the gate ask again; the earlier answer's reservation is given back."""
    waits: list[asyncio.Event] = []

    async def slow(proposal: Any) -> Outcome:
        if proposal.name == "pay":
            waits.append(asyncio.Event())
            await asyncio.sleep(0.02)
        return Outcome.ALLOW

    governor = Governor(POLICY, checks=[slow])
    recorder = Recorder(Header(run="r"), interceptors=[governor])

    async def main() -> None:
        paying = asyncio.create_task(recorder.asubmit("clerk", call("pay", 5)))
        await asyncio.sleep(0.01)
        await recorder.asubmit("clerk", call("look", 1))
        await paying

    asyncio.run(main())
    assert len(waits) > 1
    assert governor.state_of("r").accounts["clerk"].steps == 2


def test_contracts_see_the_record_and_a_blocked_proposal_is_no_history() -> None:
    from masfire.contracts.engine import judge
    from masfire.contracts.language.formula import parse_formula
    from masfire.contracts.model import Always, Contract, Status

    rule = Always(parse_formula("tool('pay') -> once(tool('look') and ok)"))
    contract = Contract("look-first", (rule,))
    policy = Policy(agents={"clerk": AgentRules(tools={"*": Capability()})}, contracts=(contract,))
    governor = Governor(policy)
    recorder = Recorder(Header(run="r"), interceptors=[governor])
    assert recorder.submit("clerk", call("pay", 1)) == ()
    (looked,) = recorder.submit("clerk", call("look", 1))
    recorder.submit("clerk", Observation("tool_result", "look", looked.step, pack({"value": 1})))
    assert len(recorder.submit("clerk", call("pay", 1))) == 1
    trace = recorder.finish("completed")
    (online, *_), (offline,) = governor.end("r"), judge(trace, [contract])
    assert online.status is offline.status is Status.SATISFIED


def test_what_a_governed_run_says_is_screened_and_the_tag_is_in_the_record() -> None:
    from masfire.governance import Lineage

    policy = Policy(agents={"*": AgentRules(tools={"*": Capability()})}, lineage=Lineage(mode="speed"))
    recorder = Recorder(Header(run="r"), interceptors=[Governor(policy)])
    recorder.submit("user", Message(("reader",), pack("Please reserve 12 green chairs in Berlin.")))
    (wrong,) = recorder.submit("reader", Message(("clerk",), pack({"quantity": 21, "item": "green chairs"})))
    assert unpack(wrong.payload)["quantity"] == 12
    assert [step.kind for step in recorder.steps] == ["message", "message", "decision"]
