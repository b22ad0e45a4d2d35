"""Agents that are plain functions or objects: who they are, what reaches whom, what faults do to it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import openai
import pytest

from masfire.recorder import agent
from masfire.session import run
from masfire.trace.payload import pack
from tests.support.fake_openai import FakeOpenAI, texts_of

TASK = "Order three brass desk lamps for the Zurich office."
PLAN = "1. look up the brass lamp\n2. reserve three pieces"
CODE = "reserve(item='brass lamp', pieces=3)"
VERDICT = "The reservation is complete and correct."


def answers(path: str, body: dict[str, Any]) -> str:
    system = body.get("instructions") or body["messages"][0]["content"]
    for word, text in (("plan", PLAN), ("code", CODE), ("review", VERDICT)):
        if word in system:
            return text
    return "I have no idea what to do."


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(answers) as fake:
        yield fake


@pytest.fixture
def client(server: FakeOpenAI) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, system: str, *texts: str) -> str:
    messages: Any = [{"role": "system", "content": system}]
    messages += [{"role": "user", "content": text} for text in texts]
    return client.chat.completions.create(model="m", messages=messages).choices[0].message.content or ""


def planner(client: openai.OpenAI, task: str) -> str:
    return ask(client, "You plan.", f"Plan this task: {task}")


def coder(client: openai.OpenAI, plan: str) -> str:
    return ask(client, "You write code.", f"Carry out this plan:\n{plan}\nAnswer with one line.")


def reviewer(client: openai.OpenAI, task: str, plan: str, code: str) -> str:
    return ask(client, "You review.", f"Task: {task}", plan, f"The code: {code}")


def team(client: openai.OpenAI) -> str:
    plan = planner(client, TASK)
    code = coder(client, plan)
    return reviewer(client, TASK, plan, code)


def strike(test: Callable[[Any], bool], change: Callable[[Any], Any]) -> Any:
    """Return an interceptor that changes the steps a test picks out."""
    return lambda step, history: change(step) if test(step) else (step,)


def message_from(sender: str) -> Callable[[Any], bool]:
    return lambda step: step.kind == "message" and step.agent == sender


def sent_to(step: Any, *recipients: str) -> Any:
    return msgspec.structs.replace(step, body=msgspec.structs.replace(step.body, to=recipients))


def edges(trace: Any) -> list[tuple[str, tuple[str, ...], Any]]:
    return [(s.agent, s.body.to, s.value) for s in trace if s.kind == "message"]


def request_of(server: FakeOpenAI, word: str, nth: int = 0) -> list[str]:
    return [texts_of(body) for body in server.bodies if word in body["messages"][0]["content"]][nth]


def test_the_message_graph_of_a_team(client: openai.OpenAI, server: FakeOpenAI) -> None:
    with run(task=TASK) as r:
        assert team(client) == VERDICT
    assert edges(r.trace) == [
        ("user", ("planner",), TASK),
        ("planner", ("coder",), PLAN),
        ("planner", ("reviewer",), PLAN),
        ("coder", ("reviewer",), CODE),
    ]
    assert [s.agent for s in r.trace if s.kind == "model_call"] == ["planner", "coder", "reviewer"]
    last = next(s for s in r.trace if s.kind == "model_call" and s.agent == "reviewer")
    causes = [(r.trace[p].agent, r.trace[p].kind) for p in last.parents]
    assert causes == [("user", "message"), ("planner", "message"), ("coder", "message")]
    for step in r.trace:
        if step.kind == "message" and step.agent != "user":
            assert [r.trace[p].kind for p in step.parents] == ["model_reply"]
            assert r.trace[step.parents[0]].agent == step.agent


def test_a_dropped_message_is_not_in_the_request(client: openai.OpenAI, server: FakeOpenAI) -> None:
    drop = strike(message_from("planner"), lambda step: ())
    with run(task=TASK, interceptors=[drop]) as r:
        team(client)
    assert request_of(server, "code")[1] == "Carry out this plan:\n\nAnswer with one line."
    assert PLAN not in "".join(request_of(server, "review"))
    assert len(request_of(server, "review")) == 3  # the message that held nothing else is gone
    call = next(s for s in r.trace if s.kind == "model_call" and s.agent == "coder")
    assert call.parents == ()


def test_an_altered_message_is_what_every_later_request_holds(
    client: openai.OpenAI, server: FakeOpenAI
) -> None:
    def garble(step: Any) -> Any:
        return (step.with_payload(pack("1. sing a song for the lamp")),)

    with run(
        task=TASK,
        interceptors=[strike(lambda s: message_from("planner")(s) and "coder" in s.body.to, garble)],
    ):
        plan = planner(client, TASK)
        coder(client, plan)
        coder(client, plan)
    for nth in (0, 1):
        assert "sing a song" in request_of(server, "code", nth)[1]
        assert PLAN not in request_of(server, "code", nth)[1]


def test_a_storm_repeats_the_message(client: openai.OpenAI, server: FakeOpenAI) -> None:
    with run(task=TASK, interceptors=[strike(message_from("coder"), lambda step: (step,) * 5)]) as r:
        team(client)
    assert request_of(server, "review").count(f"The code: {CODE}") == 5
    copies = [step for step in r.trace if step.kind == "message" and step.agent == "coder"]
    assert len(copies) == 5
    last = next(s for s in r.trace if s.kind == "model_call" and s.agent == "reviewer")
    assert set(last.parents) >= {copy.step for copy in copies}


def test_a_broadcast_reaches_agents_it_was_not_meant_for(client: openai.OpenAI, server: FakeOpenAI) -> None:
    def everyone(step: Any) -> Any:
        return (sent_to(step, "coder", "reviewer"),)

    with run(task=TASK, interceptors=[strike(message_from("planner"), everyone)]):
        plan = planner(client, TASK)
        code = coder(client, plan)
        ask_reviewer = ask  # the reviewer itself never sees the plan
        with agent("reviewer"):
            ask_reviewer(client, "You review.", f"The code: {code}")
    assert PLAN in request_of(server, "code")[1]
    assert request_of(server, "review") == ["You review.", f"planner: {PLAN}", f"The code: {code}"]


def test_an_echo_returns_to_its_sender(client: openai.OpenAI, server: FakeOpenAI) -> None:
    with run(
        task=TASK, interceptors=[strike(message_from("planner"), lambda s: (sent_to(s, "planner"),))]
    ) as r:
        plan = planner(client, TASK)
        coder(client, plan)
        planner(client, TASK)
        planner(client, TASK)
    assert PLAN not in request_of(server, "code")[1]
    assert request_of(server, "plan", 1)[1] == f"planner: {PLAN}"
    assert len(request_of(server, "plan", 2)) == 2  # delivered once
    second = [s for s in r.trace if s.kind == "model_call" and s.agent == "planner"][1]
    assert any(r.trace[p].body.kind == "message" and r.trace[p].agent == "planner" for p in second.parents)


def test_an_altered_task_is_altered_for_everybody(client: openai.OpenAI, server: FakeOpenAI) -> None:
    new = "Order some things for a place."
    with run(
        task=TASK, interceptors=[strike(message_from("user"), lambda s: (s.with_payload(pack(new)),))]
    ) as r:
        team(client)
    assert request_of(server, "plan")[1] == f"Plan this task: {new}"
    assert request_of(server, "review")[1] == f"Task: {new}"
    assert len([e for e in edges(r.trace) if e[0] == "user"]) == 1


def test_a_task_nobody_announced_is_the_first_user_text(client: openai.OpenAI, server: FakeOpenAI) -> None:
    with run() as r:
        team(client)
    assert edges(r.trace)[0] == ("user", ("planner",), f"Plan this task: {TASK}")
    assert [e[0] for e in edges(r.trace)].count("user") == 1


class Worker:
    """An agent that is an object."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name

    def work(self, text: str) -> str:
        return ask(self.client, "Same prompt for everyone.", text)


