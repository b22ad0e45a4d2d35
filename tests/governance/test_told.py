"""What a refusal says: what is wrong, and what would be right."""

import asyncio
from typing import Any

import openai
import pytest

from masfire.adapters.govern_openai import govern
from masfire.governance import (
    AgentRules,
    Allow,
    Blocked,
    Bound,
    Capability,
    Governor,
    Limits,
    Outcome,
    Policy,
)
from masfire.governance.policyfile import PolicyErrors, parse_policy
from tests.support.fake_openai import FakeOpenAI

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "go"}]}
OPEN = AgentRules(tools={"*": Capability()})


def call(governor: Governor, name: str = "x", **args: Any) -> Any:
    return governor.decide(governor.propose("tool_call", name, {"args": args}, agent="a", run="r"))


def streamed(url: str, governor: Governor, how: str) -> Any:
    if how == "sync":
        client = govern(openai.OpenAI(base_url=url, api_key="none"), governor, agent="a")
        return client.chat.completions.create(**ASK, stream=True)
    waiting = govern(openai.AsyncOpenAI(base_url=url, api_key="none"), governor, agent="a")
    return asyncio.run(waiting.responses.create(model="m", input="", stream=True))


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_stream_is_refused_by_that_name(how: str) -> None:
    governor = Governor(Policy(agents={"a": OPEN}))
    with FakeOpenAI(lambda path, body: "hi") as server, governor.run():
        with pytest.raises(Blocked, match=r"openai:stream: Streams are not governed.*\n?.*Use stream=False"):
            streamed(server.url, governor, how)
        client = govern(openai.OpenAI(base_url=server.url, api_key="none"), governor, agent="a")
        with pytest.raises(Blocked, match="extra_body may not set 'messages'"):
            client.chat.completions.create(**ASK, extra_body={"messages": []})
        assert server.bodies == []
        client.chat.completions.create(**ASK, stream=False)


def test_a_token_budget_says_what_an_answer_without_a_limit_needs() -> None:
    governor = Governor(Policy(agents={"a": AgentRules(budget=Limits(tokens=900))}))

    def refused(**request: Any) -> Any:
        ruling = governor.decide(governor.propose("model_call", "m", request, agent="a", run="r"))
        assert ruling.rule == "budget:tokens"
        return ruling

    said = refused(messages=[])
    assert "0 are used or set aside, and this call sets aside 1,0" in said.reason
    assert "It has no max_tokens, so 1,024 of them are for its answer." in said.reason
    assert said.as_error()["suggested_action"].startswith("set max_tokens")
    assert "max_tokens" not in refused(messages=[], max_tokens=2_000).reason
    own = Governor(governor.policy, tokens_of=lambda proposal: 5_000)
    ruling = own.decide(own.propose("model_call", "m", {}, agent="a", run="r"))
    assert "sets aside 5,000" in ruling.reason
    assert "max_tokens" not in ruling.reason


@pytest.mark.parametrize("answer", [None, True, "yes", {"allow": True}])
def test_a_check_that_answers_nothing_is_told_the_answers(answer: Any) -> None:
    ruling = call(Governor(Policy(agents={"a": OPEN}), checks=[lambda proposal: answer]))
    assert not ruling.allowed
    assert (
        f"It returned {answer!r}; an answer is Allow(), Block(reason) or Rewrite(value, reason)."
        in ruling.reason
    )


def test_quarantine_is_told_before_a_rule_asks_to_try_again() -> None:
    rules = AgentRules(tools={"x": Capability({"n": Bound(maximum=1)})})
    seen: list[str] = []

    def check(proposal: Any) -> Allow:
        seen.append(proposal.name)
        return Allow()

    def overrule(ruling: Any) -> Outcome:
        seen.append(ruling.rule)
        return Outcome.BLOCK

    governor = Governor(Policy(agents={"a": rules}, quarantine=2), checks=[check], escalate=overrule)
    assert [call(governor, n=5).rule for _ in range(2)] == ["escalate:capability:a/tools/x"] * 2
    seen.clear()
    for asked in (call(governor, n=5), call(governor, n=1), call(governor, "unknown")):
        assert asked.rule == "quarantine"
        assert asked.as_error()["suggested_action"] == "stop here and report what is done"
    assert seen == []
    governor.release("a", run="r")
    assert call(governor, n=1).allowed


def test_a_missing_argument_is_told_how_it_may_be_left_out() -> None:
    rules = AgentRules(tools={"x": Capability({"to": Bound()})})
    error = call(Governor(Policy(agents={"a": rules}))).as_error()
    assert error["suggested_action"] == "give 'to'; only `optional: true` in its bound lets it be left out"


IMPOSSIBLE = {
    "{minimum: 5, maximum: 2}": "minimum 5 is above maximum 2",
    "{min_length: 5, max_length: 2}": "min_length 5 is above max_length 2",
    "{type: string, maximum: 2}": "minimum or maximum holds for integer and number, and type is string",
    '{type: "null", max_length: 2}': "min_length or max_length holds for string and array, and type is null",
    "{type: array, pattern: x}": "pattern holds for string, and type is array",
    "{enum: [a, b], type: integer}": "no value of enum is within the rest",
    "{enum: [5, 7], maximum: 2}": "no value of enum is within the rest",
}


@pytest.mark.parametrize("bound", IMPOSSIBLE)
def test_a_bound_that_nothing_can_be_within_is_refused(bound: str) -> None:
    text = f"masfire: policy/v1\nagents:\n  a:\n    tools:\n      x: {{arguments: {{n: {bound}}}}}\n"
    with pytest.raises(PolicyErrors) as caught:
        parse_policy(text, name="p.yaml")
    assert f"p.yaml:5:23: n: Nothing can be within this bound: {IMPOSSIBLE[bound]}." in str(caught.value)


@pytest.mark.parametrize(
    "bound",
    ["{minimum: 2, maximum: 2}", "{enum: [1, a], type: integer}", "{enum: [null]}", "{min_length: 0}"],
)
def test_a_bound_that_something_can_be_within_is_taken(bound: str) -> None:
    parse_policy(f"masfire: policy/v1\nagents: {{a: {{tools: {{x: {{arguments: {{n: {bound}}}}}}}}}}}")


def test_all_that_cannot_be_read_is_told_at_once() -> None:
    text = """\
masfire: policy/v1
agents:
  a:
    tools:
      x: {arguments: {n: {minimum: 5, maximum: 2}, m: {pattern: "(?=a)"}}}
contracts: [terminaton, termination, nope.yaml]
"""
    with pytest.raises(PolicyErrors) as caught:
        parse_policy(text, name="p.yaml")
    assert len(caught.value.mistakes) == 4
    assert "Did you mean the pack 'termination'?" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("lineage:", "lineage"), ("run:", "run"), ("agents: {a: {tools: {pay: }}}", "agents.a.tools.pay"),
        ("agents: {a: {models: }}", "agents.a.models"),
        ("agents: {a: {tools: {x: {arguments: {n: {maximum: }}}}}}", "agents.a.tools.x.arguments.n.maximum"),
    ],
)  # fmt: skip
def test_a_key_that_was_left_empty_is_no_permission(line: str, place: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        parse_policy(f"masfire: policy/v1\n{line}\n", name="p.yaml")
    assert f"{place!r} is empty" in str(caught.value)
    assert len(caught.value.mistakes) == 1
    with pytest.raises(PolicyErrors, match="1 mistake"):
        parse_policy("masfire: policy/v1\ncontracts: [null]\n")
