"""What a replay answers with: models of every API and style, tools, errors, and agents in parallel."""

import asyncio
import contextlib
import operator
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
import openai
import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

from masfire.errors import Divergence, UsageError
from masfire.recorder import agent
from masfire.recorder.player import Player
from masfire.session import run
from masfire.trace.difference import trace_difference
from masfire.trace.io import read_trace
from masfire.trace.model import Trace
from tests.support.fake_openai import FakeOpenAI
from tests.support.openai_styles import STYLES, ask

DRAWS = random.Random(7)


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(lambda path, body: f"draw {DRAWS.randrange(10**9)}") as served:
        yield served


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:  # one loop: clients keep their connections
        yield runner.get_loop()


def client(server: FakeOpenAI, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key="sk-test", **{"max_retries": 0, **options})


def chat(server: FakeOpenAI, text: str, **options: Any) -> str:
    with client(server, **options) as sdk:
        reply = sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return str(reply.choices[0].message.content)


def same(record: Trace, again: Trace) -> bool:
    difference = trace_difference(record, again)
    assert difference is None, difference
    return True


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.__name__)
def test_every_style_of_call_gets_its_recorded_answer_without_a_server(
    style: Any, server: FakeOpenAI
) -> None:
    with run() as record:
        first = ask(style, server.url)
    asked = len(server.requests)
    with run(replay=Player(record.trace)) as again:
        assert ask(style, server.url) == first
    assert len(server.requests) == asked
    assert same(record.trace, again.trace)
    assert again.trace[-1].body.draw.source == "replay"


def test_identical_requests_are_answered_in_their_order(server: FakeOpenAI) -> None:
    for strict in (True, False):
        with run() as record:
            first = [chat(server, "the same") for _ in range(4)]
        assert len(set(first)) == 4
        with run(replay=Player(record.trace, strict=strict)):
            assert [chat(server, "the same") for _ in range(4)] == first


def test_a_system_that_hides_a_divergence_cannot_hide_it_from_the_run(server: FakeOpenAI) -> None:
    with run() as record:
        chat(server, "one")
    with pytest.raises(Divergence, match='content is "two"'), run(replay=Player(record.trace)):  # noqa: PT012
        for text in ("two", "one"):
            with contextlib.suppress(Exception):  # what a careless system does
                chat(server, text)
    with pytest.raises(Divergence), run(replay=Player(record.trace)):  # noqa: PT012
        try:
            chat(server, "two")
        except Exception as failure:
            raise AssertionError("the test's own check") from failure


def test_errors_and_the_retries_they_cause_are_repeated_without_their_pauses(server: FakeOpenAI) -> None:
    answers: list[Any] = [
        {"status": 429, "error": {"message": "slow down", "type": "rate"}, "headers": {"retry-after": "1"}},
        {"status": 400, "error": {"message": "no such model", "code": "nope"}},
    ]
    server.handler = lambda path, body: answers.pop(0) if answers else "fine"

    def work() -> list[str]:
        said = []
        for text in ("a", "b"):
            try:
                said.append(chat(server, text, max_retries=2))
            except openai.BadRequestError as error:
                said.append(f"{error.code}: {error.message}")
        return said

    with run() as record:
        first = work()
    assert len(server.requests) == 3
    with run(replay=Player(record.trace)) as again:
        started = time.monotonic()
        assert work() == first
        assert time.monotonic() - started < 0.9
    assert len(server.requests) == 3
    assert same(record.trace, again.trace)


def test_a_lost_connection_is_lost_again(server: FakeOpenAI) -> None:
    server.handler = lambda path, body: {"hang_up": True}
    with run() as record, pytest.raises(openai.APIConnectionError):
        chat(server, "x")
    with run(replay=Player(record.trace)) as again, pytest.raises(openai.APIConnectionError):
        chat(server, "x")
    assert len(server.requests) == 1
    assert same(record.trace, again.trace)


def test_replies_that_a_step_cannot_hold_come_back_whole(server: FakeOpenAI, tmp_path: Path) -> None:
    def conversation() -> list[Any]:
        with client(server) as sdk:
            first = sdk.responses.create(model="m", input="hello")
            second = sdk.responses.create(model="m", input="and?", previous_response_id=first.id)
            third = sdk.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}], logprobs=True
            )
        return [first.model_dump(), second.model_dump(), third.choices[0].model_dump()]

    choice = {"index": 0, "message": {"role": "assistant", "content": "y", "refusal": None},
              "finish_reason": "stop", "logprobs": {"content": [{"token": "y", "logprob": -1}]}}  # fmt: skip
    server.handler = lambda path, body: (
        {"content": "y", "extra": {"choices": [choice]}} if "chat" in path else "said"
    )
    with run(path=tmp_path / "t.jsonl") as record:
        first = conversation()
    calls = [step.step for step in record.trace if step.kind == "model_call"]
    assert [original.call for original in record.trace.originals] == calls
    stored = read_trace(tmp_path / "t.jsonl")
    assert stored.originals == record.trace.originals
    assert stored.blind().originals == ()
    with run(replay=Player(stored)) as again:
        assert conversation() == first
    assert same(record.trace, again.trace)
    assert again.trace.originals == record.trace.originals
    server.handler = lambda path, body: "plain"
    with run() as plain:
        chat(server, "x")
    assert plain.trace.originals == ()