def orchestrate(client: openai.OpenAI) -> None:
    ask(client, "You are the planner.", "Plan the tea party")
    ask(client, "You are a careful tea taster. Taste.", "Taste the tea")


def test_identity_from_objects_functions_and_prompts(client: openai.OpenAI) -> None:
    with run() as r:
        Worker(client, "amelia").work("polish the brass")
        planner(client, TASK)
        orchestrate(client)
        with agent("given", role="boss"):
            planner(client, TASK)
        ask(client, "Extract the order as JSON.", "Anything at all")
    named = [step.agent for step in r.trace if step.kind == "model_call"]
    assert named[:5] == ["amelia", "planner", "planner", "careful_tea_taster", "given"]
    assert named[5].startswith("agent-")
    assert next(s.role for s in r.trace if s.agent == "given") == "boss"


def test_parallel_threads_do_not_blur(server: FakeOpenAI, client: openai.OpenAI) -> None:
    server.handler = lambda path, body: {"content": f"done: {texts_of(body)[-1]}", "delay": 0.02}

    def named(number: int) -> None:
        with agent(f"worker{number}"):
            for turn in range(3):
                ask(client, "Work.", f"piece {number} of the work, turn {turn}")

    with run() as r, concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(named, range(8)))
    calls = [step for step in r.trace if step.kind == "model_call"]
    assert len(calls) == 24
    for call in calls:
        assert f"piece {call.agent.removeprefix('worker')} of" in json.dumps(r.trace.request(call.step))
        reply = next(s for s in r.trace if s.kind == "model_reply" and s.body.of == call.step)
        assert reply.agent == call.agent
        assert f"piece {call.agent.removeprefix('worker')} of" in reply.value["content"]


