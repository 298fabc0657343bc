from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from spinecore.metrics import (
    accuracy,
    bootstrap_interval,
    brier_score,
    calibration_error,
    macro_f1,
    mean_interval,
    roc_auc,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60))
def test_the_area_is_scikit_learns_with_ties_too(pairs: list[tuple[bool, int]]) -> None:
    truth, score = [p[0] for p in pairs], [p[1] for p in pairs]
    if len(set(truth)) < 2:
        assert np.isnan(roc_auc(truth, score))
    else:
        assert roc_auc(truth, score) == pytest.approx(sk.roc_auc_score(truth, score), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=50))
def test_accuracy_and_macro_f1_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = [p[0] for p in pairs], [p[1] for p in pairs]
    assert accuracy(truth, predicted) == pytest.approx(sk.accuracy_score(truth, predicted))
    expected = sk.f1_score(truth, predicted, average="macro", zero_division=0)
    assert macro_f1(truth, predicted) == pytest.approx(expected)


def test_brier_is_scikit_learns_and_calibration_finds_a_known_gap() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(50_000)
    truth = rng.random(50_000) < p
    assert brier_score(truth, p) == pytest.approx(sk.brier_score_loss(truth, p))
    assert calibration_error(truth, p) < 0.01
    assert calibration_error(truth, np.clip(p + 0.2, 0, 1)) == pytest.approx(0.18, abs=0.02)
    assert calibration_error([1, 1], [1.0, 1.0]) == 0.0


def test_the_interval_of_five_runs_is_students() -> None:
    values = [0.81, 0.83, 0.80, 0.84, 0.82]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx((0.82, low, high))
    assert np.isnan(mean_interval([0.5]).low)


def test_the_bootstrap_draws_people_not_rows() -> None:
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(40), 50)
    values = np.repeat(rng.standard_normal(40), 50)  # rows of a person say the same
    wide, narrow = bootstrap_interval(values, people), bootstrap_interval(values, np.arange(2000))
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)
    assert wide.low < wide.mean < wide.high
