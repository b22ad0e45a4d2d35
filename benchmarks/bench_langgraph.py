"""What masfire adds to a LangGraph step, beside what one OpenTelemetry span adds to the same step.

Run: python benchmarks/bench_langgraph.py [--rounds 7] [--json]

The span is opened inside the node, kept by the SDK's in-memory exporter, and carries ten attributes:
those that the OpenInference instrumentor gives the span of a node (input and output as JSON with
their types, kind, node, step, thread, graph metadata). That instrumentor itself costs more, as it
works through LangChain's callbacks. A lean span with only those facts that masfire's step has as well
is the second yardstick. masfire's run is a whole one: identity, causes, redaction, and one
checked line a step, written to a file. Two kinds of state: plain values, and a growing list of messages.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from masfire import session

STEPS = 40


class State(TypedDict):
    order: str
    turn: int


class Talk(TypedDict):
    messages: Annotated[list[Any], add_messages]
    turn: int


def work(state: State) -> dict[str, Any]:
    return {"order": f"order {state['turn']}: two crates of apples", "turn": state["turn"] + 1}


def talk(state: Talk) -> dict[str, Any]:
    said = AIMessage(f"order {state['turn']}: two crates of apples", id=f"said-{state['turn']}")
    return {"messages": [said], "turn": state["turn"] + 1}


def in_json(value: dict[str, Any]) -> str:
    """Return a state as JSON, a message as its role and content."""
    return json.dumps(value, default=lambda message: {"role": message.type, "content": message.content})


def facts(name: str, state: Any, output: dict[str, Any]) -> dict[str, Any]:
    """Return what an instrumentor puts on the span of a node."""
    return {
        "openinference.span.kind": "CHAIN",
        "input.value": in_json(state),
        "input.mime_type": "application/json",
        "output.value": in_json(output),
        "output.mime_type": "application/json",
        "graph.node.id": name,
        "session.id": "thread-1",
        "langgraph_step": state["turn"] + 1,
        "langgraph_node": name,
        "langgraph_checkpoint_ns": f"{name}:1c8a3a1e",
    }


def few_facts(name: str, state: Any, output: dict[str, Any]) -> dict[str, Any]:
    """Return what masfire records of a step as a span carries it."""
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": name,
        "gen_ai.output.messages": in_json(output),
        "masfire.to": ("agent",),
        "masfire.via": "graph",
        "masfire.parents": (state["turn"],),
        "masfire.step": state["turn"] + 1,
    }


def build(node: Callable[[Any], dict[str, Any]], *, is_async: bool, schema: Any = State) -> Any:
    async def anode(state: Any) -> dict[str, Any]:
        return node(state)

    graph = StateGraph(schema)
    names = [f"agent{number}" for number in range(STEPS)]
    for name in names:
        graph.add_node(name, anode if is_async else node)
    graph.add_edge(START, names[0])
    for before, after in itertools.pairwise(names):
        graph.add_edge(before, after)
    return graph.compile()


def seconds(app: Any, *, is_async: bool) -> float:
    start: dict[str, Any] = {"order": "", "turn": 0}
    if "messages" in app.channels:
        start = {"messages": [HumanMessage("two crates of apples, please", id="asked")], "turn": 0}
    config = {"recursion_limit": STEPS + 5}
    gc.collect()
    if is_async:

        async def once() -> float:
            begun = time.process_time()
            await app.ainvoke(start, config)
            return time.process_time() - begun

        return asyncio.run(once())
    begun = time.process_time()
    app.invoke(start, config)
    return time.process_time() - begun


def measure(
    work: Callable[[Any], dict[str, Any]], schema: Any, *, is_async: bool, rounds: int, repeats: int
) -> dict[str, float]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("bench")

    def traced(told: Callable[..., dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
        def node(state: Any) -> dict[str, Any]:
            with tracer.start_as_current_span("invoke_agent") as span:
                output = work(state)
                span.set_attributes(told("agent", state, output))
                return output

        return node

    plain = build(work, is_async=is_async, schema=schema)
    spanned = build(traced(facts), is_async=is_async, schema=schema)
    leanly = build(traced(few_facts), is_async=is_async, schema=schema)
    found: dict[str, list[float]] = {"plain": [], "masfire": [], "otel": [], "lean": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            best: dict[str, list[float]] = {name: [] for name in found}
            for repeat in range(repeats):
                best["plain"].append(seconds(plain, is_async=is_async))
                path = Path(folder) / f"{number}-{repeat}.jsonl"
                with session.run(path=path):
                    best["masfire"].append(seconds(plain, is_async=is_async))
                best["otel"].append(seconds(spanned, is_async=is_async))
                exporter.clear()
                best["lean"].append(seconds(leanly, is_async=is_async))
                exporter.clear()
            for name, times in best.items():
                found[name].append(statistics.quantiles(times, n=4)[0] / STEPS * 1e6)
    base = statistics.median(found["plain"])
    masfire = statistics.median(m - p for m, p in zip(found["masfire"], found["plain"], strict=True))
    otel = statistics.median(o - p for o, p in zip(found["otel"], found["plain"], strict=True))
    lean = statistics.median(o - p for o, p in zip(found["lean"], found["plain"], strict=True))
    return {"step": base, "masfire": masfire, "otel": otel, "ratio": masfire / otel, "lean": lean}


def inactive() -> float:
    """Return what an installed but idle patch adds to a call, in microseconds (median of 5)."""
    import langgraph.pregel._loop as loop_module

    from masfire.adapters.langgraph import PATCHES
    from masfire.adapters.patching import Patches

    class Loop:
        status = "done"

    def bare(self: Any) -> bool:
        return False

    original = loop_module.PregelLoop.tick
    loop_module.PregelLoop.tick = bare  # type: ignore[method-assign]
    try:
        loop: Any = Loop()
        with Patches(PATCHES).installed():
            wrapped = loop_module.PregelLoop.tick
            results = [(per_call(wrapped, loop) - per_call(bare, loop)) * 1e6 for _ in range(5)]
    finally:
        loop_module.PregelLoop.tick = original  # type: ignore[method-assign]
    return statistics.median(results)


def per_call(function: Callable[[Any], Any], argument: Any, number: int = 100_000) -> float:
    begun = time.process_time()
    for _ in range(number):
        function(argument)
    return (time.process_time() - begun) / number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {
        f"{what}, {mode}": measure(
            node, schema, is_async=mode == "async", rounds=options.rounds, repeats=options.repeats
        )
        for what, node, schema in (("values", work, State), ("messages", talk, Talk))
        for mode in ("sync", "async")
    }
    idle = inactive()
    if options.json:
        print(json.dumps({**results, "inactive_us": idle}))
        return
    print(
        "| LangGraph step | bare (µs) | + masfire, recording to a file "
        "| + one OpenTelemetry span | ratio | + a lean span | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for mode, row in results.items():
        added = f"+{row['masfire']:.1f} | +{row['otel']:.1f} | {row['ratio']:.2f}"
        lean = f"+{row['lean']:.1f} | {row['masfire'] / row['lean']:.2f}"
        print(f"| {mode} | {row['step']:.0f} | {added} | {lean} |")
    print(f"\nInstalled but no run active: +{idle:.2f} µs a call.")


if __name__ == "__main__":
    main()
