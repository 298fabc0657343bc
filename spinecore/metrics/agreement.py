"""Agreement of readers or methods on the same films: ICC(A,1) and Bland-Altman."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Differences below this share of the largest rating are rounding errors of their means, not disagreement."""


@dataclass(frozen=True)
class Icc:
    """ICC(A,1) with the bounds of its confidence interval; subjects and raters it rests on."""

    value: float
    low: float
    high: float
    subjects: int
    raters: int


@dataclass(frozen=True)
class BlandAltman:
    """Bias and 95 % limits of agreement of (first - second), each with a 95 % confidence interval."""

    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    lower_low: float
    lower_high: float
    upper: float
    upper_low: float
    upper_high: float
    count: int


def icc_a1(ratings: ArrayLike, confidence: float = 0.95) -> Icc:
    """ICC(A,1) of (subjects, raters): two-way, absolute agreement, single rater.

    Source: McGraw and Wong 1996, tables 4 and 7 (F-based interval). Needs at least 2 subjects and 2 raters,
    no gaps; the interval is an approximation and of no use below about five subjects. Differences as small
    as the rounding of the ratings count as none: without any at all the ratio is 0 / 0 and everything is NaN;
    with none between the raters the value and its interval are 1; with none between the subjects, and a
    constant one between the raters, the value is 0 and its interval NaN.
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"ICC needs finite ratings of at least 2 subjects x 2 raters, got {table.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    n, k = table.shape
    grand, by_row, by_column = table.mean(), table.mean(axis=1), table.mean(axis=0)
    noise = ROUNDING * float(np.abs(table).max())
    by_row_only, by_column_only = by_row - grand, by_column - grand
    left_over = table - by_row[:, None] - by_column[None, :] + grand
    rows = k * _squares(by_row_only, noise) / (n - 1)
    columns = n * _squares(by_column_only, noise) / (k - 1)
    error = _squares(left_over, noise) / ((n - 1) * (k - 1))
    if error == 0 and columns == 0:
        same = 1.0 if rows > 0 else math.nan
        return Icc(same, same, same, n, k)
    if error == 0 and rows == 0:
        return Icc(0.0, math.nan, math.nan, n, k)
    alike, unlike = rows - error, k * ((n - 1) * error + columns) / n  # value = alike / (alike + unlike)
    value = alike / (alike + unlike)
    a = k * alike / (n * unlike)
    b = 1 + k * alike * (n - 1) / (n * unlike)
    freedom = (a * columns + b * error) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    tail = 1 - (1 - confidence) / 2
    f_low = float(stats.f.ppf(tail, n - 1, freedom))
    f_high = float(stats.f.ppf(tail, freedom, n - 1))
    other = k * columns + (k * n - k - n) * error
    low = n * (rows - f_low * error) / (f_low * other + n * rows)
    high = n * (f_high * rows - error) / (other + n * f_high * rows)
    return Icc(value, low, high, n, k)


def _squares(values: NDArray[np.float64], noise: float) -> float:
    """Sum of squares; 0 when no value stands out of the rounding noise."""
    return float((values**2).sum()) if float(np.abs(values).max()) > noise else 0.0


def bland_altman(first: ArrayLike, second: ArrayLike) -> BlandAltman:
    """Bias and limits of agreement (+- 1.96 SD) of two series of measurements of the same films.

    Intervals: t-based, the limits' with standard error sqrt(SD^2 / n + 1.96^2 SD^2 / (2 (n - 1)))
    (Bland and Altman 1999). Needs at least two finite pairs.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 1 or len(one) < 2:
        raise ValueError(f"Bland-Altman needs two series of equal length >= 2, got {one.shape}, {two.shape}")
    difference = one - two
    if not np.isfinite(difference).all():
        raise ValueError("Bland-Altman needs finite pairs: count the missing ones and leave them out")
    n = len(difference)
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf(0.975, n - 1))
    of_bias = t * sd / math.sqrt(n)
    of_limit = t * sd * math.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    lower, upper = bias - 1.96 * sd, bias + 1.96 * sd
    return BlandAltman(
        bias=bias,
        bias_low=bias - of_bias,
        bias_high=bias + of_bias,
        sd=sd,
        lower=lower,
        lower_low=lower - of_limit,
        lower_high=lower + of_limit,
        upper=upper,
        upper_low=upper - of_limit,
        upper_high=upper + of_limit,
        count=n,
    )
