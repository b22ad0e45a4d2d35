"""Ways around a governed OpenAI client: every place of a request or reply that can hold an action."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from masfire.adapters.govern_openai import govern
from masfire.governance import AgentRules, Blocked, Bound, Capability, Governor, Limits, Lineage, Policy
from tests.support.fake_openai import FakeOpenAI

TOOLS = {
    "pay": Capability({"amount": Bound(maximum=10, otherwise="clamp")}),
    "note": Capability({"input": Bound(max_length=5)}),
}
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "go"}]}
ALL = Policy(agents={"clerk": AgentRules(tools=TOOLS)})


def asked(reply: Any, act: Callable[[Any], Any], policy: Policy = ALL) -> tuple[Any, list[Any]]:
    with FakeOpenAI(lambda path, body: reply) as server:
        inner = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        governor = Governor(policy)
        with governor.run("r"), govern(inner, governor, agent="clerk") as client:
            try:
                return act(client), server.bodies
            except Blocked as blocked:
                return blocked, server.bodies


def message(**fields: Any) -> dict[str, Any]:
    whole = {"role": "assistant", "content": None, **fields}
    return {"extra": {"choices": [{"index": 0, "message": whole, "finish_reason": "stop"}]}}


def output(*items: dict[str, Any]) -> dict[str, Any]:
    return {"extra": {"output": list(items)}}


def chat(client: Any) -> Any:
    return client.chat.completions.create(**ASK)


def respond(client: Any) -> Any:
    return client.responses.create(model="m", input="go")


CUSTOM = {"name": "note", "input": "x" * 9}
SHELL = {"type": "exec", "command": ["rm", "-rf", "/"], "env": {}}
HIDDEN = {
    "legacy function call": (chat, message(function_call={"name": "steal", "arguments": "{}"})),
    "custom tool in chat": (
        chat, message(tool_calls=[{"id": "1", "type": "custom", "custom": CUSTOM}])
    ),
    "unknown kind of call": (chat, message(tool_calls=[{"id": "1", "type": "robot", "robot": {"arm": 1}}])),
    "custom tool": (
        respond,
        output({"type": "custom_tool_call", "id": "1", "call_id": "1", **CUSTOM}),
    ),
    "shell": (
        respond,
        output({"type": "local_shell_call", "id": "1", "call_id": "1", "action": SHELL}),
    ),
    "unknown item": (respond, output({"type": "robot_call", "id": "1", "arm": 1})),
    "second of two": (
        chat, message(tool_calls=[
            {"id": "1", "type": "function", "function": {"name": "pay", "arguments": '{"amount": 1}'}},
            {"id": "2", "type": "function", "function": {"name": "steal", "arguments": "{}"}},
        ]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", HIDDEN)
def test_a_reply_with_a_hidden_call_is_not_handed_out(way: str) -> None:
    act, reply = HIDDEN[way]
    assert isinstance(asked(reply, act)[0], Blocked)


REQUESTS: dict[str, Callable[[Any], Any]] = {
    "stream in extra_body": lambda c: c.chat.completions.create(**ASK, extra_body={"stream": True}),
    "model in extra_body": lambda c: c.chat.completions.create(**ASK, extra_body={"model": "dear"}),
    "foreign object": lambda c: c.chat.completions.create(**{**ASK, "messages": iter([{"role": "user"}])}),
    "hosted shell": lambda c: c.responses.create(model="m", input="x", tools=[{"type": "code_interpreter"}]),
    "hosted search": lambda c: c.chat.completions.create(**ASK, web_search_options={}),
    "mcp": lambda c: c.responses.create(
        model="m", input="x", tools=[{"type": "mcp", "server_label": "s", "server_url": "https://x.example"}]
    ),
}


@pytest.mark.parametrize("way", REQUESTS)
def test_a_request_past_the_check_is_not_sent(way: str) -> None:
    found, sent = asked("hi", REQUESTS[way])
    assert isinstance(found, Blocked)
    assert sent == []


def test_a_hosted_tool_that_is_allowed_is_sent() -> None:
    policy = Policy(agents={"clerk": AgentRules(tools={"web_search": Capability()})})
    found, sent = asked("hi", REQUESTS["hosted search"], policy)
    assert found.choices[0].message.content == "hi"
    assert len(sent) == 1


class Pay(BaseModel):
    """Pay."""

    amount: int


def test_parsed_arguments_are_the_checked_ones() -> None:
    tool = openai.pydantic_function_tool(Pay, name="pay")

    def act(client: Any) -> Any:
        return client.chat.completions.parse(**ASK, tools=[tool])

    found, _ = asked({"tool_calls": [("pay", '{"amount": 5000}')]}, act)
    function = found.choices[0].message.tool_calls[0].function
    assert (json.loads(function.arguments), function.parsed_arguments) == ({"amount": 10}, Pay(amount=10))


class Order(BaseModel):
    city: str
    quantity: int


def test_a_parsed_answer_is_the_screened_one() -> None:
    lineage = Lineage(mode="speed", classes=(("Berlin", "Paris"),), instructions=("12 chairs to Berlin.",))

    def act(client: Any) -> Any:
        return client.chat.completions.parse(**ASK, response_format=Order)

    policy = Policy(agents={"clerk": AgentRules()}, lineage=lineage)
    found, _ = asked('{"city": "Paris", "quantity": 12}', act, policy)
    assert found.choices[0].message.parsed == Order(city="Berlin", quantity=12)


def test_messages_of_the_sdk_may_be_sent_back_as_they_came() -> None:
    def act(client: Any) -> Any:
        first = client.chat.completions.create(**ASK).choices[0].message
        return client.chat.completions.create(model="m", messages=[*ASK["messages"], first])

    found, sent = asked("hi", act)
    assert found.choices[0].message.content == "hi"
    assert sent[1]["messages"][1]["content"] == "hi"


def test_calls_allowed_before_a_blocked_one_use_up_nothing() -> None:
    rules = AgentRules(tools=TOOLS, budget=Limits(steps=4))
    act, reply = HIDDEN["second of two"]
    governor = Governor(Policy(agents={"clerk": rules}))
    with FakeOpenAI(lambda path, body: reply) as server:
        inner = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        with governor.run("r"), govern(inner, governor, agent="clerk") as client:
            for _ in range(3):  # the model calls count, the calls that nobody got do not
                with pytest.raises(Blocked, match="default"):
                    act(client)


def test_what_deletes_is_not_reached_through_the_list_of_models() -> None:
    found, sent = asked("hi", lambda client: client.models.delete("ft:own"))
    assert isinstance(found, Blocked)
    assert sent == []
    with FakeOpenAI(lambda path, body: "hi") as server:
        inner = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        client = govern(inner, Governor(ALL), agent="clerk")
        assert callable(client.models.list)
        assert callable(client.models.retrieve)
