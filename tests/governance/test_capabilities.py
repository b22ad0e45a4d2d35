"""Which rule wins, what bounds say, and what is frozen before it is checked."""

from typing import Any

import pytest

from masfire.errors import UsageError
from masfire.governance import AgentRules, Bound, Capability, Governor, Limits, Policy
from masfire.governance.capabilities import Rulebook
from masfire.governance.runs import MAX_RESERVED

ANY = Capability()


def allowed(agents: dict[str, AgentRules], agent: str, name: str, kind: str = "tool_call") -> bool:
    return Rulebook(agents).grant(agent, "worker", kind, name).allowed


@pytest.mark.parametrize(
    ("agents", "agent", "tool", "wanted"),
    [
        ({}, "a", "x", False),
        ({"*": AgentRules(tools={"*": ANY})}, "a", "x", True),
        ({"*": AgentRules(tools={"*": ANY}, deny=("x",))}, "a", "x", False),
        ({"*": AgentRules(deny=("x",)), "a": AgentRules(tools={"x": ANY})}, "a", "x", True),
        ({"*": AgentRules(deny=("x",)), "a": AgentRules(tools={"*": ANY})}, "a", "x", False),
        ({"a": AgentRules(tools={"x": ANY}, deny=("*",))}, "a", "x", True),
        ({"a": AgentRules(tools={"x": ANY}, deny=("x",))}, "a", "x", False),
        ({"*": AgentRules(tools={"x": ANY}), "a": AgentRules(deny=("*",))}, "a", "x", False),
        ({"ab*": AgentRules(tools={"x": ANY}), "a*": AgentRules(deny=("x",))}, "abc", "x", True),
        ({"role:worker": AgentRules(tools={"x": ANY}), "*": AgentRules(deny=("x",))}, "a", "x", True),
        ({"a": AgentRules(tools={"read_*": ANY})}, "a", "read_file", True),
        ({"a": AgentRules(tools={"read_*": ANY})}, "a", "write_file", False),
        ({"a": AgentRules(tools={"x[1]": ANY})}, "a", "x1", False),
        ({"a": AgentRules(tools={"x": ANY})}, "", "x", False),
        ({"a": AgentRules(deny=("model_call:gpt-*",))}, "a", "gpt-5", False),
    ],
)
def test_the_most_specific_rule_and_deny_win(
    agents: dict[str, AgentRules], agent: str, tool: str, wanted: bool
) -> None:
    assert allowed(agents, agent, tool) is wanted


def test_kinds_that_do_not_act_are_open_until_a_section_closes_them() -> None:
    book = {"a": AgentRules(models={"small": ANY}), "b": AgentRules(deny=("model_call:big",))}
    assert not allowed(book, "a", "big", "model_call")
    assert allowed(book, "a", "small", "model_call")
    assert not allowed(book, "b", "big", "model_call")
    assert allowed(book, "b", "other", "model_call")
    assert not allowed(book, "b", "c", "delegation")
    assert not allowed(book, "b", "x", "no_such_kind")


def ruled(bound: Bound, args: Any, **more: Any) -> Any:
    rules = AgentRules(tools={"pay": Capability({"to.amount": bound}, **more)})
    governor = Governor(Policy(agents={"a": rules}, retries=False))
    return governor.decide(governor.propose("tool_call", "pay", {"args": args}, agent="a", run="r"))


@pytest.mark.parametrize(
    ("bound", "value", "wanted"),
    [
        (Bound(maximum=10), 10, True),
        (Bound(maximum=10), 10.5, False),
        (Bound(maximum=10), float("nan"), False),
        (Bound(maximum=10), float("inf"), False),
        (Bound(maximum=10), "5", False),
        (Bound(maximum=10), True, False),
        (Bound(maximum=10), None, False),
        (Bound(minimum=0), -1, False),
        (Bound(type="integer"), 1.0, False),
        (Bound(type="integer"), True, False),
        (Bound(enum=(1, "x")), True, False),
        (Bound(enum=(1, "x")), "x", True),
        (Bound(pattern="[a-z]+"), "abc", True),
        (Bound(pattern="[a-z]+"), "abc\n", False),
        (Bound(pattern="[a-z]+"), "abc; rm", False),
        (Bound(max_length=3), "abcd", False),
        (Bound(max_length=3), 5, False),
        (Bound(min_length=1), "", False),
    ],
)
def test_a_bound_holds_or_the_call_does_not_run(bound: Bound, value: Any, wanted: bool) -> None:
    assert ruled(bound, {"to": {"amount": value}}).allowed is wanted


@pytest.mark.parametrize(
    "args", [{}, {"to": {}}, {"to": None}, {"to": []}, {"amount": 5}, [], "text", None, 3]
)
def test_a_missing_argument_blocks_and_says_so(args: Any) -> None:
    ruling = ruled(Bound(maximum=10), args)
    assert not ruling.allowed
    assert "missing" in ruling.reason or "no object" in ruling.reason


def test_an_optional_argument_may_be_missing_and_others_may_be_refused() -> None:
    assert ruled(Bound(maximum=10, optional=True), {}).allowed
    refused = ruled(Bound(maximum=10, optional=True), {"also": 1}, others=False)
    assert (refused.allowed, "also" in refused.reason) == (False, True)


