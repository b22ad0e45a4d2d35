"""LangGraph features one by one: identity, parents, views, interrupts, retries, streams, state types."""

from __future__ import annotations

import asyncio
import dataclasses
import operator
from typing import Annotated, Any, TypedDict

import pydantic
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.func import task as as_task
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import CachePolicy, Command, RetryPolicy, Send, interrupt

from masfire.errors import BudgetExceeded
from masfire.recorder import ACTOR, Budget
from masfire.trace.model import Message
from masfire.trace.payload import pack
from tests.support.graphs import (
    Seen,
    State,
    fan,
    linear,
    messages,
    node,
    on,
    recording,
    said,
    task,
    to,
    with_text,
)


class Order(TypedDict, total=False):
    order: str
    price: str


def pipeline() -> Any:
    graph = StateGraph(Order)
    graph.add_node("reader", lambda s: {"order": s["order"].upper()})
    graph.add_node("pricer", lambda s: {"price": f"price of {s['order']}"})
    graph.add_edge(START, "reader")
    graph.add_edge("reader", "pricer")
    return graph


def test_each_message_knows_its_recipients_and_parents() -> None:
    with recording() as run:
        fan(False).compile().invoke(task())
    assert messages(run)[:2] == [("user", ("A",)), ("A", ("B", "C"))]
    assert sorted(messages(run)[2:4]) == [("B", ("D",)), ("C", ("D",))]
    assert messages(run)[4] == ("D", ("user",))
    assert [step.parents for step in run.steps][:2] == [(), (0,)]
    assert run.steps[2].parents == run.steps[3].parents == (0, 1)
    assert run.steps[4].parents == (0, 1, 2, 3)


def test_content_is_the_delta_per_channel() -> None:
    with recording() as run:
        pipeline().compile().invoke({"order": "two apples"})
    assert [step.value for step in run.steps] == [
        {"order": "two apples"},
        {"order": "TWO APPLES"},
        {"price": "price of TWO APPLES"},
    ]


def test_plain_values_are_rewritten_dropped_and_redelivered() -> None:
    def rewrite(step: Any, body: Message) -> Any:
        return (step.with_payload(pack({"order": "THREE PEARS"})),)

    with recording(on("reader", rewrite)):
        assert pipeline().compile().invoke({"order": "x"})["price"] == "price of THREE PEARS"
    with recording(on("reader", lambda s, m: ())):
        assert pipeline().compile().invoke({"order": "x"}) == {"order": "x", "price": "price of x"}
    seen = Seen()
    with recording(on("reader", lambda s, m: (s,) * 4), witness=seen) as run:
        assert pipeline().compile().invoke({"order": "x"})["price"] == "price of X"
    assert [agent for agent, _ in messages(run)] == ["user", *["reader"] * 4, *["pricer"] * 4]
    assert [(index, by) for index, _, by in seen.got if by == "pricer"] == [
        (n, "pricer") for n in (1, 2, 3, 4)
    ]


def test_two_readers_of_one_message_see_different_words() -> None:
    def split(step: Any, body: Message) -> Any:
        return (to(step, "B"), to(with_text(step, "for C only"), "C"))

    with recording(on("A", split)):
        result = fan(False).compile().invoke(task())
    assert sorted(result["log"]) == [
        "A<hi",
        "B<hi,A-says",
        "C<hi,for C only",
        "D<hi,A-says,for C only,B-says,C-says",
    ]


def test_views_of_single_values_do_not_leak_into_the_shared_state() -> None:
    class Shared(TypedDict, total=False):
        fact: str
        log: Annotated[list[str], operator.add]

    graph = StateGraph(Shared)
    graph.add_node("A", lambda s: {"fact": "the truth"})
    for name in "BC":  # these hand their whole input back, as subgraphs do
        graph.add_node(name, lambda s, n=name: {"log": [f"{n}<{s['fact']}"], "fact": s["fact"]})
    graph.add_node("D", lambda s: {"log": [f"D<{s['fact']}"]})
    graph.add_edge(START, "A")
    graph.add_edge("A", "B")
    graph.add_edge("B", "C")
    graph.add_edge("C", "D")

    def split(step: Any, body: Message) -> Any:
        return (to(step, "D"), to(step.with_payload(pack({"fact": "a lie"})), "B"))

    with recording(on("A", split)):
        result = graph.compile().invoke({"log": []})
    assert "B<a lie" in result["log"]
    assert "C<the truth" in result["log"]
    assert result["fact"] == "the truth"


