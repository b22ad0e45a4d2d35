"""The built-in retry contracts say what the contracts' own monitor says, on any sequence of calls."""

import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from masfire.contracts.engine import Engine
from masfire.contracts.model import Contract, Custom, StepStatus
from masfire.contracts.monitors.retries import Retries as Monitor
from masfire.governance import AgentRules, Capability, Governor, Policy
from masfire.trace.model import Action, Observation, Step
from masfire.trace.payload import pack

ERRORS = (
    {"type": "Gone", "retryable": False},
    {"type": "Busy", "retryable": True, "retry_after_ms": 2000},
    {"type": "Odd", "retryable": "no", "retry_after_ms": -5},
    {"type": "Odd", "retry_after_ms": True},
    {"type": "Odd", "retry_after_ms": float("nan")},
    {},
)
MOVES = st.tuples(
    st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), st.integers(0, 1), st.booleans(),
    st.one_of(st.none(), st.sampled_from(ERRORS)), st.sampled_from([0.0, 0.5, 3.0]),
)  # fmt: skip


class Clock:
    """A clock that only moves when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _args(number: int, turned: bool) -> dict[str, Any]:
    pairs = [("n", number), ("m", "\ud800" if number else "é")]
    return {"args": dict(reversed(pairs) if turned else pairs)}


@settings(max_examples=100, deadline=None)
@given(st.lists(MOVES, max_size=25))
def test_the_quick_rules_are_the_monitors_rules(moves: list[Any]) -> None:
    clock = Clock()
    policy = Policy(agents={"*": AgentRules(tools={"*": Capability()})})
    governor = Governor(policy, clock=clock, timer=clock)
    contract = Contract("r", (Custom(lambda: Monitor(("*",), final=(), max_attempts=sys.maxsize)),))
    engine, index = Engine([contract]), 0
    for agent, tool, number, turned, error, pause in moves:
        clock.now += pause
        value = _args(number, turned)
        ruling = governor.decide(governor.propose("tool_call", tool, value, agent=agent, run="r"))
        call = Step(index, clock.now, agent, Action("tool_call", tool, pack(value)))
        refused = any(verdict.status is StepStatus.FAIL for verdict in engine.peek(call))
        assert ruling.allowed is not refused, ruling.reason
        if refused:
            assert ruling.rule in (
                "contract:masfire.no-retry-of-final-errors",
                "contract:masfire.retry-waits",
            )
            continue
        engine.commit(call)
        outcome = {"value": 1} if error is None else {"error": error}
        result = Observation("tool_result", tool, index, pack(outcome), error is None)
        engine.commit(Step(index + 1, clock.now, agent, result))
        index += 2
        governor.finish(ruling, 1 if error is None else error, ok=error is None)
