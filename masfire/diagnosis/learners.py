"""Small learners in plain numpy whose models are plain data: a listwise softmax and a forest."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Group = tuple[Floats, int]
"""The rows of one run, and which of them is the culprit."""


class Softmax:
    """A linear score whose softmax over the steps of a run is the probability of being to blame.

    The conditional logit of McFadden (1974) with an L2 penalty; it compares the steps of one run
    with each other, so that a long run does not count more than a short one.
    """

    def __init__(self, weights: Floats) -> None:
        self.weights = weights

    @classmethod
    def fit(cls, groups: Sequence[Group], *, l2: float) -> Softmax:
        """Return the model of greatest penalised likelihood; deterministic."""
        rows = np.vstack([rows for rows, _ in groups])
        lengths = np.array([len(rows) for rows, _ in groups])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        owner = np.repeat(np.arange(len(groups)), lengths)
        culprits = starts + np.array([culprit for _, culprit in groups])
        wanted = rows[culprits].sum(axis=0)

        def loss(weights: Floats) -> tuple[float, Floats]:
            raw = rows @ weights
            raw -= np.maximum.reduceat(raw, starts)[owner]
            powers = np.exp(raw)
            sums = np.add.reduceat(powers, starts)
            value = np.log(sums).sum() - raw[culprits].sum() + 0.5 * l2 * weights @ weights
            return float(value), rows.T @ (powers / sums[owner]) - wanted + l2 * weights

        return cls(minimize(loss, np.zeros(rows.shape[1])))

    def probabilities(self, rows: Floats) -> Floats:
        """Return the probability of each step of one run; they sum to 1."""
        raw = rows @ self.weights
        powers = np.exp(raw - raw.max())
        return np.asarray(powers / powers.sum())

    def data(self) -> list[float]:
        """Return the weights as a JSON list."""
        return [float(f"{weight:.6g}") for weight in self.weights]


def minimize(
    loss: Callable[[Floats], tuple[float, Floats]], start: Floats, *, rounds: int = 200, memory: int = 10
) -> Floats:
    """Return the minimum of a smooth convex function by L-BFGS (Liu and Nocedal, 1989)."""
    point, (value, slope) = start, loss(start)
    steps: list[tuple[Floats, Floats, float]] = []
    for _ in range(rounds):
        if np.abs(slope).max() < 1e-4 * max(1.0, abs(value) / 100):
            break
        direction = -_inverse_hessian_times(slope, steps)
        length = 1.0 if steps else min(1.0, 1.0 / float(np.abs(slope).sum()))
        along = float(slope @ direction)
        while True:
            moved = point + length * direction
            new_value, new_slope = loss(moved)
            if new_value <= value + 1e-4 * length * along or length < 1e-10:
                break
            length /= 2
        change, turn = moved - point, new_slope - slope
        curvature = float(change @ turn)
        if curvature > 1e-12:
            steps = [*steps[-memory + 1 :], (change, turn, 1.0 / curvature)]
        stuck = length < 1e-10
        point, value, slope = moved, new_value, new_slope
        if stuck:
            break
    return point


def _inverse_hessian_times(slope: Floats, steps: Sequence[tuple[Floats, Floats, float]]) -> Floats:
    result = slope.copy()
    kept = []
    for change, turn, rho in reversed(steps):
        alpha = rho * float(change @ result)
        result -= alpha * turn
        kept.append(alpha)
    if steps:
        change, turn, _ = steps[-1]
        result *= float(change @ turn) / float(turn @ turn)
    for (change, turn, rho), alpha in zip(steps, reversed(kept), strict=True):
        result += (alpha - rho * float(turn @ result)) * change
    return result


_ROWS_AT_ONCE = 2000


class Forest:
    """Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006) that estimate a probability.

    A tree is five arrays of one entry a node: feature (-1 in a leaf), threshold, left, right, value.
    """

    def __init__(self, trees: Sequence[dict[str, list[Any]]]) -> None:
        self.trees = [
            (
                np.array(tree["feature"], dtype=np.int64),
                np.array(tree["threshold"], dtype=np.float64),
                np.array(tree["left"], dtype=np.int64),
                np.array(tree["right"], dtype=np.int64),
                np.array(tree["value"], dtype=np.float64),
            )
            for tree in trees
        ]
        self._data = list(trees)

    @classmethod
    def fit(
        cls, rows: Floats, guilty: Floats, *, trees: int, leaf: int, share: float, seed: int = 0
    ) -> Forest:
        """Return a forest: `leaf` fewest rows in a leaf, `share` of the features tried at each split."""
        random = np.random.default_rng(seed)
        return cls([_Tree(rows, guilty, leaf, share, random).data() for _ in range(trees)])

    def probabilities(self, rows: Floats) -> Floats:
        """Return the mean estimate of all trees for each row, in 0..1."""
        if not self.trees or not len(rows):
            return np.zeros(len(rows))
        total = np.zeros(len(rows))
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            total[first : first + _ROWS_AT_ONCE] = self._mean(rows[first : first + _ROWS_AT_ONCE])
        return total

    def _mean(self, rows: Floats) -> Floats:
        """Walk all trees and rows at once, one level a round: a call of numpy costs more than its work."""
        feature, threshold, left, right, value, roots = self._flat
        node = np.repeat(roots, len(rows))
        line = np.tile(np.arange(len(rows)), len(roots))
        walking = np.flatnonzero(feature[node] >= 0)
        while len(walking):
            here = node[walking]
            below = rows[line[walking], feature[here]] <= threshold[here]
            there = np.where(below, left[here], right[here])
            node[walking] = there
            walking = walking[feature[there] >= 0]
        return np.asarray(value[node].reshape(len(roots), len(rows)).mean(axis=0))

    @functools.cached_property
    def _flat(self) -> tuple[Any, ...]:
        """Return the arrays of all trees end to end, children by their place there, and the roots."""
        sizes = np.array([len(tree[0]) for tree in self.trees])
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        feature, threshold, left, right, value = (
            np.concatenate([tree[part] for tree in self.trees]) for part in range(5)
        )
        shift = np.repeat(roots, sizes)
        return feature, threshold, left + shift, right + shift, value, roots

    def validate(self, width: int) -> None:
        """Raise ValueError unless every tree is one: children come after their parent, features exist."""
        for feature, threshold, left, right, value in self.trees:
            size = len(feature)
            if not size or any(len(part) != size for part in (threshold, left, right, value)):
                raise ValueError("a tree's arrays differ in length")
            inner = np.flatnonzero(feature >= 0)
            if (feature >= width).any() or (left[inner] <= inner).any() or (right[inner] <= inner).any():
                raise ValueError("a tree's nodes are out of order")
            if (left[inner] >= size).any() or (right[inner] >= size).any():
                raise ValueError("a tree has a child that does not exist")

    def data(self) -> list[dict[str, list[Any]]]:
        """Return the trees as JSON objects."""
        return self._data


class _Tree:
    """One tree while it grows."""

    def __init__(
        self, rows: Floats, guilty: Floats, leaf: int, share: float, random: np.random.Generator
    ) -> None:
        self.rows, self.guilty, self.leaf, self.random = rows, guilty, leaf, random
        self.tried = max(1, round(share * rows.shape[1]))
        self.nodes: dict[str, list[Any]] = {
            key: [] for key in ("feature", "threshold", "left", "right", "value")
        }
        pending = [(np.arange(len(rows)), -1, "")]
        while pending:
            members, parent, side = pending.pop()
            node = self._add(members)
            if parent >= 0:
                self.nodes[side][parent] = node
            found = self._split(members)
            if found is not None:
                feature, threshold = found
                below = rows[members, feature] <= threshold
                self.nodes["feature"][node], self.nodes["threshold"][node] = feature, threshold
                pending += [(members[below], node, "left"), (members[~below], node, "right")]

    def data(self) -> dict[str, list[Any]]:
        return self.nodes

    def _add(self, members: npt.NDArray[np.int64]) -> int:
        node = len(self.nodes["value"])
        for key, value in (("feature", -1), ("threshold", 0.0), ("left", 0), ("right", 0)):
            self.nodes[key].append(value)
        self.nodes["value"].append(round(float(self.guilty[members].mean()), 5))
        return node

    def _split(self, members: npt.NDArray[np.int64]) -> tuple[int, float] | None:
        guilty = self.guilty[members]
        total, sins = len(members), float(guilty.sum())
        if total < 2 * self.leaf or sins in (0.0, float(total)):
            return None
        features = self.random.permutation(self.rows.shape[1])[: self.tried]
        values = self.rows[np.ix_(members, features)]
        low, high = values.min(axis=0), values.max(axis=0)
        thresholds = low + self.random.random(len(features)) * (high - low)
        below = values <= thresholds
        left = below.sum(axis=0).astype(float)
        sins_left = guilty @ below
        right, sins_right = total - left, sins - sins_left
        allowed = (left >= self.leaf) & (right >= self.leaf)
        if not allowed.any():
            return None
        # The Gini impurity that is left is constant - gain; sums of squares over sizes is the gain.
        gain = (sins_left**2 + (left - sins_left) ** 2) / np.maximum(left, 1)
        gain += (sins_right**2 + (right - sins_right) ** 2) / np.maximum(right, 1)
        best = int(np.argmax(np.where(allowed, gain, -1.0)))
        return int(features[best]), float(thresholds[best])
