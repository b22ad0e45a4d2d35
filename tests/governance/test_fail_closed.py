"""Whatever a check does wrong, sync or async, behind every adapter: the tool's body does not run."""

import asyncio
import time
from typing import Any

import pytest

from masfire.governance import AgentRules, Allow, Block, Capability, Governor, Outcome, Policy, Rewrite
from tests.support.governed_systems import ASYNC, SYNC

OPEN = Policy(agents={"clerk": AgentRules(tools={"*": Capability()})}, seconds=0.3)


class Word:
    """Something whose comparisons and truth say yes."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True


async def _later() -> Outcome:
    return Outcome.ALLOW


class _Answers:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __call__(self, proposal: Any) -> Any:
        return self.answer


def raises(proposal: Any) -> Any:
    raise ValueError("the check broke")


def exits(proposal: Any) -> Any:
    raise SystemExit(0)


def hangs(proposal: Any) -> Any:
    time.sleep(3)
    return Outcome.ALLOW


def forgets(proposal: Any) -> Any:
    """Falls off its end."""


async def araises(proposal: Any) -> Any:
    raise ValueError("the check broke")


async def ahangs(proposal: Any) -> Any:
    await asyncio.sleep(30)
    return Outcome.ALLOW


async def aforgets(proposal: Any) -> Any:
    """Falls off its end."""


async def anonsense(proposal: Any) -> Any:
    return ("allow", "because")


GARBAGE = [
    None, True, False, 0, 1, "allow", "ALLOW", "Block", "", ("allow", "why"), ["allow"], {"outcome": "allow"},
    object(), Word(), Outcome, Outcome.REWRITE, Outcome.BLOCK, Allow, Block("no"), Rewrite(object()),
]  # fmt: skip
BAD = {
    **{f"answers {type(answer).__name__} {str(answer)[:12]}": _Answers(answer) for answer in GARBAGE},
    **{check.__name__: check for check in (raises, exits, hangs, forgets)},
}
ABAD = {check.__name__: check for check in (araises, ahangs, aforgets, anonsense)}


@pytest.mark.parametrize("system", SYNC)
@pytest.mark.parametrize("check", [*BAD, *ABAD])
def test_a_bad_check_blocks_a_sync_call(system: str, check: str) -> None:
    if check == "exits" and system == "recording":
        check = "raises"
    governor = Governor(OPEN, checks=[{**BAD, **ABAD}[check]])
    assert SYNC[system](governor, 5) == []


@pytest.mark.parametrize("system", ASYNC)
@pytest.mark.parametrize("check", [*BAD, *ABAD])
def test_a_bad_check_blocks_an_async_call(system: str, check: str) -> None:
    governor = Governor(OPEN, checks=[{**BAD, **ABAD}[check]])
    assert ASYNC[system](governor, 5) == []


@pytest.mark.parametrize("system", [*SYNC, *ASYNC])
def test_without_any_fault_it_runs(system: str) -> None:
    """The table above could not fail if nothing ever ran."""
    governor = Governor(OPEN, checks=[lambda proposal: Outcome.ALLOW])
    assert {**SYNC, **ASYNC}[system](governor, 5) == [5]


@pytest.mark.parametrize("system", [*SYNC, *ASYNC])
def test_a_clamped_argument_is_what_runs(system: str) -> None:
    from masfire.governance import Bound

    rules = AgentRules(tools={"pay": Capability({"amount": Bound(maximum=10, otherwise="clamp")})})
    assert {**SYNC, **ASYNC}[system](Governor(Policy(agents={"clerk": rules})), 50_000) == [10]


@pytest.mark.parametrize("system", [*SYNC, *ASYNC])
@pytest.mark.parametrize(
    "rules",
    [
        AgentRules(),
        AgentRules(tools={}),
        AgentRules(tools={"pay": Capability()}, deny=("pay",)),
        AgentRules(tools={"pay": Capability(calls=0)}),
    ],
    ids=["nothing", "empty", "denied", "no-calls"],
)
def test_what_no_rule_allows_does_not_run(system: str, rules: AgentRules) -> None:
    assert {**SYNC, **ASYNC}[system](Governor(Policy(agents={"clerk": rules})), 5) == []


def test_a_coroutine_that_nobody_awaits_is_no_answer() -> None:
    """A check that hands over a coroutine to a sync call is refused, and the coroutine closed."""
    governor = Governor(OPEN, checks=[lambda proposal: _later()])
    assert SYNC["plain"](governor, 5) == []


def test_an_audit_log_that_cannot_be_written_blocks(tmp_path: Any) -> None:
    from masfire.governance import AuditLog

    log = AuditLog(tmp_path / "audit.log")
    log.close()
    assert SYNC["plain"](Governor(OPEN, audit=log), 5) == []


def test_a_contract_that_cannot_judge_blocks() -> None:
    from masfire.contracts.language.formula import parse_formula
    from masfire.contracts.model import Contract, Judge

    def broken(view: Any) -> bool:
        raise KeyError("x")

    when = parse_formula("tool('pay')")
    contract = Contract("broken", (Judge(when, broken),))
    assert SYNC["plain"](Governor(Policy(agents=OPEN.agents, contracts=(contract,), seconds=0.3)), 5) == []


def test_a_contract_that_hangs_blocks_its_run_and_no_other() -> None:
    from masfire.contracts.language.formula import parse_formula
    from masfire.contracts.model import Contract, Judge

    def slow(view: Any) -> bool:
        time.sleep(2 if view.get(("args", "amount")) == 666 else 0)
        return True

    contract = Contract("slow", (Judge(parse_formula("tool('pay')"), slow),))
    governor = Governor(Policy(agents=OPEN.agents, contracts=(contract,), seconds=0.2, retries=False))

    def decide(run: str, amount: int) -> bool:
        args = {"args": {"amount": amount}}
        return governor.decide(governor.propose("tool_call", "pay", args, agent="clerk", run=run)).allowed

    assert [decide("a", 1), decide("a", 666), decide("a", 1), decide("b", 1)] == [True, False, False, True]
