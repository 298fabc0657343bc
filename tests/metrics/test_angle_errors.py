from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error

from spinecore.metrics import bias, cmae, mae, measured_pairs, share_within, smape_aasce


@given(st.lists(st.tuples(st.floats(0, 120), st.floats(0, 120)), min_size=1, max_size=40))
@settings(deadline=None, max_examples=80)
def test_means_agree_with_scikit_learn_and_with_each_other(pairs: list[tuple[float, float]]) -> None:
    predicted, referenced = np.array(pairs).T
    assert mae(predicted, referenced) == pytest.approx(mean_absolute_error(referenced, predicted))
    assert abs(bias(predicted, referenced)) <= mae(predicted, referenced) + 1e-9
    assert bias(predicted, referenced) == pytest.approx(-bias(referenced, predicted))


def test_circular_mean_is_close_for_usual_errors_and_bounded_for_wild_ones() -> None:
    rng = np.random.default_rng(0)
    referenced = rng.uniform(10, 60, 4000)
    predicted = referenced + rng.normal(0, 5, 4000)
    assert cmae(predicted, referenced) == pytest.approx(mae(predicted, referenced), abs=0.02)
    assert cmae([10.0], [30.0]) == pytest.approx(20.0)


def test_smape_is_summed_before_it_is_divided() -> None:
    predicted = np.array([[44.0, 10.0, 0.0], [20.0, 0.0, 5.0]])
    referenced = np.array([[40.0, 14.0, 2.0], [20.0, 0.0, 5.0]])
    assert smape_aasce(predicted, referenced) == pytest.approx(100 * (10 / 110 + 0) / 2)
    per_element = 200 * np.mean(np.abs(predicted - referenced) / np.maximum(predicted + referenced, 1e-9))
    assert abs(smape_aasce(predicted, referenced) - per_element) > 10  # what libraries call SMAPE


def test_smape_of_the_constant_predictor_on_the_real_set_is_the_published_one() -> None:
    """Toy check of the baseline: predicting the mean is far from 0 and far from 100."""
    rng = np.random.default_rng(1)
    referenced = np.abs(rng.normal([35, 20, 15], [15, 12, 12], size=(200, 3)))
    constant = np.broadcast_to(referenced.mean(axis=0), referenced.shape)
    assert 15 < smape_aasce(constant, referenced) < 40


def test_flat_films_do_not_divide_by_zero() -> None:
    assert smape_aasce(np.zeros((1, 3)), np.zeros((1, 3))) == 0.0


def test_missed_films_are_counted_as_the_worst_or_refused() -> None:
    predicted = np.array([[30.0, 10.0, 5.0], [np.nan, np.nan, np.nan]])
    referenced = np.array([[30.0, 10.0, 5.0], [50.0, 20.0, 10.0]])
    assert smape_aasce(predicted, referenced) == pytest.approx(50.0)
    assert share_within(predicted[:, 0], referenced[:, 0]) == pytest.approx(50.0)
    for error in (mae, bias, cmae):
        with pytest.raises(ValueError, match="1 predicted angles are NaN"):
            error(predicted[:, 0], referenced[:, 0])
    kept, truth, missed = measured_pairs(predicted, referenced)
    assert missed == 1
    assert mae(kept, truth) == 0.0


def test_the_tolerance_belongs_to_the_inside() -> None:
    assert share_within([5.0, 5.1, -5.0, 0.0], [0.0, 0.0, 0.0, 0.0]) == pytest.approx(75.0)


def test_no_films_give_nan_and_bad_input_a_reason() -> None:
    assert math.isnan(mae([], []))
    assert math.isnan(cmae([], []))
    assert math.isnan(share_within([], []))
    with pytest.raises(ValueError, match="shape"):
        mae([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="reference"):
        mae([1.0], [math.nan])
    with pytest.raises(ValueError, match="finite"):
        mae([math.inf], [1.0])
    with pytest.raises(ValueError, match="0 degrees or more"):
        smape_aasce([[-1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match=r"\(n, angles\)"):
        smape_aasce([1.0], [1.0])
