"""Breakers, quarantine, retries, escalation and time budgets."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masfire.adapters.govern_python import governed
from masfire.governance import (
    AgentRules,
    AuditLog,
    Bound,
    Breaker,
    Capability,
    Governor,
    Limits,
    Outcome,
    Policy,
    Price,
    TimeBudget,
    allow,
)
from masfire.governance.audit import read
from masfire.governance.timing import allocate

ANY = AgentRules(tools={"*": Capability()})


class Clock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock | None = None, **fields: Any) -> Governor:
    clock = clock or Clock()
    return Governor(Policy(agents={"*": ANY}, **fields), clock=clock, timer=clock)


def asked(governor: Governor, name: str = "x", agent: str = "a", run: str = "r", **args: Any) -> Any:
    return governor.decide(governor.propose("tool_call", name, {"args": args}, agent=agent, run=run))


def test_a_tool_that_keeps_failing_is_left_alone_then_tried_once() -> None:
    clock = Clock()
    governor = made(clock, breaker=Breaker(failures=2, seconds=30), retries=False)
    for index in range(2):
        governor.finish(asked(governor, run=f"run{index}"), {"type": "E"}, ok=False)
    refused = asked(governor)
    assert (refused.allowed, refused.rule, asked(governor, name="y").allowed) == (False, "breaker", True)
    assert refused.error is not None
    assert (refused.error.retryable, refused.error.retry_after_ms) == (True, 30_001)
    clock.now += 31
    trial = asked(governor)
    assert (trial.allowed, asked(governor).allowed) == (True, False)  # one call tries it
    governor.abandon(trial)
    governor.finish(asked(governor), "fine")
    assert asked(governor).allowed


def test_a_trial_that_is_refused_for_another_reason_does_not_use_up_the_trial() -> None:
    clock = Clock()
    rules = {"a": allow("x", steps=1), "b": allow("x")}
    policy = Policy(agents=rules, breaker=Breaker(failures=1, seconds=5), retries=False)
    governor = Governor(policy, clock=clock, timer=clock)
    governor.finish(asked(governor), {"type": "E"}, ok=False)
    clock.now += 6
    assert asked(governor).rule == "budget:steps"
    assert asked(governor, agent="b").allowed


def test_an_agent_that_is_blocked_too_often_is_out_until_released(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log")
    policy = Policy(agents={"*": AgentRules(tools={"x": Capability()})}, quarantine=2, retries=False)
    governor = Governor(policy, audit=log)
    for _ in range(2):
        asked(governor, name="y")
    assert (asked(governor).rule, asked(governor, agent="b").allowed) == ("quarantine", True)
    governor.release("a", run="r")
    assert asked(governor).allowed
    governor.quarantine("b", "it was seen with a forged token")
    assert asked(governor, agent="b").rule == "quarantine"
    log.close()
    assert [e.rule for e, _ in read(tmp_path / "log") if e.event == "note"] == [
        "quarantine:released",
        "quarantine",
    ]


def test_the_built_in_contracts_on_structured_errors() -> None:
    clock = Clock()
    governor = made(clock)
    governor.finish(asked(governor, n=1), {"type": "Gone", "message": "no", "retryable": False}, ok=False)
    again = asked(governor, n=1)
    assert (again.allowed, again.rule) == (False, "contract:masfire.no-retry-of-final-errors")
    assert asked(governor, n=2).allowed
    busy = {"type": "Busy", "message": "later", "retryable": True, "retry_after_ms": 2_000}
    governor.finish(asked(governor, n=3), busy, ok=False)
    clock.now += 1
    assert asked(governor, n=3).rule == "contract:masfire.retry-waits"
    clock.now += 1.5
    assert asked(governor, n=3).allowed


@pytest.mark.parametrize(
    ("answer", "wanted"), [(Outcome.ALLOW, True), (Outcome.BLOCK, False), (True, False), (None, False)]
)
def test_a_person_may_overrule_a_capability_but_no_budget(answer: Any, wanted: bool) -> None:
    rules = AgentRules(tools={"x": Capability({"n": Bound(maximum=1)})}, budget=Limits(steps=1))
    governor = Governor(Policy(agents={"a": rules}, retries=False), escalate=lambda ruling: answer)
    ruling = asked(governor, n=5)
    assert ruling.allowed is wanted
    assert ruling.rule.startswith("escalate:") or not ruling.rule.startswith("budget")
    if wanted:
        assert asked(governor, n=5).rule == "budget:steps"


def test_money_and_tokens_are_reserved_before_and_settled_after() -> None:
    rules = AgentRules(budget=Limits(money=0.01, tokens=10_000))
    policy = Policy(agents={"a": rules}, prices={"small": Price(1.0, 2.0)}, retries=False)
    governor = Governor(policy)

    def call(model: str, limit: int) -> Any:
        return governor.decide(
            governor.propose("model_call", model, {"max_tokens": limit}, agent="a", run="r")
        )

    first = call("small", 4_000)
    assert first.allowed
    assert call("small", 2_000).rule == "budget:money"
    governor.finish(first, {}, tokens=100)
    assert call("small", 2_000).allowed
    assert call("unpriced", 1).rule == "budget:money"


def test_time_is_shared_out_logged_and_enforced(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log")
    budget = TimeBudget(seconds=0.2, chain=("look", "pay"), latencies={"look": (0.01,), "pay": (0.01, 0.02)})
    governor = Governor(Policy(agents={"a": allow("look", "pay")}, time_budget=budget), audit=log)

    @governed(governor, agent="a")
    async def look() -> None:
        await asyncio.sleep(5)

    with governor.run("r"), pytest.raises(TimeoutError):
        asyncio.run(look())
    log.close()
    note = next(entry for entry, _ in read(tmp_path / "log") if entry.rule == "budget:time")
    assert [told.split(":")[0] for told in note.evidence] == ["look", "pay"]


@settings(max_examples=60, deadline=None)
@given(
    samples=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=4), min_size=1, max_size=3),
    cells=st.integers(3, 40),
)
def test_the_shares_are_the_best_there_are(samples: list[list[int]], cells: int) -> None:
    """Against every combination of the recorded latencies (a share between two of them gains nothing)."""
    chain = [f"t{index}" for index in range(len(samples))]
    table = {tool: [float(value) for value in one] for tool, one in zip(chain, samples, strict=True)}
    shares = allocate(chain, table, 200.0 * cells / 40)
    total = 200.0 * cells / 40
    assert sum(share.seconds for share in shares) <= total + 1e-6

    def chance(parts: Any) -> float:
        found = 1.0
        for latency, part in zip(table.values(), parts, strict=True):
            found *= sum(value <= part + 1e-9 for value in latency) / len(latency)
        return found

    room = total * (1 - len(chain) / 200)  # shares are rounded up to a cell each
    plans = [parts for parts in itertools.product(*table.values()) if sum(parts) <= room]
    best = max(map(chance, plans), default=0.0)
    assert chance([share.seconds for share in shares]) >= best - 1e-9
