"""What a decision costs beside cedarpy, how flat it stays, and what a claim screen costs beside a model call.

    python benchmarks/bench_governance.py [--rounds 21] [--decisions 1000] [--flat 100000] [--out FILE]

The policies say the same: 20 rules for 20 tools, each with a bound on an argument, and a budget of steps.
Half of the requests are within the bound, no two are alike. masfire's decision includes freezing the
arguments, two SHA-256, the budget and the audit line written to a file. cedarpy gets parsed handles and
structured entities, the fastest its documentation offers, has the steps counted for it and writes nothing;
beside that stand its policies as text, and one rule over tools' attributes in the place of 20. Contestants
take turns in rounds; a ratio is the median of the rounds' ratios. Decisions are timed by the thread's
processor clock, whose own cost is taken off on both sides: a busy machine's pauses would drown both tails.
Screens and model calls are timed by the wall clock, in turn, against the local default model.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from local_call import TOKENS, local_call

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
from masfire.governance.freezing import freeze
from masfire.trace.redact import Redactor

Decide: TypeAlias = Callable[[str, int], bool]
Request: TypeAlias = tuple[str, int, bool]
"""A tool, an amount, and whether it is within the tool's bound."""

TOOLS = [f"tool_{index}" for index in range(20)]
LIMIT = 100_000
"""The first tool's bound; the others' are multiples of it."""
STEPS = 10**9
"""The agent's budget."""
CEDAR = "cedarpy"
TOLD = "`python benchmarks/bench_governance.py`, whose beginning tells what is compared, and how."


def policy(**more: Any) -> Policy:
    """Return the 20 rules."""
    tools = {
        name: Capability({"amount": Bound(type="integer", maximum=LIMIT * (i + 1))})
        for i, name in enumerate(TOOLS)
    }
    return Policy(agents={"clerk": AgentRules(tools=tools, budget=Limits(steps=STEPS))}, **more)


def requests(count: int, first: int = 0) -> list[Request]:
    """Return requests from number `first` on; no two have the same arguments and tool."""
    asked = []
    for number in range(first, first + count):
        tool, turn = number % len(TOOLS), number // len(TOOLS)
        bound, within = LIMIT * (tool + 1), turn % 2 == 0
        asked.append((TOOLS[tool], bound - turn if within else bound + turn, within))
    return asked


def cedar(text: str, entities: str = "[]", *, parsed: bool = True) -> Decide:
    """Return cedarpy's decision: handles parsed beforehand, entities as objects, the context as JSON.

    That is the fastest of what its documentation offers for one request (its batches share the parsing that
    handles save); the context's JSON is made by msgspec, which is faster than cedarpy's own for a dict.
    """
    import cedarpy

    policies = cedarpy.PolicySet.from_str(text) if parsed else text
    known = cedarpy.Entities.from_json_str(entities) if parsed else entities
    principal, action = {"type": "Agent", "id": "clerk"}, {"type": "Action", "id": "call"}
    allow, encode, steps = cedarpy.Decision.Allow, msgspec.json.Encoder().encode, itertools.count()

    def decide(tool: str, amount: int) -> bool:
        request = {
            "principal": principal, "action": action, "resource": {"type": "Tool", "id": tool},
            "context": encode({"amount": amount, "steps": next(steps)}).decode(),
        }  # fmt: skip
        return bool(cedarpy.is_authorized(request, policies, known).decision == allow)

    return decide


def cedar_rules() -> str:
    """Return the 20 rules as Cedar policies; who calls keeps count of the steps, for Cedar has no memory."""
    return "\n".join(
        f'permit(principal == Agent::"clerk", action == Action::"call", resource == Tool::"{name}") '
        f"when {{ context.amount <= {LIMIT * (i + 1)} && context.steps < {STEPS} }};"
        for i, name in enumerate(TOOLS)
    )