def test_arguments_changed_after_the_check_change_nothing() -> None:
    governor = Governor(Policy(agents={"a": AgentRules(tools={"pay": Capability({"n": Bound(maximum=10)})})}))
    args = {"n": 5, "deep": [1]}
    proposal = governor.propose("tool_call", "pay", {"args": args}, agent="a", run="r")
    args["n"] = 10_000
    ruling = governor.decide(proposal)
    args["deep"].append(2)  # type: ignore[attr-defined]
    assert ruling.args == {"n": 5, "deep": [1]}
    ruling.args["n"] = 99
    assert ruling.args["n"] == 5
    assert ruling.proposed == ruling.executed


def test_what_is_no_json_cannot_be_checked() -> None:
    governor = Governor(Policy(agents={"a": AgentRules(tools={"pay": ANY})}))
    cycle: list[Any] = []
    cycle.append(cycle)
    for odd in (object(), cycle, {1: 2}, {"x": {1, 2}}, 10**5000):
        ruling = governor.decide(governor.propose("tool_call", "pay", {"args": odd}, agent="a", run="r"))
        assert (ruling.allowed, ruling.rule) == (False, "malformed")


def test_hostile_names_do_not_fill_the_memory() -> None:
    book = Rulebook({"a": AgentRules(tools={"x": ANY})})
    for index in range(25_000):
        book.grant("a", "", "tool_call", f"t{index}")
    assert len(book._cache) <= 10_000


@pytest.mark.parametrize(
    ("bound", "named"),
    [(Bound(type="int"), "'int'"), (Bound(otherwise="warn"), "'warn'"), (Bound(pattern="(?=x)"), "RE2")],
)
def test_a_bound_that_makes_no_sense_is_refused_at_once(bound: Bound, named: str) -> None:
    with pytest.raises(UsageError, match=named.replace("'", ".")) as caught:
        Rulebook({"a": AgentRules(tools={"pay": Capability({"n": bound})})})
    assert "a/tools/pay/n" in str(caught.value)


def test_budgets_name_what_is_used_up() -> None:
    rules = AgentRules(tools={"*": ANY}, budget=Limits(steps=2))
    governor = Governor(Policy(agents={"*": rules}, run=Limits(steps=3)))

    def rule(agent: str) -> str:
        return governor.decide(governor.propose("tool_call", "x", {"args": {}}, agent=agent, run="r")).rule

    assert [rule("a"), rule("a"), rule("a")] == ["capability:*/tools/*"] * 2 + ["budget:steps"]
    assert [rule("b"), rule("b")] == ["capability:*/tools/*", "budget:steps"]  # the whole run has 3


@pytest.mark.parametrize("otherwise", ["clamp", "block"])
def test_a_proposal_is_judged_alike_however_often_and_whatever_was_proposed_since(otherwise: str) -> None:
    bound = Bound(type="integer", maximum=10, otherwise=otherwise)
    governor = Governor(Policy(agents={"a": AgentRules(tools={"pay": Capability({"n": bound})})}))
    args = {"args": {"n": 50}}
    high = governor.propose("tool_call", "pay", args, agent="a", run="r")
    args["args"]["n"] = 5
    first = governor.decide(high)
    low = governor.propose("tool_call", "pay", args, agent="a", run="r")
    assert governor.decide(low).args == {"n": 5}
    for again in (governor.decide(high), governor.decide(high)):
        assert (again.outcome, again.payload) == (first.outcome, first.payload)
    assert first.allowed is (otherwise == "clamp")
    assert not first.allowed or first.args == {"n": 10}


@pytest.mark.parametrize(("given", "wanted"), [(0, True), (7, True), (8, False), (-1, False), (2**70, False)])
@pytest.mark.parametrize("optional", [False, True])
def test_an_integers_bounds_hold(given: int, wanted: bool, optional: bool) -> None:
    bound = Bound(type="integer", minimum=0, maximum=7.5, optional=optional)
    governor = Governor(Policy(agents={"a": AgentRules(tools={"pay": Capability({"n": bound})})}))
    ruling = governor.decide(governor.propose("tool_call", "pay", {"args": {"n": given}}, agent="a", run="r"))
    assert ruling.allowed is wanted
    missing = governor.decide(governor.propose("tool_call", "pay", {"args": {}}, agent="a", run="r"))
    assert missing.allowed is optional


def test_more_actions_under_way_than_are_remembered_cost_what_they_cost() -> None:
    state = Governor(Policy(agents={"a": AgentRules(tools={"x": ANY})}, retries=False))
    rulings = [
        state.decide(state.propose("tool_call", "x", {"args": {}}, agent="a", run="r"))
        for _ in range(MAX_RESERVED + 10)
    ]
    account = state.state_of("r").accounts["a"]
    assert account.steps == MAX_RESERVED + 10
    state.abandon(rulings[0])  # forgotten: its step stays used
    state.abandon(rulings[-1])
    assert account.steps == MAX_RESERVED + 9
