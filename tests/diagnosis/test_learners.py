"""The learners find a planted culprit, and their files are data that cannot do harm."""

from __future__ import annotations

import numpy as np
import pytest

from masfire.diagnosis.learners import Forest, Softmax, minimize


def planted(seed: int, runs: int = 60) -> list[tuple[np.ndarray, int]]:
    """Return runs of 6 steps in which feature 2 tends to be large at the culprit."""
    random = np.random.default_rng(seed)
    groups = []
    for _ in range(runs):
        rows = random.normal(size=(6, 5))
        culprit = int(random.integers(6))
        rows[culprit, 2] += 3.0
        groups.append((rows, culprit))
    return groups


def test_minimize_finds_the_minimum_of_a_quadratic():
    matrix = np.diag([1.0, 10.0, 100.0])
    target = np.array([1.0, -2.0, 3.0])

    def loss(point):
        gap = point - target
        return float(0.5 * gap @ matrix @ gap), matrix @ gap

    assert np.allclose(minimize(loss, np.zeros(3)), target, atol=1e-3)


def test_the_softmax_learns_which_feature_gives_the_culprit_away():
    model = Softmax.fit(planted(1), l2=1.0)
    hits = [int(np.argmax(model.probabilities(rows))) == culprit for rows, culprit in planted(2)]
    assert np.argmax(np.abs(model.weights)) == 2
    assert np.mean(hits) > 0.8
    assert model.probabilities(planted(3)[0][0]).sum() == pytest.approx(1.0)


def test_the_forest_learns_it_too_and_is_deterministic():
    groups = planted(1)
    rows = np.vstack([rows for rows, _ in groups])
    guilty = np.concatenate([np.eye(6)[culprit] for _, culprit in groups])
    forest = Forest.fit(rows, guilty, trees=30, leaf=3, share=0.6, seed=4)
    hits = [int(np.argmax(forest.probabilities(rows))) == culprit for rows, culprit in planted(2)]
    assert np.mean(hits) > 0.7
    assert forest.data() == Forest.fit(rows, guilty, trees=30, leaf=3, share=0.6, seed=4).data()
    forest.validate(5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"left": [0, 0, 0]}, "out of order"),
        ({"left": [7, 0, 0]}, "does not exist"),
        ({"feature": [99, -1, -1]}, "out of order"),
        ({"value": [0.5]}, "differ in length"),
    ],
)
def test_a_tree_that_would_loop_or_point_outside_is_refused(change, complaint):
    tree = {
        "feature": [0, -1, -1], "threshold": [0.0, 0.0, 0.0], "left": [1, 0, 0], "right": [2, 0, 0],
        "value": [0.5, 0.1, 0.9],
    }  # fmt: skip
    Forest([tree]).validate(5)
    with pytest.raises(ValueError, match=complaint):
        Forest([{**tree, **change}]).validate(5)
