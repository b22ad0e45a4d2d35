"""What masfire adds to a LangGraph step, beside what one OpenTelemetry span adds to the same step.

Run: python benchmarks/bench_langgraph.py [--rounds 7] [--json]
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
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from masfire import session

STEPS = 40


class State(TypedDict):
    order: str
    turn: int


def work(state: State) -> dict[str, Any]:
    return {"order": f"order {state['turn']}: two crates of apples", "turn": state["turn"] + 1}


def facts(name: str, state: State, output: dict[str, Any]) -> dict[str, Any]:
    """Return what masfire records of a step as a span carries it: flat, one attribute each."""
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": name,
        "gen_ai.output.messages": json.dumps(output),
        "masfire.to": ("agent",),
        "masfire.via": "graph",
        "masfire.parents": (state["turn"],),
        "masfire.step": state["turn"] + 1,
    }


def build(node: Callable[[State], dict[str, Any]], *, is_async: bool) -> Any:
    async def anode(state: State) -> dict[str, Any]:
        return node(state)

    graph = StateGraph(State)
    names = [f"agent{number}" for number in range(STEPS)]
    for name in names:
        graph.add_node(name, anode if is_async else node)
    graph.add_edge(START, names[0])
    for before, after in itertools.pairwise(names):
        graph.add_edge(before, after)
    return graph.compile()


def seconds(app: Any, *, is_async: bool) -> float:
    start = {"order": "", "turn": 0}
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


def measure(*, is_async: bool, rounds: int, repeats: int) -> dict[str, float]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("bench")

    def traced(state: State) -> dict[str, Any]:
        with tracer.start_as_current_span("invoke_agent") as span:
            output = work(state)
            span.set_attributes(facts("agent", state, output))
            return output

    plain, spanned = build(work, is_async=is_async), build(traced, is_async=is_async)
    found: dict[str, list[float]] = {"plain": [], "masfire": [], "otel": [], "inactive": []}
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
            for name, times in best.items():
                if times:
                    found[name].append(statistics.quantiles(times, n=4)[0] / STEPS * 1e6)
    base = statistics.median(found["plain"])
    masfire = statistics.median(m - p for m, p in zip(found["masfire"], found["plain"], strict=True))
    otel = statistics.median(o - p for o, p in zip(found["otel"], found["plain"], strict=True))
    return {"step": base, "masfire": masfire, "otel": otel, "ratio": masfire / otel}


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
        mode: measure(is_async=mode == "async", rounds=options.rounds, repeats=options.repeats)
        for mode in ("sync", "async")
    }
    idle = inactive()
    if options.json:
        print(json.dumps({**results, "inactive_us": idle}))
        return
    print(
        "| LangGraph step | bare (µs) | + masfire, recording to a file | + one OpenTelemetry span | ratio |"
    )
    print("|---|---|---|---|---|")
    for mode, row in results.items():
        added = f"+{row['masfire']:.1f} | +{row['otel']:.1f}"
        print(f"| {mode} | {row['step']:.0f} | {added} | {row['ratio']:.2f} |")
    print(f"\nInstalled but no run active: +{idle:.2f} µs a call.")


if __name__ == "__main__":
    main()
