"""What a decision costs beside cedarpy, how flat it stays, and what a claim screen costs beside a model call.

    python benchmarks/bench_governance.py [--rounds 7] [--decisions 2000] [--flat 100000] [--json FILE]

The policies say the same: 20 rules for 20 tools, each with one bound on an argument; half of the requests
are within it. masfire's decision includes freezing the arguments, two SHA-256, budgets and the audit line
written to a file; cedarpy gets a parsed policy set and parsed entities, and writes nothing. Rounds take
turns; ratios are medians over rounds; times are of the processor (a shared machine's pauses would drown the
tail of both).  A model call is the goal's 0.4 s unless OPENAI_BASE_URL names a server.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from masfire.governance import (
    AgentRules,
    AuditLog,
    Bound,
    Capability,
    Governor,
    Limits,
    Lineage,
    Policy,
    verify,
)

TOOLS = [f"tool_{index}" for index in range(20)]
AGENT_CALL = 0.4
"""Seconds of one call of the local default model, as the goal supposes."""


def policy(**more: Any) -> Policy:
    """Return the 20 rules."""
    tools = {
        name: Capability({"amount": Bound(type="integer", maximum=10 * (i + 1))})
        for i, name in enumerate(TOOLS)
    }
    return Policy(agents={"clerk": AgentRules(tools=tools, budget=Limits(steps=10**9))}, **more)


def requests(count: int) -> list[tuple[str, int, bool]]:
    """Return (tool, amount, allowed) in turn."""
    return [
        (TOOLS[i % 20], 10 * (i % 20 + 1) + (1 if i // 20 % 2 else -1), i // 20 % 2 == 0)
        for i in range(count)
    ]


def cedar() -> Callable[[str, int], bool]:
    """Return cedarpy's decision on the same policy, parsed beforehand."""
    import cedarpy

    text = "\n".join(
        f'permit(principal == Agent::"clerk", action == Action::"call", resource == Tool::"{name}") '
        f"when {{ context.amount <= {10 * (i + 1)} }};"
        for i, name in enumerate(TOOLS)
    )
    policies = cedarpy.PolicySet.from_str(text)
    entities = cedarpy.Entities.from_json_str("[]")

    def decide(tool: str, amount: int) -> bool:
        request = {
            "principal": 'Agent::"clerk"', "action": 'Action::"call"', "resource": f'Tool::"{tool}"',
            "context": {"amount": amount},
        }  # fmt: skip
        return cedarpy.is_authorized(request, policies, entities).decision == cedarpy.Decision.Allow

    return decide


def ours(governor: Governor) -> Callable[[str, int], bool]:
    """Return masfire's decision, from the arguments to the ruling."""

    def decide(tool: str, amount: int) -> bool:
        proposal = governor.propose("tool_call", tool, {"args": {"amount": amount}}, agent="clerk", run="r")
        return governor.decide(proposal).allowed

    return decide


def timed(decide: Callable[[str, int], bool], asked: list[tuple[str, int, bool]]) -> list[float]:
    """Return seconds per decision; every answer must be right."""
    spent = []
    for tool, amount, wanted in asked:
        start = time.thread_time_ns()
        answer = decide(tool, amount)
        spent.append((time.thread_time_ns() - start) / 1e9)
        assert answer is wanted, (tool, amount)
    return spent