@pytest.mark.parametrize("kind", ["pydantic", "dataclass"])
def test_state_may_be_a_model_or_a_dataclass(kind: str) -> None:
    class Model(pydantic.BaseModel):
        messages: Annotated[list[AnyMessage], add_messages] = []
        note: str = ""

    @dataclasses.dataclass
    class Data:
        messages: Annotated[list[AnyMessage], add_messages] = dataclasses.field(default_factory=list)
        note: str = ""

    seen_by_c: list[list[str]] = []

    def a(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("A-says")], "note": "from A"}

    def c(state: Any) -> dict[str, Any]:
        seen_by_c.append([message.content for message in state.messages])
        return {"note": f"{state.note}!"}

    graph: Any = StateGraph(Model if kind == "pydantic" else Data)
    for name, function in {"A": a, "B": lambda s: {}, "C": c}.items():
        graph.add_node(name, function)
    for before, after in ((START, "A"), ("A", "B"), ("A", "C")):
        graph.add_edge(before, after)
    witness = Seen()
    split = on("A", lambda s, m: (to(s, "B"), to(with_text(s, "other"), "C")))
    with recording(split, witness=witness):
        graph.compile().invoke({"messages": [HumanMessage("hi")]})
    assert seen_by_c == [["hi", "other"]]
    assert (
        2,
        {"messages": [{"role": "assistant", "content": "other"}], "note": "from A"},
        "C",
    ) in witness.got


def test_subgraph_agents_have_a_path() -> None:
    actors: list[Any] = []

    def look(state: State) -> dict[str, Any]:
        actors.append(ACTOR.get())
        return {"messages": [AIMessage("looked")]}

    team = StateGraph(State)
    team.add_node("lead", node("lead"))
    team.add_node("worker", look)
    team.add_edge(START, "lead")
    team.add_edge("lead", "worker")
    graph = StateGraph(State)
    graph.add_node("team", team.compile())
    graph.add_node("judge", node("judge"))
    graph.add_edge(START, "team")
    graph.add_edge("team", "judge")
    with recording() as run:
        result = graph.compile().invoke(task())
    assert messages(run) == [
        ("user", ("team",)),
        ("team/lead", ("team/worker",)),
        ("team/worker", ("team",)),
        ("team", ("judge",)),
        ("judge", ("user",)),
    ]
    assert [actor.agent for actor in actors] == ["team/worker"]
    assert actors[0].framework == "langgraph"
    assert [m["content"] for m in run.steps[3].value["messages"]] == ["lead-says", "looked"]
    assert said(result)[-1] == "judge-says"


@pytest.mark.parametrize("is_async", [False, True])
def test_parallel_copies_do_not_blur(is_async: bool) -> None:
    paths: dict[str, Any] = {}

    def work(state: Any) -> dict[str, Any]:
        paths[state["job"]] = ACTOR.get()
        return {"log": [state["job"]]}

    async def awork(state: Any) -> dict[str, Any]:
        await asyncio.sleep(0.001)
        return work(state)

    graph = StateGraph(State)
    graph.add_node("plan", lambda s: {"log": ["planned"]})
    graph.add_node("worker", awork if is_async else work)  # type: ignore[arg-type]
    graph.add_edge(START, "plan")
    jobs = [Send("worker", {"job": f"job number {i}"}) for i in range(8)]
    graph.add_conditional_edges("plan", lambda s: jobs, ["worker"])
    app = graph.compile()
    with recording() as run:
        asyncio.run(app.ainvoke(task())) if is_async else app.invoke(task())
    assert [paths[f"job number {i}"].path for i in range(8)] == [f"worker[{i}]" for i in range(8)]
    for step in run.steps:
        if step.agent == "worker":
            (parent,) = step.parents
            assert run.steps[parent].value == {"job": step.value["log"][0]}


def test_interrupted_and_resumed_node_speaks_once() -> None:
    def ask(state: State) -> dict[str, Any]:
        answer = interrupt("go on?")
        return {"messages": [AIMessage(f"human said {answer}")]}

    graph = StateGraph(State)
    graph.add_node("A", node("A"))
    graph.add_node("ask", ask)
    graph.add_node("B", node("B"))
    for before, after in ((START, "A"), ("A", "ask"), ("ask", "B")):
        graph.add_edge(before, after)
    app = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    with recording(on("A", lambda s, m: (s, s))) as run:
        app.invoke(task(), config)
        app.invoke(Command(resume="yes"), config)
    assert messages(run) == [
        ("user", ("A",)), ("A", ("ask",)), ("A", ("ask",)), ("ask", ("B",)), ("B", ("user",)),
    ]  # fmt: skip
    assert run.steps[3].parents == (0, 1, 2)


