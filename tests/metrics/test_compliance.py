"""Compliance: what counts as clean, what as a step, and what stands apart."""

from __future__ import annotations

from masfire.contracts.model import Status, Verdict, Violation
from masfire.metrics.compliance import Judged, compliance, judged, statuses

FINE = Judged("a", "satisfied", applied=4)
BROKEN = Judged("b", "violated", applied=5, failed=2, first=3, blame=3)
WARNED = Judged("c", "violated", severity="warning", applied=1, failed=1)
UNSURE = Judged("d", "inconclusive", applied=1, inconclusive=3)
OPEN = Judged("e", "pending", applied=1)
IDLE = Judged("f", "vacuous")


def test_clean_runs_and_passing_steps() -> None:
    found = compliance([[FINE, IDLE], [FINE, BROKEN], [FINE, WARNED], [FINE, UNSURE], [FINE, OPEN], [IDLE]])
    assert (found.runs.successes, found.runs.n) == (2, 5)  # inconclusive and pending are not clean
    assert (found.steps.successes, found.steps.n) == (20 + 3 + 0 + 1 + 1, 20 + 5 + 1 + 1 + 1)
    assert (found.inconclusive, found.vacuous) == (3, 1)


def test_no_runs_are_no_hundred_percent() -> None:
    assert compliance([]).runs.rate is None
    assert compliance([[IDLE]]).runs.rate is None
    assert compliance([[IDLE]]).steps.rate is None


def test_several_violations_at_one_step_fail_it_once() -> None:
    violations = tuple(Violation("b", step, blame) for step, blame in ((2, 2), (2, 1), (5, 4)))
    (found,) = judged([Verdict("b", Status.VIOLATED, violations, applied=7, inconclusive=1)])
    assert found == Judged("b", "violated", "error", 7, 2, 1, 2, 2)


def test_statuses_are_counted_by_contract() -> None:
    assert statuses([[FINE, IDLE], [FINE]]) == {"a": {"satisfied": 2}, "f": {"vacuous": 1}}
