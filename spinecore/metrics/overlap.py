"""Overlap of two binary masks: Dice and IoU, with a policy for empty masks that forgives nothing.

Policy: both empty -> `BOTH_EMPTY` (the case has nothing to find and is left out of means, but counted);
one of them empty, or no overlap at all -> 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BOTH_EMPTY = math.nan
"""Value of an overlap when neither mask holds a pixel: not a score. `mean_overlap` counts such cases."""


@dataclass(frozen=True)
class OverlapMean:
    """mean over ``scored`` cases (NaN when there is none); ``both_empty`` cases had nothing to find."""

    mean: float
    scored: int
    both_empty: int


def dice(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|) of two bool masks of equal shape, in 0..1, or `BOTH_EMPTY`."""
    both, predicted, referenced = _counts(prediction, reference)
    total = predicted + referenced
    return BOTH_EMPTY if total == 0 else 2 * both / total


def iou(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """|A and B| / |A or B| of two bool masks of equal shape, in 0..1, or `BOTH_EMPTY`."""
    both, predicted, referenced = _counts(prediction, reference)
    union = predicted + referenced - both
    return BOTH_EMPTY if union == 0 else both / union


def mean_overlap(values: Iterable[float]) -> OverlapMean:
    """Mean of per-case values; cases with both masks empty are counted apart, missed ones count as 0."""
    array = np.array(list(values), dtype=np.float64)
    empty = np.isnan(array)
    scored = array[~empty]
    mean = float(scored.mean()) if len(scored) else math.nan
    return OverlapMean(mean, len(scored), int(empty.sum()))


def check_masks(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> None:
    """Raise ValueError unless both are bool arrays of one shape."""
    if prediction.dtype != np.bool_ or reference.dtype != np.bool_:
        raise ValueError(f"masks must be bool, got {prediction.dtype} and {reference.dtype}: threshold them")
    if prediction.shape != reference.shape:
        raise ValueError(f"masks differ in shape: {prediction.shape} and {reference.shape}")


def _counts(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> tuple[int, int, int]:
    check_masks(prediction, reference)
    both = int(np.count_nonzero(prediction & reference))
    return both, int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