def test_a_retried_node_speaks_once_and_with_its_last_words() -> None:
    attempts: list[int] = []

    def flaky(state: State) -> dict[str, Any]:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("try again")
        return {"log": [f"attempt {len(attempts)}"]}

    graph = StateGraph(State)
    graph.add_node("flaky", flaky, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
    graph.add_edge(START, "flaky")
    with recording() as run:
        graph.compile().invoke(task())
    assert [step.value for step in run.steps if step.agent == "flaky"] == [{"log": ["attempt 3"]}]


@pytest.mark.parametrize("mode", ["values", "updates", "debug"])
def test_streams_show_what_was_delivered(mode: str) -> None:
    with recording(on("A", lambda s, m: (with_text(s, "changed"),))):
        chunks = list(linear(False).compile().stream(task(), stream_mode=mode))  # type: ignore[call-overload]
    assert "changed" in repr(chunks)
    assert "A-says" not in repr(chunks)


def test_cached_nodes_run_while_a_run_is_recorded_and_faults_stay_out_of_the_cache() -> None:
    graph = StateGraph(Order)
    graph.add_node("reader", lambda s: {"price": s["order"]}, cache_policy=CachePolicy())
    graph.add_edge(START, "reader")
    app = graph.compile(cache=InMemoryCache())
    wrong = on("reader", lambda s, m: (s.with_payload(pack({"price": "wrong"})),))
    with recording(wrong):
        assert app.invoke({"order": "x"})["price"] == "wrong"
    assert app.invoke({"order": "x"})["price"] == "x"
    with recording() as run:
        app.invoke({"order": "x"})
    assert messages(run) == [("user", ("reader",)), ("reader", ("user",))]


def test_functional_api() -> None:
    @as_task
    def draft(topic: str) -> str:
        return f"draft about {topic}"

    @as_task
    def review(text: str) -> str:
        return f"reviewed: {text}"

    @entrypoint()
    def workflow(topic: str) -> str:
        return review(draft(topic).result()).result()

    with recording() as run:
        assert workflow.invoke("apples") == "reviewed: draft about apples"
    assert messages(run) == [
        ("user", ("workflow",)), ("draft", ("workflow",)), ("review", ("workflow",)), ("workflow", ("user",)),
    ]  # fmt: skip
    change = on("draft", lambda s, m: (s.with_payload(pack("draft about pears")),))
    with recording(change):
        assert workflow.invoke("apples") == "reviewed: draft about pears"


def test_a_run_that_goes_in_circles_ends_with_its_budget() -> None:
    seen = Seen()
    circle = on("A", lambda s, m: (to(s, "A"),))
    with pytest.raises(BudgetExceeded), recording(circle, witness=seen, budget=Budget(steps=30)):
        linear(False).compile().invoke(task(), {"recursion_limit": 1000})
    assert len(seen.got) > 20


def test_a_loop_that_is_cut_in_a_parallel_step_ends_too() -> None:
    echo = on("B", lambda s, m: (to(s, "B"),))
    with pytest.raises(BudgetExceeded), recording(echo, budget=Budget(steps=40)):
        fan(False).compile().invoke(task(), {"recursion_limit": 1000})


def test_a_handover_from_inside_a_subgraph_goes_to_the_node_it_names() -> None:
    def hand_over(state: State) -> Command[str]:
        return Command(graph=Command.PARENT, goto="other", update={"messages": [AIMessage("over to you")]})

    team = StateGraph(State)
    team.add_node("inner", hand_over)
    team.add_edge(START, "inner")
    graph = StateGraph(State)
    graph.add_node("team", team.compile(), destinations=("other", "third"))
    graph.add_node("other", node("other"))
    graph.add_node("third", node("third"))
    graph.add_edge(START, "team")
    app = graph.compile()
    with recording() as run:
        assert said(app.invoke(task())) == ["hi", "over to you", "other-says"]
    assert messages(run) == [("user", ("team",)), ("team", ("other",)), ("other", ("user",))]
    with recording(on("team", lambda s, m: (to(s, "third"),))):
        assert said(app.invoke(task())) == ["hi", "over to you", "third-says"]


def test_a_broadcast_does_not_break_channels_that_hold_one_value() -> None:
    class Shared(TypedDict, total=False):
        fact: str

    graph = StateGraph(Shared)
    for name in "ABC":
        graph.add_node(name, lambda s, n=name: {"fact": f"{s['fact']}{n}"})
    for before, after in ((START, "A"), ("A", "B"), ("B", "C")):
        graph.add_edge(before, after)
    everybody = on("A", lambda s, m: (to(s, "B", "C"),))
    with recording(everybody) as run:
        result = graph.compile().invoke({"fact": "-"})
    assert ("A", ("B", "C")) in messages(run)
    assert [agent for agent, _ in messages(run)].count("C") == 2
    assert result["fact"] == "-ACC"


def test_an_interceptor_that_waits_is_waited_for_in_async_graphs() -> None:
    async def slow(step: Any, history: Any) -> Any:
        await asyncio.sleep(0.001)
        return (with_text(step, "changed"),) if step.agent == "A" else (step,)

    with recording(slow):
        result = asyncio.run(fan(True).compile().ainvoke(task()))
    assert "changed" in said(result)


def test_whoever_lost_a_message_does_not_see_it_later() -> None:
    with recording(on("A", lambda s, m: (to(s, "B"),))):
        result = linear(False).compile().invoke(task())
    assert result["log"] == ["A<hi", "B<hi,A-says", "C<hi,A-says,B-says"]
    with recording(on("B", lambda s, m: (to(s, "D"),))):  # the join still fires, C's view lacks nothing
        joined = fan(False).compile().invoke(task())
    assert sorted(joined["log"])[-1] == "D<hi,A-says,B-says,C-says"
    with recording(on("B", lambda s, m: (to(s, "user"),))):
        lost = fan(False).compile().invoke(task())
    assert sorted(lost["log"])[-1] == "D<hi,A-says,C-says"
    assert "B-says" in said(lost)
