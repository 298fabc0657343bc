from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinecore.metrics import bland_altman, icc_a1

SHROUT_FLEISS = np.array(  # Shrout and Fleiss 1979, table 2: six targets, four judges
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)


def test_icc_of_the_published_example() -> None:
    found = icc_a1(SHROUT_FLEISS)
    assert found.value == pytest.approx(0.2898, abs=5e-5)  # ICC(2,1) of the paper: .29
    assert found.low == pytest.approx(0.019, abs=5e-4)
    assert found.high == pytest.approx(0.761, abs=5e-4)
    assert (found.subjects, found.raters) == (6, 4)


def test_icc_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Simulated readers with known variances: true ICC(A,1) = s / (s + r + e)."""
    rng = np.random.default_rng(0)
    subject, rater, noise = 100.0, 0.0, 9.0
    truth = subject / (subject + rater + noise)
    inside = 0
    for _ in range(400):
        table = rng.normal(0, math.sqrt(subject), (30, 1)) + rng.normal(0, math.sqrt(noise), (30, 2))
        found = icc_a1(table)
        inside += found.low <= truth <= found.high
    assert 0.92 < inside / 400 < 0.98


def test_a_constant_offset_costs_agreement() -> None:
    first = np.linspace(10, 60, 40) + np.random.default_rng(0).normal(0, 0.5, 40)
    same = icc_a1(np.stack([first, np.linspace(10, 60, 40)], axis=1)).value
    shifted = icc_a1(np.stack([first + 10, np.linspace(10, 60, 40)], axis=1)).value
    assert same > 0.99
    assert shifted < 0.9


@given(st.integers(0, 10_000), st.integers(5, 40), st.integers(2, 5))
@settings(deadline=None, max_examples=60)
def test_icc_lies_inside_its_interval_and_ignores_units(seed: int, subjects: int, raters: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(30, 15, (subjects, 1)) + rng.normal(0, 4, (subjects, raters))
    found = icc_a1(table)
    assert found.low <= found.value <= found.high <= 1.0
    other = icc_a1(3.0 * table + 7.0)
    assert other.value == pytest.approx(found.value)
    assert other.low == pytest.approx(found.low)


def test_perfect_and_degenerate_agreement() -> None:
    perfect = icc_a1(np.repeat(np.arange(5.0)[:, None], 3, axis=1))
    assert (perfect.value, perfect.low, perfect.high) == (1.0, 1.0, 1.0)
    assert math.isnan(icc_a1(np.ones((4, 2))).value)
    with pytest.raises(ValueError, match="2 raters"):
        icc_a1(np.ones((4, 1)))
    with pytest.raises(ValueError, match="finite"):
        icc_a1(np.array([[1.0, np.nan], [1.0, 2.0]]))


@given(st.integers(0, 10_000), st.floats(1e-16, 1e-9), st.integers(2, 40))
@settings(deadline=None, max_examples=200)
def test_agreement_to_rounding_is_perfect_agreement(seed: int, spread: float, subjects: int) -> None:
    """Two ways to compute one angle differ in the last digits only."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(5, 70, subjects)
    found = icc_a1(np.stack([first, first * (1 + rng.uniform(-spread, spread, subjects))], axis=1))
    for bound in (found.value, found.low, found.high):
        assert bound == pytest.approx(1.0, abs=1e-6)


def test_equal_subjects_and_a_constant_offset_have_no_agreement() -> None:
    for offset in (1.0, 0.1):
        found = icc_a1(np.stack([np.full(5, 20.1), np.full(5, 20.1 + offset)], axis=1))
        assert found.value == 0.0
        assert math.isnan(found.low)
    assert math.isnan(icc_a1(np.full((5, 3), 0.1) * (1 + 1e-15)).value)


def test_bland_altman_by_hand() -> None:
    first, second = np.array([10.0, 22.0, 31.0, 44.0]), np.array([8.0, 23.0, 30.0, 40.0])
    found = bland_altman(first, second)
    difference = first - second
    assert found.bias == pytest.approx(1.5)
    assert found.sd == pytest.approx(np.std(difference, ddof=1))
    assert found.upper - found.lower == pytest.approx(2 * 1.96 * found.sd)
    assert found.lower_low < found.lower < found.lower_high
    assert found.bias_low < found.bias < found.bias_high
    assert found.count == 4


def test_bland_altman_intervals_cover() -> None:
    rng = np.random.default_rng(0)
    inside = np.zeros(2)
    for _ in range(600):
        found = bland_altman(rng.normal(2.0, 3.0, 40), np.zeros(40))
        inside += (
            found.bias_low <= 2.0 <= found.bias_high,
            found.upper_low <= 2.0 + 1.96 * 3.0 <= found.upper_high,
        )
    assert ((inside / 600 > 0.92) & (inside / 600 < 0.98)).all()


def test_bland_altman_refuses_gaps() -> None:
    with pytest.raises(ValueError, match="finite"):
        bland_altman([1.0, math.nan, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="equal length"):
        bland_altman([1.0], [1.0])