def test_identity_survives_threads_and_executors(client: openai.OpenAI) -> None:
    def work() -> None:
        ask(client, "Work.", "some piece of work")

    async def in_loop() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)

    with run() as r, agent("boss"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
        asyncio.run(in_loop())
    assert [step.agent for step in r.trace if step.kind == "model_call"] == ["boss"] * 3


def test_parallel_tasks_share_one_altered_task(server: FakeOpenAI) -> None:
    async def worker(client: openai.AsyncOpenAI, number: int) -> None:
        with agent(f"worker{number}"):
            messages: Any = [{"role": "user", "content": f"{TASK} You do part {number}."}]
            await client.chat.completions.create(model="m", messages=messages)

    async def slow(step: Any) -> Any:
        await asyncio.sleep(0.02)
        return (step.with_payload(pack("Order nothing.")),)

    def gate(step: Any, history: Any) -> Any:
        return slow(step) if message_from("user")(step) else (step,)

    async def go() -> None:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="k") as client:
            await asyncio.gather(*(worker(client, number) for number in range(6)))

    with run(task=TASK, interceptors=[gate]) as r:
        asyncio.run(go())
    assert sorted(texts_of(body)[0] for body in server.bodies) == [
        f"Order nothing. You do part {number}." for number in range(6)
    ]
    assert [e[0] for e in edges(r.trace)].count("user") == 1


def tool_loop(client: openai.OpenAI, answer: str) -> str:
    messages: Any = [{"role": "user", "content": TASK}]
    while True:
        message = client.chat.completions.create(model="m", messages=messages).choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": answer})


def tools_then_text(path: str, body: dict[str, Any]) -> Any:
    if any(m.get("role") == "tool" for m in body.get("messages", [])):
        return "Reserved three of them."
    return {"content": None, "tool_calls": [("stock", '{"item": "brass lamp"}'), ("broken", "{oops")]}


def test_tools_run_by_hand_are_recorded_from_the_conversation(
    client: openai.OpenAI, server: FakeOpenAI
) -> None:
    server.handler = tools_then_text
    with run(task=TASK) as r:
        tool_loop(client, "12 in stock")
    calls = [step for step in r.trace if step.kind == "tool_call"]
    results = [step for step in r.trace if step.kind == "tool_result"]
    assert [(s.body.name, s.value) for s in calls] == [
        ("stock", {"args": {"item": "brass lamp"}}),
        ("broken", {"args": "{oops"}),
    ]
    assert [s.value for s in results] == [{"value": "12 in stock"}] * 2
    assert [s.body.of for s in results] == [s.step for s in calls]
    assert all(r.trace[s.parents[0]].kind == "model_reply" for s in calls)
    second = [step for step in r.trace if step.kind == "model_call"][1]
    assert set(second.parents) >= {s.step for s in results}


