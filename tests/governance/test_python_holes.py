"""Ways around a governed Python function: every way in which it takes arguments."""

from typing import Any

import pytest

from masfire.adapters.govern_python import governed
from masfire.governance import AgentRules, Blocked, Bound, Capability, Governor, Policy

SMALL = Bound(type="number", maximum=10, optional=True, otherwise="clamp")
POLICY = Policy(agents={"a": AgentRules(tools={"pay": Capability({"amount": SMALL})})}, retries=False)


def test_further_keywords_are_arguments_by_their_own_names() -> None:
    @governed(Governor(POLICY), agent="a", exempt=["session"])
    def pay(to: str, **more: Any) -> Any:
        return to, more

    session = object()
    assert pay("x", amount=10**9, session=session) == ("x", {"amount": 10, "session": session})
    assert pay("x") == ("x", {})
    assert pay("x", more=5) == ("x", {"more": 5})


def test_a_keyword_named_as_a_positional_parameter_cannot_hide_it() -> None:
    @governed(Governor(POLICY), agent="a")
    def pay(amount: float, /, **more: Any) -> Any:
        return amount, more

    assert pay(10**9) == (10, {})
    with pytest.raises(Blocked, match="malformed"):
        pay(10**9, amount=1)
