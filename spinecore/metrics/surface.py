"""Distances between the borders of two binary masks: HD95 and ASSD, with a policy for empty masks.

Policy: both empty -> NaN (nothing to measure, left out of means but counted); one of them empty -> the
diagonal of the image, and `is_missed` says so for the count. A missed structure is never zero, never dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinecore.metrics.overlap import check_masks


@dataclass(frozen=True)
class SurfaceMean:
    """mean over ``scored`` cases, the ``missed`` among them counted with the image diagonal."""

    mean: float
    scored: int
    missed: int
    both_empty: int


def border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask with a background pixel (or the end of the image) among their axis neighbours."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask), dtype=np.bool_)


def border_distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances from each border pixel of one mask to the nearest of the other, both directions.

    spacing: size of a pixel along each axis (rows first); default 1, distances in pixels.
    """
    check_masks(prediction, reference)
    size = _spacing(prediction, spacing)
    ours, theirs = border(prediction), border(reference)
    to_theirs = ndimage.distance_transform_edt(~theirs, sampling=size)
    to_ours = ndimage.distance_transform_edt(~ours, sampling=size)
    return np.asarray(to_theirs[ours], dtype=np.float64), np.asarray(to_ours[theirs], dtype=np.float64)


def hd95(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing: Sequence[float] | None = None,
    percentile: float = 95.0,
) -> float:
    """Larger of the two directed 95th percentiles of border distances (not the percentile of both pooled)."""
    absent = _absent(prediction, reference, spacing)
    if absent is not None:
        return absent
    forth, back = border_distances(prediction, reference, spacing)
    return float(max(np.percentile(forth, percentile), np.percentile(back, percentile)))


def assd(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float] | None = None
) -> float:
    """Average symmetric surface distance: mean over the border pixels of both masks together."""
    absent = _absent(prediction, reference, spacing)
    if absent is not None:
        return absent
    forth, back = border_distances(prediction, reference, spacing)
    return float((forth.sum() + back.sum()) / (len(forth) + len(back)))


def is_missed(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> bool:
    """Whether exactly one of the masks is empty: then `hd95` and `assd` stand for an absence."""
    check_masks(prediction, reference)
    return bool(prediction.any()) != bool(reference.any())


def mean_surface(values: Iterable[float], missed: Iterable[bool]) -> SurfaceMean:
    """Mean of per-case distances; missed cases are part of it and counted, NaN ones are counted apart."""
    cases, flags = np.array(list(values), dtype=np.float64), np.array(list(missed), dtype=bool)
    if len(cases) != len(flags):
        raise ValueError(f"{len(cases)} distances need as many flags, got {len(flags)}")
    empty = np.isnan(cases)
    scored = cases[~empty]
    mean = float(scored.mean()) if len(scored) else math.nan
    return SurfaceMean(mean, len(scored), int(flags[~empty].sum()), int(empty.sum()))


def _absent(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float] | None
) -> float | None:
    check_masks(prediction, reference)
    size = _spacing(prediction, spacing)
    found, wanted = bool(prediction.any()), bool(reference.any())
    if found and wanted:
        return None
    if not found and not wanted:
        return math.nan
    return math.hypot(*(n * step for n, step in zip(prediction.shape, size, strict=True)))


def _spacing(mask: NDArray[np.bool_], spacing: Sequence[float] | None) -> tuple[float, ...]:
    size = (1.0,) * mask.ndim if spacing is None else tuple(float(step) for step in spacing)
    if len(size) != mask.ndim or not all(step > 0 and math.isfinite(step) for step in size):
        raise ValueError(f"spacing needs {mask.ndim} positive numbers, got {size}")
    return size
