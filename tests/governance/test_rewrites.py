"""A rewrite either is carried out as it is logged, under the name of who asked for it, or nothing runs."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.tools import tool

from masfire.adapters.govern_langchain import middleware
from masfire.adapters.govern_openai import govern
from masfire.adapters.govern_python import governed
from masfire.contracts.loader import parse_contracts
from masfire.governance import (
    AgentRules,
    Allow,
    AuditLog,
    Blocked,
    Bound,
    Capability,
    Governor,
    Lineage,
    Outcome,
    Policy,
    Rewrite,
)
from masfire.governance.audit import Entry, read
from masfire.governance.ruling import digest
from masfire.trace.payload import pack
from tests.support.asking_graph import system
from tests.support.fake_openai import FakeOpenAI

PAY = Capability({"quantity": Bound("integer", maximum=60), "memo": Bound(optional=True)})
POLICY = Policy(agents={"clerk": AgentRules(tools={"pay": PAY})})


def decisions(path: Path) -> list[Entry]:
    return [entry for entry, _ in read(path) if entry.event == "decision"]


def payer(answer: Any, path: Path, **more: Any) -> tuple[Governor, Any]:
    governor = Governor(POLICY, audit=AuditLog(path), checks=[lambda proposal: answer], **more)

    @governed(governor, agent="clerk")
    def pay(quantity: int, to: str = "bob") -> str:
        return f"paid {quantity} to {to}"

    return governor, pay


UNFIT: dict[str, tuple[Any, str]] = {
    "stray key beside args": (
        {"args": {"quantity": 50, "to": "bob"}, "quantity": 1}, "'quantity' stands beside"
    ),
    "no args": ({"quantity": 1}, "it has no 'args'"),
    "missing argument": ({"args": {"quantity": 1}}, "argument 'to' is missing"),
    "misspelt argument": ({"args": {"quantity": 1, "to": "bob", "too": "eve"}}, "argument 'too' was not"),
    "renamed argument": ({"args": {"qantity": 1, "to": "bob"}}, "argument 'qantity' was not"),
    "list of arguments": ({"args": [1, "bob"]}, "'args' is a list"),
    "number": (5, "it has no 'args'"),
    "nothing": (None, "it has no 'args'"),
    "unknown to the function": (
        {"args": {"quantity": 1, "to": "bob", "memo": "m"}}, "parameters of pay: 'memo'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_a_rewrite_of_another_form_runs_nothing(case: str, tmp_path: Path) -> None:
    value, told = UNFIT[case]
    governor, pay = payer(Rewrite(value, "too many"), tmp_path / "log")
    with governor.run("r"), pytest.raises(Blocked, match=told) as blocked:
        pay(50)
    assert "does not fit the " in str(blocked.value)
    last = decisions(tmp_path / "log")[-1]
    assert (last.outcome, last.executed) == ("block", "")


def test_the_message_shows_the_form_that_would_fit(tmp_path: Path) -> None:
    governor, pay = payer(Rewrite({"quantity": 1}), tmp_path / "log")
    with governor.run("r"), pytest.raises(Blocked, match=r'\{"args": \{"quantity": …, "to": …\}\}'):
        pay(50)


def test_a_rewrite_may_use_arguments_that_the_policy_names(tmp_path: Path) -> None:
    governor, _ = payer(Rewrite({"args": {"quantity": 1, "memo": "less"}}, "too many"), tmp_path / "log")
    ruling = governor.decide(
        governor.propose("tool_call", "pay", {"args": {"quantity": 50}}, agent="clerk", run="r")
    )
    assert ruling.args == {"quantity": 1, "memo": "less"}
    governor, _ = payer(Rewrite({"args": {"quantity": 1}}, "no memo"), tmp_path / "log2")
    whole = {"args": {"quantity": 50, "memo": "m"}}
    assert governor.decide(governor.propose("tool_call", "pay", whole, agent="clerk", run="r")).allowed


def test_a_message_stays_a_message() -> None:
    governor = Governor(POLICY, checks=[lambda proposal: Rewrite({"args": {"text": "hi"}})])
    ruling = governor.decide(governor.propose("message", "", "hello", agent="clerk", run="r"))
    assert not ruling.allowed
    assert "it is an object, not a text" in ruling.reason


def test_the_log_names_the_check_that_rewrote(tmp_path: Path) -> None:
    def halve(proposal: Any) -> Any:
        args = proposal.args
        return (
            Rewrite({"args": {**args, "quantity": 40}}, "80 is a lot") if args["quantity"] > 40 else Allow()
        )

    def less(proposal: Any) -> Any:
        return Rewrite({"args": {**proposal.args, "quantity": 9}}, "ten is enough")

    clamping = AgentRules(tools={"pay": Capability({"quantity": Bound(maximum=60, otherwise="clamp")})})
    policy = Policy(agents={"clerk": clamping})
    for number, (checks, quantity, rule, reason, evidence) in enumerate((
        ([halve], 50, "check:halve", "80 is a lot", ()),
        ([halve], 30, "capability:clerk/tools/pay", "", ()),
        ([], 80, "capability:clerk/tools/pay", "brought within bounds", ()),
        (
            [halve, less], 80, "check:less", "ten is enough",
            ("capability:clerk/tools/pay: brought within bounds", "check:halve: 80 is a lot"),
        ),
    )):  # fmt: skip
        path = tmp_path / f"{number}"
        governor = Governor(policy, audit=AuditLog(path), checks=checks)
        asked = governor.propose("tool_call", "pay", {"args": {"quantity": quantity}}, agent="clerk", run="r")
        assert governor.decide(asked).allowed
        entry = decisions(path)[-1]
        assert (entry.rule, entry.reason, entry.evidence) == (rule, reason, evidence)


def test_the_log_names_the_contract_that_was_cured(tmp_path: Path) -> None:
    contracts = parse_contracts(
        "masfire: contract/v1\ncontracts:\n  - id: small\n    enforce: rewrite\n"
        "    formula: \"tool('pay') -> args.quantity <= 20\"\n"
    )
    policy = Policy(agents=POLICY.agents, contracts=contracts)
    governor = Governor(
        policy, audit=AuditLog(tmp_path / "log"), rewrite=lambda proposal, reason: {"args": {"quantity": 10}}
    )
    asked = governor.propose("tool_call", "pay", {"args": {"quantity": 50}}, agent="clerk", run="r")
    assert governor.decide(asked).args == {"quantity": 10}
    entry = decisions(tmp_path / "log")[-1]
    assert (entry.outcome, entry.rule) == ("rewrite", "contract:small")
    assert "args.quantity" in entry.reason
    wrong = Governor(policy, rewrite=lambda proposal, reason: {"quantity": 10})
    ruling = wrong.decide(asked)
    assert not ruling.allowed
    assert ruling.rule == "rewrite:contract:small"


def test_the_log_names_the_person_who_rewrote(tmp_path: Path) -> None:
    governor = Governor(
        POLICY, audit=AuditLog(tmp_path / "log"),
        escalate=lambda ruling: Rewrite({"args": {"quantity": 61}}, "agreed by telephone"),
    )  # fmt: skip
    asked = governor.propose("tool_call", "pay", {"args": {"quantity": 500}}, agent="clerk", run="r")
    assert governor.decide(asked).args == {"quantity": 61}
    entry = decisions(tmp_path / "log")[-1]
    assert (entry.outcome, entry.rule) == ("rewrite", "escalate:capability:clerk/tools/pay")
    assert entry.reason == "agreed by telephone"


def test_a_screened_rewrite_keeps_the_name_of_its_check() -> None:
    def less(proposal: Any) -> Any:
        return Rewrite({"args": {"quantity": 9}}, "too many")

    policy = Policy(agents=POLICY.agents, lineage=Lineage(mode="speed"))
    governor = Governor(policy, checks=[less])
    asked = governor.propose("tool_call", "pay", {"args": {"quantity": 50}}, agent="clerk", run="r")
    ruling = governor.decide(asked)
    assert (ruling.rule, ruling.args) == ("lineage:yellow", {"quantity": 9})
    assert "check:less: too many" in ruling.evidence


def cut(proposal: Any) -> Any:
    """Take from a model call what it may not have."""
    if proposal.kind != "model_call":
        return Outcome.ALLOW
    return Rewrite({key: item for key, item in proposal.value.items() if key != "tools"}, "no tools")


def test_what_a_rewrite_takes_from_a_request_is_not_sent() -> None:
    tools: Any = [{"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}]
    with FakeOpenAI(lambda path, body: "hello") as server:
        governor = Governor(POLICY, checks=[cut])
        client = govern(openai.OpenAI(base_url=server.url, api_key="none"), governor, agent="clerk")
        with governor.run("r"):
            client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], tools=tools, max_tokens=5
            )
        assert "tools" not in server.bodies[0]
        assert server.bodies[0]["max_tokens"] == 5


def gentler(proposal: Any) -> Any:
    """Rewrite each model call."""
    return (
        Rewrite({**proposal.value, "messages": ["something else"]})
        if proposal.kind == "model_call"
        else Allow()
    )


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_a_chat_model_of_a_graph_is_not_asked_what_was_rewritten(how: str, tmp_path: Path) -> None:
    open_ = Policy(agents={"clerk": AgentRules()}, retries=False)
    with pytest.raises(Blocked, match="cannot be sent as rewritten by check:gentler"):
        system(Governor(open_, checks=[gentler], audit=AuditLog(tmp_path / "log")), how).invoke({})
    with pytest.raises(Blocked, match="cannot be sent as rewritten by check:gentler"):
        asyncio.run(system(Governor(open_, checks=[gentler]), how).ainvoke({}))
    assert decisions(tmp_path / "log")[-1].outcome == "block"


def test_a_chat_model_of_an_agent_is_not_asked_what_was_rewritten() -> None:
    from langchain_openai import ChatOpenAI

    @tool
    def pay(quantity: int) -> str:
        """Pay."""
        return f"paid {quantity}"

    with FakeOpenAI(lambda path, body: "hello") as server:
        model = ChatOpenAI(model="m", base_url=server.url, api_key="none", max_retries=0)
        governed_by = middleware(Governor(POLICY, checks=[gentler]), agent="clerk")
        agent: Any = create_agent(model, [pay], middleware=[governed_by])
        with pytest.raises(Blocked, match="cannot be sent as rewritten"):
            agent.invoke({"messages": [("user", "hi")]})
        with pytest.raises(Blocked, match="cannot be sent as rewritten"):
            asyncio.run(agent.ainvoke({"messages": [("user", "hi")]}))
        assert server.bodies == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["args", "a", "b"]), inner),
    max_leaves=6,
)
ARGS = st.fixed_dictionaries({"a": JSON}, optional={"b": JSON, "c": JSON, "memo": JSON})


@settings(max_examples=80, deadline=None)
@example(wish={"args": {"a": 1, "b": 2}}, extra={})
@example(wish={"args": {"a": 1, "b": 2, "memo": 3}}, extra={"memo": 4})
@example(wish={"args": {"a": 5, "b": 1}}, extra={})
@example(wish={"args": {"a": None, "b": None, "memo": None, "c": None}}, extra={"c": None, "memo": None})
@given(
    wish=JSON | st.fixed_dictionaries({"args": ARGS}, optional={"a": JSON}),
    extra=st.dictionaries(st.sampled_from(["c", "memo"]), JSON),
)
def test_what_runs_is_what_is_logged_or_nothing_runs(
    tmp_path_factory: pytest.TempPathFactory, wish: Any, extra: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("audit") / "log"
    pay = Capability({"memo": Bound(optional=True)})
    ran: list[Any] = []
    with AuditLog(path) as log:
        policy = Policy(agents={"clerk": AgentRules(tools={"pay": pay})})
        governor = Governor(policy, audit=log, checks=[lambda proposal: Rewrite(wish, "because")])

        @governed(governor, agent="clerk", name="pay")
        def send(a: Any, b: Any = 1, **more: Any) -> None:
            ran.append({"a": a, "b": b, **more})

        with governor.run(), contextlib.suppress(Blocked):
            send(5, **extra)
    last = decisions(path)[-1]
    if ran:
        assert ran == [wish["args"]]  # whatever the order of its keys, which hashes tell apart
        assert last.executed == digest(pack({"args": wish["args"]}))
        assert last.outcome == ("allow" if last.executed == last.proposed else "rewrite")
    else:
        assert (last.outcome, last.executed) == ("block", "")
