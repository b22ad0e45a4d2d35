"""Intervals and exact tests agree with published values and with each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masfire.metrics.statistics import mcnemar, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
def test_wilson_agrees_with_newcombe(successes: int, n: int, low: float, high: float) -> None:
    found = wilson(successes, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_no_data_is_no_rate() -> None:
    found = wilson(0, 0)
    assert (found.rate, found.low, found.high) == (None, None, None)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_rate_and_mirrors(pair: tuple[int, int]) -> None:
    successes, n = pair
    found, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= found.low <= found.rate <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high)
    assert wilson(successes, n, confidence=0.99).low <= found.low


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson(successes, n)


@pytest.mark.parametrize(("lost", "won", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (0, 6, 0.03125), (3, 3, 1.0)])
def test_mcnemar_is_the_exact_sign_test(lost: int, won: int, p: float) -> None:
    assert mcnemar(lost, won) == p == mcnemar(won, lost)