def test_an_altered_tool_result_is_what_the_model_reads(client: openai.OpenAI, server: FakeOpenAI) -> None:
    server.handler = tools_then_text
    change = strike(
        lambda s: s.kind == "tool_result", lambda s: (s.with_payload(pack({"value": "none left"})),)
    )
    with run(task=TASK, interceptors=[change]):
        tool_loop(client, "12 in stock")
    assert texts_of(server.bodies[1])[-2:] == ["none left", "none left"]


def test_a_dropped_answer_of_an_agent_used_as_a_tool_leaves_a_valid_chat(
    client: openai.OpenAI, server: FakeOpenAI
) -> None:
    def handler(path: str, body: dict[str, Any]) -> Any:
        if "planner" in body["messages"][0]["content"]:
            return PLAN
        return tools_then_text(path, body)

    server.handler = handler
    with run(task=TASK, interceptors=[strike(message_from("planner"), lambda step: ())]):
        with agent("planner"):
            plan = ask(client, "You are the planner.", TASK)
        with agent("boss"):
            tool_loop(client, plan)
    roles = [message["role"] for message in server.bodies[-1]["messages"]]
    assert roles == ["user", "assistant", "tool", "tool"]
    assert PLAN not in json.dumps(server.bodies[-1])


def test_content_in_parts_is_read_and_written_in_place(client: openai.OpenAI, server: FakeOpenAI) -> None:
    parts: Any = [
        {"type": "text", "text": f"The plan: {PLAN}"},
        {"type": "text", "text": "Be quick."},
    ]
    change = strike(message_from("planner"), lambda step: (step.with_payload(pack("1. do nothing at all")),))
    with run(task=TASK, interceptors=[change]):
        planner(client, TASK)
        with agent("coder"):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": parts}])
    assert texts_of(server.bodies[-1]) == ["The plan: 1. do nothing at all", "Be quick."]


def test_responses_api_agents_exchange_messages_too(client: openai.OpenAI, server: FakeOpenAI) -> None:
    def responses_planner() -> str:
        return client.responses.create(model="m", instructions="You plan.", input=TASK).output_text

    def responses_coder(plan: str) -> str:
        return client.responses.create(model="m", instructions="You code.", input=plan).output_text

    storm = strike(message_from("responses_planner"), lambda step: (step,) * 3)
    with run(task=TASK, interceptors=[storm]) as r:
        responses_coder(responses_planner())
    assert edges(r.trace)[:2] == [
        ("user", ("responses_planner",), TASK),
        ("responses_planner", ("responses_coder",), PLAN),
    ]
    assert [item["content"] for item in server.bodies[1]["input"]] == [PLAN] * 3


class Witness:
    """Remembers what receivers got."""

    def __init__(self) -> None:
        self.got: list[tuple[int, Any, str]] = []

    def received(self, index: int, content: Any, by: str) -> None:
        self.got.append((index, content, by))


def test_receivers_testify_to_what_they_really_got(client: openai.OpenAI, server: FakeOpenAI) -> None:
    from masfire.recorder import Recorder, activate
    from masfire.session import _adapters
    from masfire.trace.model import Header

    witness = Witness()
    recorder = Recorder(
        Header("t", task=pack(TASK)),
        interceptors=[strike(message_from("coder"), lambda step: (step,) * 3)],
        witnesses=[witness],
    )
    with _adapters().installed(), activate(recorder):
        team(client)
    trace = recorder.trace()
    for step in trace:
        got = [(content, by) for index, content, by in witness.got if index == step.step]
        if step.kind == "model_call":
            assert got == [(trace.request(step.step), "model")]
        elif step.kind == "model_reply":
            assert got == [(step.value, step.agent)]
        elif step.agent == "user":
            assert got == [(TASK, "planner"), (TASK, "reviewer")]
        else:
            assert got == [(step.value, step.body.to[0])]