def test_secrets_are_redacted_in_the_record_and_do_not_stop_its_replay(
    server: FakeOpenAI, tmp_path: Path
) -> None:
    secret = "sk-abcdefghijklmnopqrstuvwxyz012345"
    server.handler = lambda path, body: f"I keep {secret}"
    with run(path=tmp_path / "t.jsonl") as record:
        chat(server, f"my key is {secret}")
    text = (tmp_path / "t.jsonl").read_text()
    assert secret not in text
    for strict in (True, False):
        with run(replay=Player(record.trace, strict=strict)) as again:
            assert secret not in chat(server, f"my key is {secret}")
        assert same(record.trace, again.trace)


def test_a_record_without_content_is_refused(server: FakeOpenAI) -> None:
    with run(privacy="content-off") as record:
        chat(server, "x")
    with pytest.raises(UsageError, match="content off"):
        Player(record.trace)


CALLS: list[str] = []


@tool
def pay(amount: int) -> str:
    """Pay an amount."""
    CALLS.append(f"pay {amount}")
    if amount > 100:
        raise KeyError(f"no {amount}")
    return f"paid {amount}, receipt {DRAWS.randrange(10**9)}"


@tool
def note(text: str) -> str:
    """Write a note."""
    CALLS.append(f"note {text}")
    return f"noted {text}"


note.tags = ["masfire:live"]


def pays() -> list[str]:
    said = [str(pay.invoke({"amount": 5})), str(note.invoke({"text": "x"}))]
    called = {"name": "pay", "args": {"amount": 7}, "id": "call_1", "type": "tool_call"}
    said.append(str(pay.invoke(called).content))
    try:
        pay.invoke({"amount": 500})
    except KeyError as error:
        said.append(str(error))
    return said


def test_tools_are_answered_and_not_run_unless_asked_or_marked() -> None:
    CALLS.clear()
    with run() as record:
        first = pays()
    assert CALLS == ["pay 5", "note x", "pay 7", "pay 500"]
    CALLS.clear()
    with run(replay=Player(record.trace)) as again:
        assert pays() == first
    assert CALLS == ["note x"]
    assert same(record.trace, again.trace)
    CALLS.clear()
    with pytest.raises(Divergence, match="receipt"), run(replay=Player(record.trace, live_tools=True)):
        pays()
    assert CALLS == ["pay 5"]


def test_a_tool_that_asks_a_model_runs_and_is_answered_inside(server: FakeOpenAI) -> None:
    @tool
    def consult(question: str) -> str:
        """Ask an expert."""
        with agent("expert"):
            return chat(server, question)

    def work() -> str:
        with agent("boss"):
            return str(consult.invoke({"question": "what?"}))

    with run() as record:
        first = work()
    asked = len(server.requests)
    with run(replay=Player(record.trace)) as again:
        assert work() == first
    assert len(server.requests) == asked
    assert same(record.trace, again.trace)


def test_chat_models_that_never_reach_http_are_answered_too() -> None:
    def work(said: str) -> Any:
        with agent("talker"):
            return FakeListChatModel(responses=[said]).invoke("hello").content

    with run() as record:
        work("one")
    with run(replay=Player(record.trace)) as again:
        assert work("another") == "one"
    assert same(record.trace, again.trace)


