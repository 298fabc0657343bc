"""Errors of angles: MAE, circular MAE, SMAPE of the AASCE challenge, share within a tolerance.

A film that could not be measured is NaN among the predictions. `share_within` and `smape_aasce` count it as
the worst there is. The means of errors have no worst value: they refuse NaN, so that a film is left out
knowingly (`measured_pairs`) and the number left out is printed beside the mean.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def measured_pairs(
    prediction: ArrayLike, reference: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Predictions and references of the films that were measured, and the number that was not.

    Rows with any NaN prediction are left out.
    """
    predicted, referenced = _paired(prediction, reference)
    missed = np.isnan(predicted).reshape(len(predicted), -1).any(axis=1)
    return predicted[~missed], referenced[~missed], int(missed.sum())


def mae(prediction: ArrayLike, reference: ArrayLike) -> float:
    """Mean absolute difference in degrees; ValueError for NaN, NaN for no films."""
    return _mean(np.abs(_differences(prediction, reference)))


def bias(prediction: ArrayLike, reference: ArrayLike) -> float:
    """Mean of prediction minus reference in degrees, positive = over-called; ValueError for NaN."""
    return _mean(_differences(prediction, reference))


def cmae(prediction: ArrayLike, reference: ArrayLike) -> float:
    """Circular mean absolute error in degrees: atan2(mean sin d, mean cos d) of absolute differences d.

    Within hundredths of `mae` for errors of the usual size; say which of the two a table holds.
    ValueError for NaN.
    """
    angle = np.radians(np.abs(_differences(prediction, reference)))
    if not angle.size:
        return math.nan
    return math.degrees(math.atan2(float(np.sin(angle).mean()), float(np.cos(angle).mean())))


def share_within(prediction: ArrayLike, reference: ArrayLike, tolerance_deg: float = 5.0) -> float:
    """Percent of all films whose absolute difference is at most the tolerance; NaN (missed) is not within."""
    if not tolerance_deg >= 0:
        raise ValueError(f"tolerance must not be negative, got {tolerance_deg}")
    predicted, referenced = _paired(prediction, reference)
    if not predicted.size:
        return math.nan
    return 100.0 * float(np.mean(np.abs(predicted - referenced) <= tolerance_deg))


def smape_aasce(prediction: ArrayLike, reference: ArrayLike) -> float:
    """SMAPE of the AASCE challenge in percent for (n, 3) angles: mean over films of sum|p - g| / sum(p + g).

    Summed over the three angles of a film before dividing: no factor of 2 and no division per angle, unlike
    other figures of this name. A film whose angles are all zero on both sides scores 0. A film without a
    prediction (NaN) counts as 100 %, the worst value there is.
    """
    predicted, referenced = _paired(prediction, reference)
    if predicted.ndim != 2:
        raise ValueError(f"SMAPE needs (n, angles), got shape {predicted.shape}")
    if (np.nan_to_num(predicted) < 0).any() or (referenced < 0).any():
        raise ValueError("SMAPE is defined for angles of 0 degrees or more")
    missed = np.isnan(predicted.sum(axis=1))
    measured = np.where(missed[:, np.newaxis], 0.0, predicted)
    apart = np.abs(measured - referenced).sum(axis=1)
    together = (measured + referenced).sum(axis=1)
    share = np.divide(apart, together, out=np.zeros_like(apart), where=together > 0)
    return 100.0 * _mean(np.where(missed, 1.0, share))


def _paired(prediction: ArrayLike, reference: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    predicted = np.asarray(prediction, dtype=np.float64)
    referenced = np.asarray(reference, dtype=np.float64)
    if predicted.shape != referenced.shape or predicted.ndim == 0:
        raise ValueError(f"angles differ in shape: {predicted.shape} and {referenced.shape}")
    if not np.isfinite(referenced).all():
        raise ValueError("every reference angle must be finite: leave films without a reference out")
    if np.isinf(predicted).any():
        raise ValueError("predicted angles must be finite, or NaN for a film that was not measured")
    return predicted, referenced


def _differences(prediction: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    predicted, referenced = _paired(prediction, reference)
    missed = int(np.isnan(predicted).sum())
    if missed:
        raise ValueError(
            f"{missed} predicted angles are NaN: leave those films out with measured_pairs "
            "and print their number"
        )
    return predicted - referenced


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan
