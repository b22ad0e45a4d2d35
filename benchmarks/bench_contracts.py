"""What judging costs a step, beside reelay and rtamt in the same run.

    python benchmarks/bench_contracts.py [--steps 1000,10000,100000] [--json FILE]

Needs reelay and rtamt (dependency group `bench`). Seconds are of this process (CPU time); what counts are
the ratios, medians of interleaved rounds. The log has 20 tools; four properties speak of six of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from masfire.contracts.engine import Engine
from masfire.contracts.language.syntax import (
    Argument,
    Atom,
    Formula,
    Implies,
    Interval,
    Not,
    Once,
    Since,
    Var,
    Window,
)
from masfire.contracts.model import Always, Contract, Response, StepStatus
from masfire.contracts.payload import compile_schema
from masfire.trace.model import Action, Observation, Step
from masfire.trace.payload import pack

X = (Argument(("args", 0), Var("x")),)
TOOLS = ["login", "refund", "cancel", "ship", "grant", "revoke", *(f"tool{n}" for n in range(14))]


def tool(name: str, *, order: str = "") -> Formula:
    """Return the atom of a tool's call."""
    arguments = (Argument(("args", "id"), Var(order)),) if order else ()
    return Atom(("tool_call",), name, arguments)


def four() -> list[Contract]:
    """Return precedence, never-after, since, and a response within five steps."""
    within = Window(5, "steps")
    rules = [
        Always(Implies(tool("refund"), Once(tool("login")))),
        Always(Implies(tool("ship"), Not(Once(tool("cancel"))))),
        Always(Implies(tool("tool0"), Since(Not(tool("revoke")), tool("grant")))),
        Response(tool("tool1"), tool("tool2"), within),
    ]
    return [Contract(f"p{number}", (rule,)) for number, rule in enumerate(rules)]


def log(steps: int, *, names: list[str] = TOOLS, keys: int = 0, seed: int = 1) -> list[Step]:
    """Return a log that violates none of the four; `keys` ids turn up in the arguments."""
    rng, found = random.Random(seed), []
    payloads = [pack({"args": {"id": f"k{n}"} if keys else {}}) for n in range(max(keys, 1))]
    for index in range(steps):
        name = names[rng.randrange(len(names))]
        if names is TOOLS:
            name = {0: "login", 1: "grant"}.get(index, name)
            name = "tool3" if name in ("cancel", "revoke") else name
            if found and any(each.body.name == "tool1" for each in found[-4:-3]):
                name = "tool2"
        found.append(
            Step(index, float(index), "a", Action("tool_call", name, payloads[rng.randrange(len(payloads))]))
        )
    return found


def ours(contracts: list[Contract], steps: list[Step]) -> float:
    """Return seconds to commit all steps."""
    commit = Engine(contracts).commit
    begin = time.process_time()
    for step in steps:
        commit(step)
    return time.process_time() - begin


def reelay_monitors(**options: Any) -> tuple[list[Any], dict[str, Any], dict[str, bool]]:
    """Return the same four properties for reelay, an event a tool, and the event of any other."""
    import reelay

    patterns = [
        "{refund} -> once{login}", "{ship} -> not (once{cancel})",
        "{tool0} -> (not {revoke} since {grant})",
        "not (once[5:5]{tool1} and historically[:4](not {tool2}))",
    ]  # fmt: skip
    monitors = [
        reelay.discrete_timed_monitor(pattern=text, semantics="boolean", **options) for text in patterns
    ]
    names = ["login", "refund", "cancel", "ship", "grant", "revoke", "tool0", "tool1", "tool2"]
    quiet = dict.fromkeys(names, False)
    return monitors, {name: {**quiet, name: True} for name in names}, quiet


def with_reelay(steps: list[Step]) -> float:
    """Return seconds of four reelay monitors (discrete time), fed with dictionaries made before."""
    monitors, events, quiet = reelay_monitors()
    updates = [monitor.update for monitor in monitors]
    made = [events.get(step.body.name, quiet) for step in steps]
    begin = time.process_time()
    for event in made:
        for update in updates:
            update(event)
    return time.process_time() - begin


