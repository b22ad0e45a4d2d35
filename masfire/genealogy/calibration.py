"""Calibration: the β and δ under which the model says what runs showed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from masfire.errors import UsageError
from masfire.genealogy.dynamics import Form, Topology, evolve, simulate

Start = Literal["seed", "uniform"]
"""Where the model starts: at the seed vector (unbiased), or uniformly at S_obs(1) (arXiv 2603.04474)."""

GRIDS = (0.05, 0.01, 0.001)
"""Step of the grid, and of the refinements around the best point."""
RESAMPLES = 200
CONFIDENCE = 0.95


class Estimate(Struct, frozen=True):
    """One fitted parameter: `low` and `high` a bootstrap interval, `bias` what the fit adds on average."""

    value: float
    low: float | None = None
    high: float | None = None
    bias: float | None = None


class Fit(Struct, frozen=True):
    """What a calibration found.

    `mse` is the mean squared error of the coverage curve, `predicted` and `observed` are S(0…T).
    `trials` is 0 when a curve and not runs were fitted; then there are no intervals.
    """

    beta: Estimate
    delta: Estimate
    mse: float
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    form: Form = "product"
    start: Start = "seed"
    trials: int = 0

    @property
    def sentence(self) -> str:
        """Return in one sentence what was found and how far to trust it."""
        text = (
            f"β = {self.beta.value:.3f}{_within(self.beta)}, δ = {self.delta.value:.3f}{_within(self.delta)}"
        )
        text += f"; MSE of the curve {self.mse:.1e}"
        if self.beta.bias is not None and self.delta.bias is not None:
            text += (
                f". From {self.trials} runs; the mean-field model leaves out that agents' states are "
                f"correlated, which shifts such fits by {self.beta.bias:+.3f} (β) and "
                f"{self.delta.bias:+.3f} (δ)"
            )
        return text + "."


def _within(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({estimate.low:.2f} to {estimate.high:.2f})"


def fit_curve(
    observed: Sequence[float],
    topology: Topology,
    *,
    seeds: Sequence[int] = (0,),
    form: Form = "product",
    start: Start = "seed",
) -> Fit:
    """Return the (β, δ) whose curve is nearest to the observed S(0…T).

    MSE = mean_t (S_pred(t) - S_obs(t))² over t = 1…T; a grid of step 0.05 over [0, 1]², refined to 0.01
    and 0.001 around the best point (arXiv 2603.04474 stops at 0.01). With `start="uniform"` the model
    starts at s_i = S_obs(1) everywhere and is compared with S_obs(2…T), as published. Raise UsageError
    for a curve too short to tell two parameters.
    """
    curve = np.asarray(observed, dtype=float)
    if curve.ndim != 1 or curve.size < (4 if start == "uniform" else 3):
        raise UsageError("Two parameters need at least two observed rounds after the start.")
    if not bool(np.isfinite(curve).all()) or curve.min() < 0 or curve.max() > 1:
        raise UsageError("Coverage is a share: every value must be between 0 and 1.")
    beta, delta = _search(curve, topology, seeds, form, start)
    predicted, target = _predict(np.array([beta]), np.array([delta]), curve, topology, seeds, form, start)
    error = float(((predicted[1:, 0] - target[1:]) ** 2).mean())
    return Fit(
        Estimate(beta), Estimate(delta), error,
        tuple(float(v) for v in predicted[:, 0]), tuple(float(v) for v in target), form, start,
    )  # fmt: skip


def fit_runs(
    curves: Any,
    topology: Topology,
    *,
    seeds: Sequence[int] = (0,),
    form: Form = "product",
    resamples: int = RESAMPLES,
) -> Fit:
    """Return the fit to the mean curve of several runs (one row a run), with intervals and bias.

    The interval is a percentile bootstrap over runs (95 %). The bias is measured by simulating as many
    runs at the estimate and fitting them again.
    """
    rows = np.atleast_2d(np.asarray(curves, dtype=float))
    base = fit_curve(rows.mean(axis=0).tolist(), topology, seeds=seeds, form=form)
    rng = np.random.default_rng(0)
    means = np.stack([rows[rng.integers(0, len(rows), len(rows))].mean(axis=0) for _ in range(resamples)])
    drawn = _fits(means, topology, seeds, form)
    again = np.stack(
        [
            simulate(
                topology, base.beta.value, base.delta.value, rounds=rows.shape[1] - 1, trials=len(rows),
                seeds=seeds, rng=rng,
            ).mean(axis=0)
            for _ in range(max(20, resamples // 2))
        ]
    )  # fmt: skip
    refitted = _fits(again, topology, seeds, form)
    estimates = []
    for place, found in enumerate((base.beta, base.delta)):
        low, high = np.quantile(drawn[:, place], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        bias = float(refitted[:, place].mean() - found.value)
        low, high = (
            min(float(low), found.value),
            max(float(high), found.value),
        )  # the resamples' grid is coarser
        estimates.append(Estimate(found.value, low, high, bias))
    return Fit(estimates[0], estimates[1], base.mse, base.predicted, base.observed, form, "seed", len(rows))


def _fits(curves: NDArray[np.float64], topology: Topology, seeds: Sequence[int], form: Form) -> Any:
    """Return (β, δ) for many curves, on the grid of 0.01: predictions are shared among them."""
    axis = np.arange(101) / 100
    beta, delta = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    start = _seeded(topology, seeds)
    states = evolve(topology.matrix(), start, beta, delta, rounds=curves.shape[1] - 1, form=form)
    predicted = states.mean(axis=-1)[1:]
    target = curves[:, 1:].T
    cross = predicted.T @ target
    errors = (predicted**2).sum(axis=0)[:, None] - 2 * cross
    best = errors.argmin(axis=0)
    return np.stack([beta[best], delta[best]], axis=1)


def _search(
    curve: NDArray[np.float64], topology: Topology, seeds: Sequence[int], form: Form, start: Start
) -> tuple[float, float]:
    best, reach = (0.5, 0.5), 0.5
    for step in GRIDS:
        betas, deltas = (_around(centre, reach, step) for centre in best)
        beta, delta = (grid.ravel() for grid in np.meshgrid(betas, deltas, indexing="ij"))
        predicted, target = _predict(beta, delta, curve, topology, seeds, form, start)
        errors = ((predicted[1:] - target[1:, None]) ** 2).mean(axis=0)
        at = int(errors.argmin())
        best, reach = (float(beta[at]), float(delta[at])), 2 * step
    return round(best[0], 6), round(best[1], 6)


def _around(centre: float, reach: float, step: float) -> NDArray[np.float64]:
    count = round(reach / step)
    return np.unique(np.clip(centre + np.arange(-count, count + 1) * step, 0.0, 1.0))


def _predict(
    beta: NDArray[np.float64],
    delta: NDArray[np.float64],
    curve: NDArray[np.float64],
    topology: Topology,
    seeds: Sequence[int],
    form: Form,
    start: Start,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the predicted curves (rounds by candidates) and what they are to be compared with."""
    target = curve[1:] if start == "uniform" else curve
    begin = np.full(topology.n, target[0]) if start == "uniform" else _seeded(topology, seeds)
    states = evolve(topology.matrix(), begin, beta, delta, rounds=target.size - 1, form=form)
    return states.mean(axis=-1), target


def _seeded(topology: Topology, seeds: Sequence[int]) -> NDArray[np.float64]:
    vector = np.zeros(topology.n)
    vector[list(seeds)] = 1.0
    return vector


__all__ = ["Estimate", "Fit", "Start", "fit_curve", "fit_runs"]
