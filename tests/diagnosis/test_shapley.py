"""Shapley blame on constructed games whose values are known."""

from __future__ import annotations

import itertools
import random

import pytest

from masfire.diagnosis.shapley import shapley
from masfire.errors import UsageError


def test_the_one_whose_repair_saves_the_run_bears_all_blame():
    found = shapley(["a", "b", "c"], lambda repaired: float("b" in repaired))
    assert found == (("b", 1.0), ("a", 0.0), ("c", 0.0))


def test_two_that_must_both_be_repaired_share_it():
    found = dict(shapley(["a", "b", "c"], lambda repaired: float({"a", "b"} <= repaired)))
    assert found == {"a": pytest.approx(0.5), "b": pytest.approx(0.5), "c": 0.0}


def test_the_glove_game():
    # One left glove, two right ones: the left is worth 2/3, each right one 1/6 (Shapley, 1953).
    found = dict(shapley(["left", "r1", "r2"], lambda c: float("left" in c and bool({"r1", "r2"} & c))))
    assert found == {"left": pytest.approx(2 / 3), "r1": pytest.approx(1 / 6), "r2": pytest.approx(1 / 6)}


@pytest.mark.parametrize("players", [3, 6, 8])
def test_values_sum_to_what_all_repairs_gain(players):
    names = [f"agent{index}" for index in range(players)]
    draw = random.Random(players)
    worth = {
        frozenset(chosen): draw.random()
        for size in range(players + 1)
        for chosen in itertools.combinations(names, size)
    }
    found = shapley(names, worth.__getitem__, orders=30)
    gain = worth[frozenset(names)] - worth[frozenset()]
    assert sum(value for _, value in found) == pytest.approx(gain)


def test_many_agents_are_sampled_and_the_additive_game_is_exact():
    names = [f"agent{index}" for index in range(9)]
    asked = []

    def worth(repaired):
        asked.append(repaired)
        return float(sum(names.index(name) for name in repaired))

    found = shapley(names, worth, orders=20)
    assert [value for _, value in found] == [float(index) for index in range(8, -1, -1)]
    assert len(asked) == len(set(asked)) < 2**9
    assert found == shapley(names, worth, orders=20)


def test_an_agent_named_twice_is_refused():
    with pytest.raises(UsageError, match="named twice"):
        shapley(["a", "a"], lambda repaired: 0.0)