def quantile(values: list[float], part: float) -> float:
    """Return the value below which `part` of them lie."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def measure_decisions(folder: Path, rounds: int, count: int) -> dict[str, float]:
    """Return p50 and p99 in microseconds and their ratios, contestants taking turns."""
    contestants: dict[str, Callable[[str, int], bool]] = {}
    logs = [AuditLog(folder / "bare.log"), AuditLog(folder / "contracts.log")]
    contestants["masfire"] = ours(Governor(policy(retries=False), audit=logs[0]))
    contestants["masfire, retry contracts"] = ours(Governor(policy(), audit=logs[1]))
    contestants["cedarpy"] = cedar()
    asked = requests(count)
    for decide in contestants.values():
        timed(decide, asked[:200])
    p50: dict[str, list[float]] = {name: [] for name in contestants}
    p99: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, decide in contestants.items():
            gc.collect()
            spent = timed(decide, asked)
            p50[name].append(quantile(spent, 0.5))
            p99[name].append(quantile(spent, 0.99))
    for log in logs:
        log.close()
        verify(log.path)
    found: dict[str, float] = {}
    for name in contestants:
        found[f"{name} p50 µs"] = statistics.median(p50[name]) * 1e6
        found[f"{name} p99 µs"] = statistics.median(p99[name]) * 1e6
        if name != "cedarpy":
            for label, table in (("p50", p50), ("p99", p99)):
                ratios = [mine / theirs for mine, theirs in zip(table[name], table["cedarpy"], strict=True)]
                found[f"{name} / cedarpy {label}"] = statistics.median(ratios)
    return found


def measure_flatness(folder: Path, count: int) -> float:
    """Return what the last tenth of `count` decisions in one run costs beside the first tenth (medians)."""
    with AuditLog(folder / "flat.log") as log:
        decide = ours(Governor(policy(), audit=log))
        spent = timed(decide, requests(count))
    tenth = count // 10
    return statistics.median(spent[-tenth:]) / statistics.median(spent[tenth : 2 * tenth])


def measure_screen(rounds: int) -> dict[str, float]:
    """Return the milliseconds of one screened message in a run with 500 confirmed statements."""
    guarded = Policy(
        agents={"*": AgentRules()}, retries=False, lineage=Lineage(mode="speed", instructions=()), seconds=5
    )
    governor = Governor(guarded)
    assert governor.guard is not None
    for index in range(500):
        text = f"Order {index}: {index + 3} green chairs for customer {index % 40}, price {index * 58} euro."
        governor.guard.confirm("r", text, "user")
    said = '{"kind":"order","quantity":7,"item":"green chairs","city":"Berlin"}'
    letter = "We reserved 7 green chairs to Berlin, reference R-52. The price is 406 euro. Thank you."
    spent = []
    for _ in range(rounds * 40):
        for text in (said, letter):
            start = time.thread_time_ns()
            governor.decide(governor.propose("message", "", text, agent="writer", run="r"))
            spent.append((time.thread_time_ns() - start) / 1e9)
    call = model_call()
    return {
        "screen p50 ms": quantile(spent, 0.5) * 1e3,
        "screen p99 ms": quantile(spent, 0.99) * 1e3,
        "model call s": call,
        "screen / model call": quantile(spent, 0.5) / call,
    }


def model_call() -> float:
    """Return the seconds of one call of the server that the environment names, else the goal's 0.4 s."""
    if "OPENAI_BASE_URL" not in os.environ:
        return AGENT_CALL
    import openai

    client = openai.OpenAI()
    spent = []
    for index in range(7):
        start = time.perf_counter()
        client.chat.completions.create(
            model=os.environ["OPENAI_MODEL"], max_tokens=40,
            messages=[{"role": "user", "content": f"({index}) Does this follow?"}],
        )  # fmt: skip
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def main() -> int:
    """Print the table; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--decisions", type=int, default=2_000)
    parser.add_argument("--flat", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure_decisions(Path(folder), options.rounds, options.decisions)
        found["flat over decisions, last / second tenth"] = measure_flatness(Path(folder), options.flat)
    found |= measure_screen(options.rounds)
    for name, value in found.items():
        print(f"{name:<48} {value:10.4f}")
    goals = {
        "masfire / cedarpy p99": 0.1, "screen / model call": 0.01,
        "flat over decisions, last / second tenth": 1.5,
    }  # fmt: skip
    missed = [name for name, most in goals.items() if found[name] > most]
    for name, most in goals.items():
        print(f"{'missed' if name in missed else 'met':<7} {name} at most {most}")
    if options.json:
        options.json.write_text(json.dumps({"figures": found, "python": sys.version}, indent=2) + "\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