def same_verdicts() -> int:
    """Return on how many lines of a log with violations both say the same; assert that it is all."""
    rng = random.Random(9)
    steps = [
        Step(index, float(index), "a", Action("tool_call", name, pack({"args": {}})))
        for index, name in enumerate(["refund", *rng.choices(TOOLS[:10], k=2_999)])
    ]
    monitors, events, quiet = reelay_monitors(condense=False)
    engine, wrong = Engine(four()), [[], []]
    for step in steps:
        said = engine.commit(step)
        wrong[0].append({one.contract for one in said if one.status is StepStatus.FAIL})
        event = events.get(step.body.name, quiet)
        wrong[1].append(
            {f"p{n}" for n, each in enumerate(monitors) if each.update(event) == {"value": False}}
        )
    # masfire blames a late response at the first step past the deadline, the formula at the deadline.
    late = [{"p3"} & found for found in wrong[0][1:]] + [set()]
    mine = [(found - {"p3"}) | then for found, then in zip(wrong[0], late, strict=True)]
    assert mine[:-1] == wrong[1][:-1], next(
        i for i, (a, b) in enumerate(zip(mine, wrong[1], strict=True)) if a != b
    )
    assert all(any(f"p{n}" in found for found in mine) for n in range(4)), "a property is never violated"
    return len(steps)


def with_rtamt(steps: list[Step]) -> float:
    """Return seconds of four rtamt monitors (discrete time, online)."""
    import rtamt

    texts = [
        "(refund > 0) implies once(login > 0)", "(ship > 0) implies not(once(cancel > 0))",
        "(tool0 > 0) implies (not(revoke > 0) since (grant > 0))",
        "(once[5:5](tool1 > 0)) implies (once[0:4](tool2 > 0))",
    ]  # fmt: skip
    names = ["login", "refund", "cancel", "ship", "grant", "revoke", "tool0", "tool1", "tool2"]
    monitors = []
    for text in texts:
        monitor = rtamt.StlDiscreteTimeSpecification()
        for name in names:
            if name in text:
                monitor.declare_var(name, "float")
        monitor.declare_var("out", "float")
        monitor.spec = f"out = {text}"
        monitor.parse()
        monitors.append((monitor, [name for name in names if name in text]))
    begin = time.process_time()
    for step in steps:
        called = step.body.name
        for monitor, mine in monitors:
            monitor.update(step.step, [(name, 1.0 if name == called else -1.0) for name in mine])
    return time.process_time() - begin


def median_ratio(
    rounds: int, first: Callable[[], float], second: Callable[[], float]
) -> tuple[float, float, float]:
    """Return the medians of two timings and the median of their ratios, in interleaved rounds."""
    pairs = [(first(), second()) for _ in range(rounds)]
    ratios = [b / a for a, b in pairs]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(ratios),
    )


def keyed(number: int) -> Contract:
    """Return a property of two of 200 tools, one slice an id."""
    rule = Always(Implies(tool(f"t{2 * number}"), Once(tool(f"t{2 * number + 1}"))))
    return Contract(f"k{number}", (rule,), key=(("args", "id"),))


def hundred() -> tuple[float, float, float]:
    """Return what a step costs that wakes one of 1 and of 100 keyed contracts."""
    steps = log(10_000, names=["t1", "t0"], keys=50, seed=2)
    ordered = sorted(steps, key=lambda step: step.body.name, reverse=True)
    steps = [Step(index, float(index), "a", step.body) for index, step in enumerate(ordered)]
    every = [keyed(number) for number in range(100)]
    return median_ratio(7, lambda: ours(every[:1], steps), lambda: ours(every, steps))


