"""Laws of governance: no interleaving of threads, tasks and cancellations lets more through than allowed."""

import asyncio
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from masfire.governance import (
    AgentRules,
    AuditLog,
    Breaker,
    Capability,
    Governor,
    Limits,
    Outcome,
    Policy,
    verify,
)
from masfire.governance.audit import read


def budgeted(steps: int, **more: Any) -> Governor:
    return Governor(
        Policy(agents={"*": AgentRules(tools={"*": Capability()}, budget=Limits(steps=steps))}, seconds=5),
        **more,
    )


def asked(governor: Governor, agent: str = "a", run: str = "r") -> Any:
    return governor.propose("tool_call", "x", {"args": {}}, agent=agent, run=run)


def test_32_threads_get_exactly_the_budget() -> None:
    for _ in range(5):
        governor = budgeted(10)
        barrier, allowed = threading.Barrier(32), []

        def work(governor: Governor = governor, barrier: Any = barrier, allowed: list[int] = allowed) -> None:
            barrier.wait()
            allowed.extend(1 for _ in range(5) if governor.decide(asked(governor)).allowed)

        threads = [threading.Thread(target=work) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(allowed) == 10


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), budget=st.integers(0, 12), calls=st.integers(1, 40))
def test_cancelled_tasks_give_back_and_nothing_slips_through(seed: int, budget: int, calls: int) -> None:
    rng = random.Random(seed)

    async def slow(proposal: Any) -> Outcome:
        await asyncio.sleep(rng.random() * 0.004)
        return Outcome.ALLOW

    governor = budgeted(budget, checks=[slow])
    ran: list[int] = []

    async def act(number: int) -> None:
        ruling = await governor.adecide(asked(governor))
        if ruling.outcome is Outcome.ALLOW:
            ran.append(number)

    async def main() -> None:
        tasks = [asyncio.create_task(act(number)) for number in range(calls)]
        for task in tasks:
            if rng.random() < 0.4:
                await asyncio.sleep(rng.random() * 0.002)
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number in range(budget):  # what was cancelled left nothing reserved
            await act(calls + number)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert len(ran) == budget


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_interleavings_log_what_they_let_through(tmp_path_factory: Any, seed: int) -> None:
    """Threads decide, finish, fail and abandon: the log and the accounts agree, and nothing deadlocks."""
    rng = random.Random(seed)
    path = tmp_path_factory.mktemp("laws") / "log"
    log = AuditLog(path)
    policy = Policy(
        agents={"*": AgentRules(tools={"x": Capability()}, budget=Limits(steps=9))},
        run=Limits(steps=20),
        breaker=Breaker(failures=4, seconds=0.001),
        seconds=5,
    )
    governor = Governor(policy, audit=log)
    executed: list[str] = []
    plans = [[rng.choice(["finish", "fail", "abandon", "leave"]) for _ in range(8)] for _ in range(6)]

    def work(agent: int, plan: list[str]) -> None:
        for what in plan:
            proposal = governor.propose(
                "tool_call", "x", {"args": {"n": len(executed)}}, agent=f"a{agent % 3}", run="r"
            )
            ruling = governor.decide(proposal)
            if not ruling.allowed:
                continue
            if what == "abandon":
                governor.abandon(ruling)
                continue
            executed.append(ruling.executed)
            if what != "leave":
                governor.finish(ruling, {"type": "E"}, ok=what == "finish")

    start = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda pair: work(*pair), enumerate(plans)))
    assert time.monotonic() - start < 20
    log.close()
    verify(path)
    entries = [entry for entry, _ in read(path)]
    decided = sum(entry.event == "decision" and entry.outcome == "allow" for entry in entries)
    taken_back = sum(entry.rule == "abandoned" for entry in entries)
    assert decided - taken_back == len(executed) <= 20
    accounts = governor.state_of("r").accounts.values()
    assert sum(account.steps for account in accounts) == len(executed)
    assert all(account.steps <= 9 for account in accounts)


def test_nested_and_parallel_runs_cannot_renew_a_budget() -> None:
    governor = budgeted(3)
    with governor.run("outer"):
        first = [governor.decide(asked(governor)).allowed for _ in range(2)]
        with governor.run("inner"):
            second = [governor.decide(asked(governor)).allowed for _ in range(2)]
        third = governor.decide(asked(governor, run="another")).allowed
    assert (first, second, third) == ([True, True], [True, False], False)
    assert not governor.decide(asked(governor, run="outer")).allowed  # a straggler of a run that is over


def test_one_of_two_parallel_users_of_a_run_does_not_end_it() -> None:
    governor = budgeted(2)
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with governor.run("shared"):
            governor.decide(asked(governor))
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(5)
    with governor.run("shared"):
        assert governor.decide(asked(governor)).allowed
    with governor.run("shared"):
        assert not governor.decide(asked(governor)).allowed
    leave.set()
    thread.join(5)
