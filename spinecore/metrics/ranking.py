"""Figures of classifiers: area under the ROC curve, accuracy, macro F1, Brier score, calibration error,
intervals.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


def roc_auc(truth: ArrayLike, score: ArrayLike) -> float:
    """Chance that a positive scores above a negative, ties half; NaN when one of them is missing.

    Args:
        truth: (N,) true or false.
        score: (N,), higher = more likely true.

    Source: Hanley and McNeil 1982 (the Mann-Whitney form).

    """
    positive = np.asarray(truth, dtype=bool)
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return float("nan")
    ranks = stats.rankdata(np.asarray(score, dtype=np.float64))
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of equal labels."""
    return float(np.mean(np.asarray(truth) == np.asarray(predicted)))


def macro_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean over the labels of truth and prediction of 2 TP / (2 TP + FP + FN)."""
    t, p = np.asarray(truth), np.asarray(predicted)
    scores = [2 * np.sum((t == c) & (p == c)) / (np.sum(t == c) + np.sum(p == c)) for c in np.union1d(t, p)]
    return float(np.mean(scores))


def brier_score(truth: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared distance of the probability of "true" from 1 or 0."""
    return float(
        np.mean((np.asarray(probability, dtype=np.float64) - np.asarray(truth, dtype=np.float64)) ** 2)
    )


def calibration_error(truth: ArrayLike, probability: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: mean distance of probability from frequency over equally wide bins.

    Source: Guo et al. 2017, for the probability of "true".
    """
    p, t = np.asarray(probability, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    place = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(float(p[place == b].sum() - t[place == b].sum())) for b in range(bins)]
    return sum(gaps) / max(len(p), 1)


class Estimate(NamedTuple):
    """A mean with a 95 % interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: ArrayLike) -> Estimate:
    """Mean of repeated runs with Student's 95 % interval; one run has no interval (NaN)."""
    x = np.asarray(values, dtype=np.float64)
    centre = float(x.mean())
    if len(x) < 2:
        return Estimate(centre, float("nan"), float("nan"))
    half = float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Estimate(centre, centre - half, centre + half)


def bootstrap_interval(
    values: ArrayLike, groups: ArrayLike, *, repeats: int = 500, seed: int = 0
) -> Estimate:
    """Mean with the percentile interval of a bootstrap that draws whole groups (people), not rows."""
    x = np.asarray(values, dtype=np.float64)
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums: NDArray[np.float64] = np.bincount(place, x).astype(np.float64)
    sizes = np.bincount(place)
    draws = np.random.default_rng(seed).integers(0, len(sums), (repeats, len(sums)))
    means = sums[draws].sum(1) / sizes[draws].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(x.mean()), float(low), float(high))