def memory(short: int, long: int) -> tuple[int, int, int]:
    """Return the bytes of a keyed engine's saved state after a short and a long log, and how much the
    process grew between the two (KiB): 50 keys that stay, and a key a session that comes and goes."""
    ours_, session = [*four(), keyed(0)], Interval(Atom(("event",), "in", X), Atom(("event",), "out", X))
    inside = Contract("s", (Always(Implies(Atom(("event",), "use", X), session)),))
    engine, rng, sizes = Engine([*ours_, inside]), random.Random(3), []
    payloads = [pack({"args": {"id": f"k{n}"}}) for n in range(50)]
    name_of_call = ""
    for index in range(long):
        if index % 2:
            name = ("in", "use", "out")[index // 2 % 3]
            body = Action("event", name, pack({"args": [f"s{index // 6}"]}))
        elif index % 4:
            body = Observation("tool_result", name_of_call, index - 2, payloads[0])
        else:
            name_of_call = ("t1", "login", "tool5")[rng.randrange(3)]
            body = Action("tool_call", name_of_call, payloads[index % 50])
        engine.commit(Step(index, float(index), "a", body))
        if index + 1 in (short, long):
            sizes += [len(engine.save()), resident()]
    return sizes[0], sizes[2], sizes[3] - sizes[1]


def resident() -> int:
    """Return the resident memory of this process in KiB."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def payload() -> tuple[float, float, float]:
    """Return seconds of our predicate and of jsonschema for the same values, and the ratio."""
    import jsonschema

    schema = {
        "type": "object", "required": ["id", "amount"],
        "properties": {"id": {"type": "string", "maxLength": 40},
                       "amount": {"type": "number", "maximum": 10000},
                       "lines": {"type": "array", "items": {"type": "object", "required": ["sku"],
                                 "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}}}}},
    }  # fmt: skip
    value = {"id": "order-1", "amount": 99.5, "lines": [{"sku": "pen", "n": n} for n in range(3)]}
    mine, theirs = compile_schema(schema), jsonschema.Draft202012Validator(schema)

    def first() -> float:
        begin = time.process_time()
        for _ in range(2000):
            mine(value)
        return (time.process_time() - begin) / 2000

    def second() -> float:
        begin = time.process_time()
        for _ in range(200):
            theirs.is_valid(value)
        return (time.process_time() - begin) / 200

    return median_ratio(5, first, second)


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", default="1000,10000,100000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    gc.freeze()
    rows: list[dict[str, Any]] = []
    costs: dict[int, float] = {}
    compared = same_verdicts()
    for count in map(int, options.steps.split(",")):
        steps, contracts = log(count), four()
        ours(contracts, steps[:1000])
        rounds = options.rounds if count <= 100_000 else min(options.rounds, 2)
        mine, other, ratio = median_ratio(
            rounds, partial(ours, contracts, steps), partial(with_reelay, steps)
        )
        costs[count] = mine / count
        rows.append(
            row(
                f"reelay / masfire, 4 properties, {count:,} steps",
                ">= 5",
                ratio,
                ratio >= 5,
                f"{mine / count * 1e6:.2f} and {other / count * 1e6:.2f} us a step",
            )
        )
        if count <= 10_000:
            mine, other, ratio = median_ratio(3, partial(ours, contracts, steps), partial(with_rtamt, steps))
            rows.append(
                row(
                    f"rtamt / masfire, 4 properties, {count:,} steps",
                    ">= 5",
                    ratio,
                    ratio >= 5,
                    f"{other / count * 1e6:.2f} us a step",
                )
            )
    flat = costs[max(costs)] / costs[min(costs)]
    rows.append(row(f"cost a step, {max(costs):,} / {min(costs):,} steps", "<= 1.5", flat, flat <= 1.5, ""))
    one, many, ratio = hundred()
    rows.append(
        row(
            "100 keyed contracts / 1, step that wakes one",
            "<= 3",
            ratio,
            ratio <= 3,
            f"{one * 100:.2f} and {many * 100:.2f} us a step",
        )
    )
    long_log = max(100_000, *costs)
    short, long, grew = memory(30_000, long_log)
    rows.append(
        row(
            f"saved state, {long_log:,} / 30,000 steps",
            "<= 1.5",
            long / short,
            long / short <= 1.5,
            f"{short:,} and {long:,} bytes; the process grew by {grew:,} KiB in between",
        )
    )
    mine, other, ratio = payload()
    rows.append(
        row(
            "jsonschema / payload predicate",
            ">= 50",
            ratio,
            ratio >= 50,
            f"{mine * 1e6:.2f} and {other * 1e6:.1f} us a value",
        )
    )
    print("| what | bar | measured | met | |\n|---|---|---|---|---|")
    for each in rows:
        print(f"| {each['what']} | {each['bar']} | {each['measured']:.2f} | {each['met']} | {each['note']} |")
    print(f"\nmasfire and reelay say the same of each of {compared:,} lines of a log with violations.")
    print(f"\nPeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB.")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def row(what: str, bar: str, measured: float, met: bool, note: str) -> dict[str, Any]:
    """Return one line of the table."""
    return {"what": what, "bar": bar, "measured": measured, "met": "yes" if met else "no", "note": note}


if __name__ == "__main__":
    main()