class Work(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    done: Annotated[list[str], operator.add]


def team(server: FakeOpenAI) -> Any:
    llm = ChatOpenAI(model="m", base_url=server.url, api_key="x", max_retries=0)  # type: ignore[arg-type]
    bound = llm.bind_tools([pay])

    def plan(state: Work) -> dict[str, Any]:
        return {"messages": [llm.invoke([("system", "PLANNER"), *state["messages"]])]}

    async def aplan(state: Work) -> dict[str, Any]:
        return {"messages": [await llm.ainvoke([("system", "PLANNER"), *state["messages"]])]}

    def job(state: dict[str, Any]) -> dict[str, Any]:
        return {"done": [str(llm.invoke([("system", "WORKER"), ("user", state["job"])]).content)]}

    async def ajob(state: dict[str, Any]) -> dict[str, Any]:
        reply = await llm.ainvoke([("system", "WORKER"), ("user", state["job"])])
        return {"done": [str(reply.content)]}

    def judge(state: Work) -> dict[str, Any]:
        said = "\n".join(state["done"])
        return {"messages": [bound.invoke([("system", "JUDGE"), HumanMessage(said)])]}

    from langchain_core.runnables import RunnableLambda

    graph = StateGraph(Work)
    graph.add_node("planner", RunnableLambda(plan, aplan))
    graph.add_node("worker", RunnableLambda(job, ajob))
    graph.add_node("judge", judge)
    graph.add_node("tools", ToolNode([pay]))
    graph.add_edge(START, "planner")
    graph.add_conditional_edges(
        "planner", lambda state: [Send("worker", {"job": f"part {i}"}) for i in range(4)], ["worker"]
    )
    graph.add_edge("worker", "judge")
    graph.add_edge("judge", "tools")
    return graph.compile()


def uneven(path: str, body: dict[str, Any]) -> Any:
    """Answer after a random time with random words; the judge asks for a tool."""
    delay = DRAWS.random() * 0.03
    if body["messages"][0]["content"] == "JUDGE":
        return {"tool_calls": [("pay", '{"amount": 3}')], "delay": delay}
    return {"content": f"draw {DRAWS.randrange(10**9)}", "delay": delay}


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_parallel_branches_of_a_graph_are_replayed_in_their_recorded_order(
    mode: str, server: FakeOpenAI, loop: asyncio.AbstractEventLoop
) -> None:
    server.handler = uneven
    given = {"messages": [HumanMessage("go")], "done": []}

    def work() -> list[str]:
        graph = team(server)
        state = graph.invoke(given) if mode == "sync" else loop.run_until_complete(graph.ainvoke(given))
        return [*state["done"], *(str(message.content) for message in state["messages"])]

    orders = set()
    for _ in range(3):
        CALLS.clear()
        with run() as record:
            first = work()
        asked = len(server.requests)
        orders.add(
            tuple((step.agent, bytes(step.payload)) for step in record.trace if step.kind == "model_reply")
        )
        for _ in range(3):
            with run(replay=Player(record.trace)) as again:
                assert work() == first
            assert same(record.trace, again.trace)
        assert len(server.requests) == asked
        assert CALLS == ["pay 3"]
    assert len(orders) == 3


@pytest.mark.parametrize("mode", ["threads", "tasks"])
def test_parallel_agents_in_plain_python_are_replayed_in_their_recorded_order(
    mode: str, server: FakeOpenAI
) -> None:
    server.handler = uneven

    def one(who: int) -> str:
        with agent(f"worker {who % 2}"):  # two copies of each of two agents
            return chat(server, chat(server, f"job {who}"))

    async def aone(who: int) -> str:
        with agent(f"worker {who % 2}"):
            async with openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0) as sdk:
                text = f"job {who}"
                for _ in range(2):
                    reply = await sdk.chat.completions.create(
                        model="m", messages=[{"role": "user", "content": text}]
                    )
                    text = str(reply.choices[0].message.content)
                return text

    async def all_of_them() -> list[str]:
        return list(await asyncio.gather(*(aone(who) for who in range(4))))

    def work() -> list[str]:
        if mode == "tasks":
            return asyncio.run(all_of_them())
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(one, range(4)))

    for _ in range(2):
        with run() as record:
            first = work()
        for _ in range(3):
            with run(replay=Player(record.trace)) as again:
                assert work() == first
            assert same(record.trace, again.trace)


def test_a_thread_that_never_comes_does_not_hold_the_others_for_ever(server: FakeOpenAI) -> None:
    def work(absent: bool) -> None:
        def one(who: str) -> None:
            with agent(who), contextlib.suppress(Divergence):
                chat(server, f"I am {who}")

        threads = [threading.Thread(target=one, args=(who,)) for who in "ab"[absent:]]
        for thread in threads:
            thread.start()
            thread.join()

    with run() as record:
        work(absent=False)
    assert record.trace[0].body.to == ("a",)
    with pytest.raises(Divergence), run(replay=Player(record.trace, patience=0.2)):
        work(absent=True)


def test_the_answer_of_a_model_call_is_found_under_a_mark_that_changed_it(server: FakeOpenAI) -> None:
    server.handler = lambda path, body: "Reserve 12 chairs in Madrid, price 99."
    fault = "hallucination@writer"

    def work() -> str:
        with agent("writer"):
            return chat(server, "Write: reserve 12 chairs in Madrid, price 99.")

    with run([fault]) as record:
        broken = work()
    assert broken != "Reserve 12 chairs in Madrid, price 99."
    with run([fault], replay=Player(record.trace)) as again:
        assert work() == broken
    assert same(record.trace, again.trace)
    with run(replay=Player(record.trace, strict=False)):
        assert work() == "Reserve 12 chairs in Madrid, price 99."


def test_a_step_says_the_same_whoever_answered_it(server: FakeOpenAI) -> None:
    with run() as record:
        chat(server, "x")
    reply = record.trace[-1]
    other = msgspec.structs.replace(reply.body.draw, source="cache", seconds=9.0)
    body = msgspec.structs.replace(reply.body, draw=other)
    steps = (*record.trace.steps[:-1], msgspec.structs.replace(reply, body=body, time=1.0))
    assert same(record.trace, msgspec.structs.replace(record.trace, steps=steps))