def cedar_remodelled() -> Decide:
    """Return cedarpy's decision on one rule in place of 20: the bound is an attribute of the tool."""
    text = (
        'permit(principal == Agent::"clerk", action == Action::"call", resource is Tool) '
        f"when {{ context.amount <= resource.most && context.steps < {STEPS} }};"
    )
    tools = [
        {"uid": {"type": "Tool", "id": name}, "attrs": {"most": LIMIT * (i + 1)}, "parents": []}
        for i, name in enumerate(TOOLS)
    ]
    return cedar(text, json.dumps(tools))


def ours(governor: Governor) -> Decide:
    """Return masfire's decision, from the arguments to the ruling."""

    def decide(tool: str, amount: int) -> bool:
        proposal = governor.propose("tool_call", tool, {"args": {"amount": amount}}, agent="clerk", run="r")
        return governor.decide(proposal).allowed

    return decide


def timed(decide: Decide, asked: list[Request]) -> list[float]:
    """Return seconds per decision; every answer must be right."""
    spent, clock = [], time.thread_time_ns
    for tool, amount, wanted in asked:
        start = clock()
        answer = decide(tool, amount)
        spent.append((clock() - start) / 1e9)
        assert answer is wanted, (tool, amount)
    return spent


def quantile(values: list[float], part: float) -> float:
    """Return the value below which `part` of them lie."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def measure_decisions(folder: Path, rounds: int, count: int) -> dict[str, float]:
    """Return p50 and p99 in microseconds and their ratios, contestants taking turns in each round."""
    logs = [AuditLog(folder / "bare.log"), AuditLog(folder / "contracts.log")]
    contestants: dict[str, Decide] = {
        "nothing (the clock)": lambda tool, amount: True,
        "masfire": ours(Governor(policy(retries=False), audit=logs[0])),
        "masfire, retry contracts": ours(Governor(policy(), audit=logs[1])),
        CEDAR: cedar(cedar_rules()),
        "cedarpy, re-modelled as 1 rule": cedar_remodelled(),
        "cedarpy, policies as text": cedar(cedar_rules(), parsed=False),
    }
    table: dict[str, dict[str, list[float]]] = {name: {"p50": [], "p99": []} for name in contestants}
    for number in range(rounds + 1):  # the first one warms up
        asked = requests(count, first=number * count)
        for name, decide in contestants.items():
            gc.collect()
            part = asked if name != "nothing (the clock)" else [(tool, n, True) for tool, n, _ in asked]
            part = part[: count // 10] if name.endswith("as text") else part
            spent = timed(decide, part)
            if number:
                table[name]["p50"].append(quantile(spent, 0.5))
                table[name]["p99"].append(quantile(spent, 0.99))
    for log in logs:
        log.close()
        verify(log.path)
    found: dict[str, float] = {}
    clock = table.pop("nothing (the clock)")
    for name, one in table.items():
        for tail in one:  # reading the clock is no part of a decision
            one[tail] = [mine - nothing for mine, nothing in zip(one[tail], clock["p50"], strict=True)]
            found[f"{name} {tail} µs"] = statistics.median(one[tail]) * 1e6
    for name, one in table.items():
        for tail in one if name.startswith("masfire") else ():
            ratios = [mine / theirs for mine, theirs in zip(one[tail], table[CEDAR][tail], strict=True)]
            found[f"{name} / cedarpy {tail}"] = statistics.median(ratios)
    return found


def measure_parts(folder: Path, rounds: int) -> dict[str, float]:
    """Return the microseconds of what no decision can do without, each alone: medians of blocks of 500."""
    with AuditLog(folder / "parts.log") as log:
        ours(Governor(policy(retries=False), audit=log))(TOOLS[0], 5)
    line = (folder / "parts.log").read_bytes().splitlines(keepends=True)[-1]
    value = {"args": {"amount": 90_001}}
    payload, body = bytes(freeze(value)[0]), line[65:-1]
    reason = b'"reason":"Argument \'amount\' is 200001, beyond 200000.",'
    redactor = Redactor()
    descriptor = os.open(folder / "plain", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    parts: dict[str, Callable[[], object]] = {
        f"part: os.write of a line of {len(line)} bytes": lambda: os.write(descriptor, line),
        "part: SHA-256 of a line": lambda: hashlib.sha256(body).hexdigest(),
        "part: SHA-256 of the arguments": lambda: hashlib.sha256(payload).hexdigest(),
        "part: freezing the arguments": lambda: freeze(value),
        "part: a refusal's reason searched for secrets": lambda: redactor.suspects(reason),
    }
    spent: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, work in parts.items():
            start = time.thread_time_ns()
            for _ in range(500):
                work()
            spent[name].append((time.thread_time_ns() - start) / 500e3)
    os.close(descriptor)
    return {f"{name}, µs": statistics.median(one) for name, one in spent.items()}


def measure_flatness(folder: Path, count: int) -> float:
    """Return what the last tenth of `count` decisions in one run costs beside the first tenth (medians)."""
    with AuditLog(folder / "flat.log") as log:
        decide = ours(Governor(policy(), audit=log))
        spent = timed(decide, requests(count))
    tenth = count // 10
    return statistics.median(spent[-tenth:]) / statistics.median(spent[tenth : 2 * tenth])


def measure_screen(rounds: int) -> dict[str, float]:
    """Return the milliseconds of one screened message in a run with 500 confirmed statements.

    Each round asks the local model once and screens 80 messages, all by the wall clock.
    """
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
    spent: list[float] = []
    calls: list[float] = []
    with local_call() as call:
        for _ in range(rounds):
            calls.append(call())
            for text in (said, letter) * 40:
                start = time.perf_counter()
                governor.decide(governor.propose("message", "", text, agent="writer", run="r"))
                spent.append(time.perf_counter() - start)
    middle = statistics.median(calls)
    return {
        "screen p50 ms": quantile(spent, 0.5) * 1e3,
        "screen p99 ms": quantile(spent, 0.99) * 1e3,
        f"local model, {TOKENS} tokens, ms": middle * 1e3,
        "screen / model call": quantile(spent, 0.5) / middle,
    }


GOALS = {
    "masfire / cedarpy p99": 0.1,
    "screen / model call": 0.01,
    "flat over decisions, last / second tenth": 1.5,
}


def report(found: dict[str, float], missed: list[str]) -> str:
    """Return the figures as a table, and which goal is met."""
    lines = ["| what | measured |", "|---|---|"]
    lines += [f"| {name} | {value:.4g} |" for name, value in found.items()]
    lines += ["", "| goal | at most | |", "|---|---|---|"]
    lines += [
        f"| {name} | {most} | {'not met' if name in missed else 'met'} |" for name, most in GOALS.items()
    ]
    floor = sum(value for name, value in found.items() if name.startswith("part:"))
    tenth = found["cedarpy p50 µs"] / 10
    lines.append(
        f"\nA tenth of cedarpy's median is {tenth:.1f} µs; the parts that no decision can do without take "
        f"{floor:.1f} µs of it, before anything is decided (a refusal's search for secrets included)."
    )
    return "\n".join(lines)


def main() -> int:
    """Print the table; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--decisions", type=int, default=1_000)
    parser.add_argument("--flat", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure_decisions(Path(folder), options.rounds, options.decisions)
        found |= measure_parts(Path(folder), options.rounds)
        found["flat over decisions, last / second tenth"] = measure_flatness(Path(folder), options.flat)
    found |= measure_screen(options.rounds)
    missed = [name for name, most in GOALS.items() if found[name] > most]
    text = report(found, missed)
    print(text)
    if options.out:
        options.out.write_text(f"# What a governed decision costs\n\n{TOLD}\n\n{text}\n")
    if options.json:
        options.json.write_text(json.dumps({"figures": found, "python": sys.version}, indent=2) + "\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
