"""What counts as survived: only witnessed, judged runs on tasks that the fault-free system solves."""

import pytest

from masfire.metrics.rates import Trial, control_rate, resilience, solved_tasks

CONTROLS = [
    *(Trial("easy", seed, success=True) for seed in range(3)),
    *(Trial("shaky", seed, success=seed != 1) for seed in range(3)),
    *(Trial("hard", seed, success=seed == 0) for seed in range(3)),
]


def test_a_task_is_solved_by_most_of_its_controls() -> None:
    assert solved_tasks(CONTROLS) == ["easy", "shaky"]
    assert solved_tasks([Trial("tie", 0, success=True), Trial("tie", 1, success=False)]) == []


def test_controls_that_chose_a_task_are_not_counted_for_it() -> None:
    # easy: 3 of 3; shaky: its failure is chosen by the other two, its successes only by a tie
    found = control_rate(CONTROLS)
    assert (found.successes, found.n) == (3, 4)


def test_one_control_says_nothing_of_repetition() -> None:
    assert control_rate([Trial("easy", 0, success=True)]).n == 0


def test_unjudged_controls_neither_solve_nor_fail() -> None:
    trials = [Trial("t", 0, success=True), Trial("t", 1, success=None)]
    assert solved_tasks(trials) == ["t"]
    assert control_rate(trials).n == 0


def test_only_witnessed_judged_runs_on_solved_tasks_count() -> None:
    found = resilience(
        [
            Trial("easy", 0, success=True, state="witnessed"),
            Trial("easy", 1, success=False, state="witnessed"),
            Trial("easy", 2, success=None, state="witnessed"),
            Trial("shaky", 1, success=True, state="witnessed"),
            Trial("shaky", 0, success=False, state="injected"),
            Trial("shaky", 2, success=True, state="not_exposed"),
            Trial("hard", 0, success=False, state="witnessed"),
        ],
        CONTROLS,
    )
    assert (found.rs.successes, found.rs.n) == (2, 3)
    assert found.states == {"injected": 1, "not_exposed": 1, "witnessed": 4}
    assert (found.unjudged, found.witnessed, found.runs) == (1, 4, 6)
    assert found.ratio == pytest.approx((2 / 3) / (3 / 4))
    assert (found.pairs.both, found.pairs.lost, found.pairs.won, found.pairs.neither) == (1, 1, 1, 0)
    assert found.valid
    assert not found.inapplicable


def test_a_cell_without_a_witnessed_run_is_invalid_not_zero() -> None:
    found = resilience([Trial("easy", 0, success=True, state="not_exposed")], CONTROLS)
    assert not found.valid
    assert (found.rs.rate, found.ratio) == (None, None)


def test_a_cell_is_inapplicable_only_if_every_run_was() -> None:
    inapplicable = Trial("easy", 0, success=True, state="inapplicable")
    assert resilience([inapplicable], CONTROLS).inapplicable
    assert not resilience(
        [inapplicable, Trial("easy", 1, success=True, state="injected")], CONTROLS
    ).inapplicable
    assert not resilience([], CONTROLS).inapplicable
