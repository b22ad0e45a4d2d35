"""The published vectors and margins, the calibration, and the advisor's figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from masfire.errors import UsageError
from masfire.genealogy.calibration import fit_curve, fit_runs
from masfire.genealogy.dynamics import Topology, chain, complete, coverage, simulate, star
from masfire.genealogy.risk import assess, left_eigenvector, spectral_radius
from masfire.genealogy.synergy import advise, error_correlation, slope, widest


@pytest.mark.parametrize(
    ("topology", "beta", "delta", "form", "curve"),
    [
        (star(), 0.67, 0.0, "product", [0.2, 0.736, 0.9129, 0.9713, 0.9905, 0.9969]),
        (chain(), 0.92, 0.005, "product", [0.2, 0.383, 0.565, 0.7479, 0.9319, 0.9849]),
        (complete(), 0.37, 0.025, "product", [0.2, 0.491, 0.7778, 0.9248, 0.9628, 0.9695]),
        (complete(), 0.39, 0.02, "poisson", [0.2, 0.4544, 0.7352, 0.9028, 0.9583, 0.9715]),
    ],
)
def test_published_curves(topology, beta, delta, form, curve) -> None:
    assert coverage(topology, beta, delta, form=form) == pytest.approx(curve, abs=6e-5)


def test_margins() -> None:
    hub = star(4)
    assert spectral_radius(hub.matrix()) == pytest.approx(math.sqrt(3))
    assert assess(hub, beta=0.42, delta=0.08).margin == pytest.approx(0.65, abs=0.005)
    assert spectral_radius(complete(4).matrix()) == pytest.approx(3)
    assert assess(complete(4), beta=0.26, delta=0.10).margin == pytest.approx(0.68, abs=1e-9)


def test_a_chain_has_no_spectrum_and_burns_all_the_same() -> None:
    risk = assess(chain(8), beta=0.92, delta=0.005)
    assert (risk.rho, risk.acyclic, risk.worst) == (0.0, True, "a0")
    assert risk.curve[-1] > 0.7
    assert "no cycle" in risk.sentence


def test_the_left_eigenvector_finds_the_spreader_where_the_right_one_finds_the_victim() -> None:
    # a and b talk to each other; a is read by c, d, e; f is only read by nobody and reads everybody.
    topology = Topology.of(
        [("a", "b"), ("b", "a"), ("a", "c"), ("a", "d"), ("c", "f"), ("d", "f"), ("b", "f")]
    )
    left = left_eigenvector(topology.matrix())
    assert left[topology.index("f")] == pytest.approx(0)
    assert assess(topology, beta=0.5, delta=0.1).worst == "a"


@pytest.mark.parametrize(
    ("topology", "beta", "delta"),
    [
        (star(), 0.67, 0.0),
        (chain(), 0.92, 0.005),
        (chain(reverse=0.3, seed=2), 0.85, 0.02),
        (complete(), 0.37, 0.025),
    ],
    ids=["star", "chain", "layered", "complete"],
)
def test_noiseless_curves_give_their_parameters_back(topology, beta, delta) -> None:
    fit = fit_curve(coverage(topology, beta, delta), topology)
    assert fit.beta.value == pytest.approx(beta, abs=0.01)
    assert fit.delta.value == pytest.approx(delta, abs=0.01)
    assert fit.mse < 1e-6


def test_the_published_start_is_biased_and_ours_is_not() -> None:
    curve = coverage(star(), 0.67, 0.0)
    assert fit_curve(curve, star(), start="uniform").beta.value > 0.75
    assert fit_curve(curve, star()).beta.value == pytest.approx(0.67, abs=0.002)


def test_runs_give_an_interval_that_holds_the_truth_and_name_the_bias() -> None:
    runs = simulate(star(), 0.67, 0.0, trials=20, rng=3)
    fit = fit_runs(runs, star(), resamples=60)
    assert fit.beta.low is not None
    assert fit.beta.high is not None
    assert fit.beta.low <= 0.67 <= fit.beta.high
    assert fit.beta.high - fit.beta.low > 0.02  # 20 trials do not pin it down
    assert fit.beta.bias is not None
    assert f"{fit.beta.bias:+.3f}" in fit.sentence


def test_the_simulation_agrees_with_the_model_in_the_first_round() -> None:
    runs = simulate(star(), 0.67, 0.0, trials=4000, rng=0).mean(axis=0)
    assert runs[1] == pytest.approx(0.736, abs=0.02)


@pytest.mark.parametrize("curve", [[0.2, 0.5], [0.2, 1.5, 1.0], [0.2, float("nan"), 1.0]])
def test_curves_that_say_nothing_are_refused(curve) -> None:
    with pytest.raises(UsageError):
        fit_curve(curve, star())


def test_the_advisor() -> None:
    assert [slope(b) for b in (3, 5, 7)] == [1.5, 1.875, 2.1875]
    assert slope(9) == pytest.approx(2.4609, abs=5e-5)
    good = advise(9, correlation=0.0, fidelity=1.0, beta=0.2)
    assert good.amplifies
    assert good.pays
    assert good.break_even == pytest.approx(0.2 * 2 * 9 / 8 / (good.s - 0.2))
    shared = advise(3, correlation=0.9, fidelity=0.9)
    assert not shared.amplifies
    assert not shared.pays
    assert "one agent" in shared.sentence
    with pytest.raises(UsageError, match="odd"):
        slope(4)
    assert (widest(2048, 300, shape="star"), widest(2048, 300), widest(2048, 250)) == (6, 5, 7)


def test_correlation_of_errors() -> None:
    one = [True, False, True, False]
    assert error_correlation({"a": one, "b": list(one)}) == pytest.approx(1)
    assert error_correlation({"a": one, "b": [not x for x in one]}) == pytest.approx(-1)
    assert error_correlation({"a": one, "b": [False] * 4}) is None
    rng = np.random.default_rng(0)
    both = {name: (rng.random(3000) < 0.3).tolist() for name in "ab"}
    assert error_correlation(both) == pytest.approx(np.corrcoef(both["a"], both["b"])[0, 1])
