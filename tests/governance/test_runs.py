"""Which run an action belongs to: never a guessed one, and a thread's only when it was taken there."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from masfire.adapters.govern_openai import govern
from masfire.adapters.govern_python import governed
from masfire.governance import (
    AgentRules,
    AuditLog,
    Blocked,
    Breaker,
    Capability,
    Governor,
    Limits,
    Lineage,
    Policy,
    TimeBudget,
    allow,
)
from masfire.governance.audit import read
from masfire.governance.dryrun import dry_run
from masfire.trace.model import Action, Header, Step, Trace
from masfire.trace.payload import pack
from tests.support.fake_openai import FakeOpenAI

THREE = Policy(agents={"t": AgentRules(tools={"look": Capability(calls=3)})}, retries=False)
PER_RUN: dict[str, Policy] = {
    "calls": THREE,
    "budget": Policy(agents={"t": allow("look", steps=9)}, retries=False),
    "run": Policy(agents={"t": allow("look")}, retries=False, run=Limits(steps=9)),
    "retries": Policy(agents={"t": allow("look")}),
    "lineage": Policy(agents={"t": allow("look")}, retries=False, lineage=Lineage()),
    "quarantine": Policy(agents={"t": allow("look")}, retries=False, quarantine=3),
    "time_budget": Policy(agents={"t": allow("look")}, retries=False, time_budget=TimeBudget(1.0, ("look",))),
}  # fmt: skip


def looker(governor: Governor) -> Callable[[], str]:
    @governed(governor, agent="t")
    def look() -> str:
        return "x"

    return look


@pytest.mark.parametrize("field", PER_RUN)
def test_an_action_in_no_run_is_blocked_and_told_what_to_do(field: str, tmp_path: Path) -> None:
    governor = Governor(PER_RUN[field], audit=AuditLog(tmp_path / "log"))
    look = looker(governor)
    with pytest.raises(
        Blocked, match=rf"run:none: No run is open here, and the policy's {field} hold"
    ) as told:
        look()
    for way in ("with governor.run():", "governor.carry(function)", "Governor(policy, run='service')"):
        assert way in str(told.value)
    assert [entry.rule for entry, _ in read(tmp_path / "log")][-1] == "run:none"
    assert governor._states == {}
    with governor.run():
        assert look() == "x"
    assert governor._states == {}


def test_a_policy_that_remembers_nothing_needs_no_run() -> None:
    assert looker(Governor(Policy(agents={"t": allow("look")}, retries=False, breaker=Breaker())))() == "x"


def test_a_thread_of_a_pool_gets_no_budget_of_its_own() -> None:
    governor = Governor(THREE)
    look = looker(governor)
    with governor.run("a"), ThreadPoolExecutor(4) as pool:
        # A context of their own is what threads begin with, unless a governed graph's pools hand theirs on.
        plain = [pool.submit(contextvars.Context().run, look) for _ in range(6)]
        for future in plain:
            with pytest.raises(Blocked, match="run:none"):
                future.result()
        carried = [pool.submit(governor.carry(look)) for _ in range(6)]
        outcomes = [type(future.exception()) for future in carried]
        with pytest.raises(Blocked, match="3 times in a run"):
            look()
    assert outcomes.count(Blocked) == 3
    assert outcomes.count(type(None)) == 3


def test_carried_work_overlaps_and_ends_with_its_run() -> None:
    governor, together = Governor(THREE), threading.Barrier(2)
    look = looker(governor)

    def both() -> str:
        together.wait(5)
        return look()

    with governor.run("a"), ThreadPoolExecutor(2) as pool:
        work = governor.carry(both)
        assert [one.result() for one in (pool.submit(work), pool.submit(work))] == ["x", "x"]
    late = governor.carry(look)
    with governor.run("b"):
        late = governor.carry(look)
    with pytest.raises(Blocked, match="'b' has ended"):
        late()


def test_tasks_take_their_run_along() -> None:
    governor = Governor(THREE)
    look = looker(governor)

    async def main() -> list[Any]:
        with governor.run("a"):
            jobs = [asyncio.create_task(asyncio.to_thread(look)) for _ in range(5)]
            return await asyncio.gather(*jobs, return_exceptions=True)

    outcomes = [type(one) for one in asyncio.run(main())]
    assert (outcomes.count(str), outcomes.count(Blocked)) == (3, 2)


def test_one_run_for_all_that_have_none_is_a_choice() -> None:
    governor = Governor(THREE, run="service")
    look = looker(governor)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(contextvars.Context().run, look) for _ in range(6)]
    assert sum(future.exception() is None for future in done) == 3
    with governor.run("a"):
        assert look() == "x"


def test_a_client_needs_a_run_too() -> None:
    policy = Policy(agents={"clerk": AgentRules(budget=Limits(steps=1))})
    ask: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with FakeOpenAI(lambda path, body: "hello") as server:
        governor = Governor(policy)
        client = govern(openai.OpenAI(base_url=server.url, api_key="none"), governor, agent="clerk")
        with pytest.raises(Blocked, match="No run is open here"):
            client.chat.completions.create(**ask)
        assert server.bodies == []
        for _ in range(3):  # each request of a service its own budget
            with governor.run():
                client.chat.completions.create(**ask)
        assert len(server.bodies) == 3


def test_a_recorded_run_without_an_id_is_a_run_all_the_same() -> None:
    policy = Policy(agents={"t": allow("look", steps=1)})
    step = Step(0, 0.0, "t", Action("tool_call", "look", pack({"args": {}})))
    trace = Trace(Header(run=""), (step, msgspec.structs.replace(step, step=1)))
    assert [one.outcome for one in dry_run(trace, policy)] == ["allow", "block"]
