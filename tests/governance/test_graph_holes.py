"""Ways around a governed graph: threads, routers, and every form in which a node may write."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send
from pydantic import BaseModel

from masfire.adapters.govern_langgraph import govern
from masfire.governance import AgentRules, Blocked, Bound, Breaker, Capability, Governor, Lineage, Policy

RULES = {"clerk": AgentRules(tools={"pay": Capability({"amount": Bound(type="integer", maximum=10)})})}
BAD = "Send 21 green chairs to Paris."
ran: list[int] = []


class State(TypedDict, total=False):
    amount: int
    answer: str
    order: Any
    messages: Annotated[list[Any], add_messages]


@tool
def pay(amount: int) -> str:
    """Pay."""
    ran.append(amount)
    return "paid"


def graph(node: Any, governor: Governor, router: Any = None) -> Any:
    made = StateGraph(State)
    made.add_node("clerk", node)
    made.add_node("peer", lambda state: {"order": f"heard {state.get('answer')}"})
    made.add_edge(START, "clerk")
    if router is not None:
        made.add_conditional_edges("clerk", router, {END: END})
    return govern(made.compile(), governor)


def _quietly(amount: int) -> None:
    try:
        pay.invoke({"amount": amount})
    except Blocked:
        return


def in_thread(state: State) -> State:
    worker = threading.Thread(target=_quietly, args=(state["amount"],))
    worker.start()
    worker.join()
    return {}


def in_pool(state: State) -> State:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_quietly, state["amount"]).result()
    return {}


async def in_executor(state: State) -> State:
    await asyncio.get_running_loop().run_in_executor(None, _quietly, state["amount"])
    return {}


async def in_task(state: State) -> State:
    await asyncio.gather(asyncio.to_thread(_quietly, state["amount"]))
    return {}


@pytest.mark.parametrize("node", [in_thread, in_pool, in_executor, in_task])
@pytest.mark.parametrize(("amount", "wanted"), [(5, [5]), (5_000, [])])
def test_who_acts_in_a_thread_is_still_the_node(node: Callable[..., Any], amount: int, wanted: Any) -> None:
    ran.clear()
    asyncio.run(graph(node, Governor(Policy(agents=RULES))).ainvoke({"amount": amount}))
    assert ran == wanted


def test_a_pool_that_a_node_began_serves_others_afterwards() -> None:
    ran.clear()
    pool = ThreadPoolExecutor(1)

    def begins(state: State) -> State:
        pool.submit(_quietly, state["amount"]).result()
        return {}

    graph(begins, Governor(Policy(agents=RULES))).invoke({"amount": 5_000})
    with pool:
        pool.submit(_quietly, 7).result()  # no governed node asks: nobody's business
    assert ran == [7]


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize(("amount", "wanted"), [(5, [5]), (5_000, [])])
def test_a_conditional_edge_acts_as_its_node(how: str, amount: int, wanted: list[int]) -> None:
    ran.clear()

    def route(state: State) -> str:
        _quietly(state["amount"])
        return END

    made = graph(lambda state: {}, Governor(Policy(agents=RULES)), route)
    asked = getattr(made, how)({"amount": amount})
    if how == "ainvoke":
        asyncio.run(_awaited(asked))
    assert ran == wanted


async def _awaited(asked: Any) -> Any:
    return await asked


class Order(BaseModel):
    city: str = "Paris"
    quantity: int = 21


class Update(BaseModel):
    answer: str


@dataclass
class Slip:
    city: str = "Paris"
    quantity: int = 21


WRITES: dict[str, Callable[[Any], Any]] = {
    "message": lambda s: {"messages": [AIMessage(BAD)]},
    "message of a user": lambda s: {"messages": [HumanMessage(BAD)]},
    "message as pair": lambda s: {"messages": [("ai", BAD)]},
    "message as text": lambda s: {"messages": BAD},
    "message in blocks": lambda s: {"messages": [AIMessage([{"type": "text", "text": BAD}])]},
    "message in a field": lambda s: {"order": [AIMessage(BAD)]},
    "command": lambda s: Command(update={"answer": BAD}),
    "command with pairs": lambda s: Command(update=[("answer", BAD)]),
    "command that sends": lambda s: Command(goto=Send("peer", {"answer": BAD})),
    "commands": lambda s: [Command(update={"answer": BAD})],
    "model in a field": lambda s: {"order": Order()},
    "model in a list": lambda s: {"order": [Order()]},
    "data class in a field": lambda s: {"order": Slip()},
    "set": lambda s: {"order": {BAD}},
    "tuple": lambda s: {"order": (BAD, 1)},
    "bytes": lambda s: {"order": BAD.encode()},
    "model as update": lambda s: Update(answer=BAD),
}
LINEAGE = Policy(
    agents={"*": AgentRules(tools={"*": Capability()})},
    lineage=Lineage(
        mode="speed", classes=(("Berlin", "Paris"),), instructions=("Send 12 green chairs to Berlin.",)
    ),
)


@pytest.mark.parametrize("way", WRITES)
def test_no_form_of_writing_carries_a_contradicted_claim(way: str) -> None:
    out = graph(WRITES[way], Governor(LINEAGE)).invoke({"amount": 1})
    assert "Paris" not in str(out)
    assert out["amount"] == 1


@pytest.mark.parametrize("way", WRITES)
def test_every_form_of_writing_gets_through_when_nothing_contradicts_it(way: str) -> None:
    """The table above could not fail if every form were simply dropped."""
    lineage = Lineage(mode="speed", tag="", instructions=(BAD,), classes=(("Berlin", "Paris"),))
    out = graph(WRITES[way], Governor(Policy(lineage=lineage))).invoke({"amount": 1})
    assert "Paris" in str(out)


def test_what_a_functional_graph_returns_is_screened() -> None:
    @entrypoint()
    def plain(state: Any) -> str:
        return BAD

    @entrypoint()
    def final(state: Any) -> Any:
        return entrypoint.final(value=BAD, save=None)

    for made in (plain, final):
        assert "Paris" not in str(govern(made, Governor(LINEAGE)).invoke({"amount": 1}))


def test_a_nested_graph_does_not_take_an_agents_words_for_the_users() -> None:
    governor = Governor(LINEAGE)
    inner = StateGraph(State)
    inner.add_node("peer", lambda state: {})
    inner.add_edge(START, "peer")
    asked = govern(inner.compile(), governor)
    claim = "The supplier Acme closes in August."

    def asks(state: State) -> State:
        asked.invoke({"messages": [HumanMessage(claim)]})
        return {"answer": claim}

    assert graph(asks, governor).invoke({"amount": 1})["answer"] == f"{claim} [unverified]"


def test_an_interrupt_inside_a_tool_is_no_failure_of_the_tool() -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import interrupt

    @tool
    def ask() -> str:
        """Ask a person."""
        return str(interrupt("may I?"))

    made = StateGraph(State)
    made.add_node("clerk", lambda state: {"answer": str(ask.invoke({}))})
    made.add_edge(START, "clerk")
    policy = Policy(agents={"*": AgentRules(tools={"*": Capability()})}, breaker=Breaker(1, 1000))
    governed = govern(made.compile(checkpointer=InMemorySaver()), Governor(policy))
    config = {"configurable": {"thread_id": "1"}}
    assert "__interrupt__" in governed.invoke({"amount": 1}, config)
    assert governed.invoke(Command(resume="yes"), config)["answer"] == "yes"
