"""Margins: how far a trace is from violating a contract."""

from typing import Any

import pytest

from masfire.contracts.examples import trace_of
from masfire.contracts.margin import Margin, margin
from masfire.contracts.model import Contract
from masfire.contracts.patterns import rules_of_pattern
from tests.support.pattern_cases import call


def of(pattern: str, fields: dict[str, Any], *steps: dict[str, Any]) -> Margin | None:
    return margin(Contract(id=pattern, rules=rules_of_pattern(pattern, fields)), trace_of(steps))


PAY = {"when": "tool('pay')"}
ANSWER = {"when": "tool('ask')", "response": "tool('answer')"}
ASKED = [call("ask"), call("think"), call("answer")]


@pytest.mark.parametrize(
    ("pattern", "fields", "steps", "expected"),
    [
        ("at_most", {**PAY, "n": 5}, [call("pay")] * 2, Margin(3, "count")),
        ("at_most", {**PAY, "n": 2}, [call("pay")] * 2, Margin(0, "count")),
        ("at_most", {**PAY, "n": 2}, [call("pay")] * 6, Margin(-4, "count")),
        ("at_most", {**PAY, "n": 2}, [call("look")], None),
        ("responded_within", {**ANSWER, "within": "7 steps"}, ASKED, Margin(5, "steps")),
        ("responded_within", {**ANSWER, "within": "1 step"}, ASKED, Margin(-1, "steps")),
        ("never", PAY, [call("look")], Margin(1, "boolean")),
        ("never", PAY, [call("pay")], Margin(0, "boolean")),
    ],
)
def test_margins(
    pattern: str, fields: dict[str, Any], steps: list[dict[str, Any]], expected: Margin | None
) -> None:
    assert of(pattern, fields, *steps) == expected


@pytest.mark.parametrize(("limit", "expected"), [(10, 2.5), (7, -0.5), (7.5, 0)])
def test_sums_are_measured_closely(limit: float, expected: float) -> None:
    fields = {**PAY, "field": "args.amount", "limit": limit}
    found = of("cumulative_at_most", fields, call("pay", amount=3), call("pay", amount=4.5))
    assert found is not None
    assert found.unit == "value"
    assert found.amount == pytest.approx(expected, abs=1e-4)


def test_a_field_against_its_bound() -> None:
    found = of("always", {**PAY, "holds": "args.amount >= 3"}, call("pay", amount=8), call("pay", amount=5))
    assert found is not None
    assert found.amount == pytest.approx(2, abs=1e-4)


def test_the_least_of_several_rules_counts() -> None:
    rules = (
        *rules_of_pattern("at_most", {**PAY, "n": 9}),
        *rules_of_pattern("at_most", {"when": "tool('look')", "n": 2}),
    )
    found = margin(Contract(id="both", rules=rules), trace_of([call("pay"), call("look")]))
    assert found == Margin(1, "count")
