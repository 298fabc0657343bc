"""Curves of a spine known only as a binary mask: Cobb angles between tangents of its middle line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spinecore.spine.centerline import slopes, whittaker
from spinecore.spine.curves import Curve, cobb_matrix_deg, convexity_of, severity_of
from spinecore.spine.segments import curve_segments
from spinecore.spine.vertebrae import FloatArray

STATIONS = 120
"""Places along the spine at which the middle is taken; makes the smoothing independent of the resolution."""

STIFFNESS = 150.0
"""Whittaker weight at `STATIONS`: halves waves of a fifth of the spine, keeps 98 % of those of half of it.

As stiff as analytic sinusoids within 1 degree allow. The outlines of seventeen separately drawn bodies are
rougher than that: on those the angle comes out about 5 degrees larger than between their mid-lines.
"""

MINIMUM_ROWS = 20
"""Fewer rows of mask have no direction worth a number."""

END_WIDTH = 0.85
"""End rows narrower than this share of the column near them belong to the slanted end and are left out."""

MINOR_SPAN = round(3 / 17 * STATIONS)
"""A minor curve spans at least three vertebral heights of the seventeen."""


def measure_centerline(mask: NDArray[np.bool_], confidence: float = 1.0) -> list[Curve]:
    """Curves of definition centerline_tangent from a (H, W) bool mask, major first, in its own pixels.

    A mask has no levels: the level names and the region are "", alternatives are empty. The mask must have
    the film's own geometry. Raises ValueError for an empty mask or one too small to have a direction.

    Source: middle of each row, smoothed, curves between the inflections; the smoothing (Whittaker with second
    differences, which ends without curvature) is our choice.
    """
    points, tangents, widths = mask_centerline(mask)
    across = np.stack([tangents[:, 1], -tangents[:, 0]], axis=1) * widths[:, None] / 2
    lines = np.stack([points - across, points + across], axis=1)
    angles = cobb_matrix_deg(lines, lines)
    curves = []
    for upper, lower in curve_segments(angles, MINOR_SPAN):
        cobb = float(abs(angles[upper, lower]))
        curves.append(
            Curve(
                definition="centerline_tangent",
                cobb_deg=cobb,
                upper_level="",
                lower_level="",
                apex_level="",
                convexity=convexity_of(0.0, float(angles[upper, lower])),
                severity=severity_of(cobb),
                region="",
                confidence=confidence,
                upper_line=lines[upper],
                lower_line=lines[lower],
            )
        )
    return curves


def mask_centerline(mask: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Smoothed middle line: points (n, 2), unit tangents running down (n, 2), widths (n,), in pixels."""
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"mask must be a 2-D bool array, got {mask.dtype} with shape {mask.shape}")
    rows, left, right = _main_runs(mask)
    if len(rows) < MINIMUM_ROWS:
        raise ValueError(f"mask holds a column of {len(rows)} rows: too small or empty to measure a spine")
    kept = _without_slanted_ends(right - left)
    rows, left, right = rows[kept], left[kept], right[kept]
    points, widths = _resample(np.stack([(left + right) / 2, rows + 0.5], axis=1), right - left)
    points = whittaker(points, STIFFNESS)
    step = slopes(points)
    return points, step / np.linalg.norm(step, axis=1, keepdims=True), widths


def _main_runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Row numbers and the left and right border of the column: longest run of each row, largest chain.

    Chains are rows whose runs overlap; holes of up to 2 % of the image height are bridged, and blobs beside
    the column are left out.
    """
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    row, start = np.nonzero(change == 1)
    _, stop = np.nonzero(change == -1)
    order = np.lexsort((start - stop, row))
    rows, first = np.unique(row[order], return_index=True)
    left, right = start[order][first], stop[order][first]
    if not len(rows):
        return rows, left.astype(np.float64), right.astype(np.float64)
    bridge = max(1, mask.shape[0] // 50)
    overlap = np.minimum(right[1:], right[:-1]) > np.maximum(left[1:], left[:-1])
    apart = (np.diff(rows) > bridge) | ~overlap
    chain = np.concatenate([[0], np.cumsum(apart)])
    area = np.bincount(chain, weights=(right - left).astype(np.float64))
    kept = chain == area.argmax()
    return rows[kept], left[kept].astype(np.float64), right[kept].astype(np.float64)


def _without_slanted_ends(width: FloatArray) -> slice:
    """Rows left when those of both ends are dropped whose middle is shifted by a slanted end of the column.

    At most a tenth of the rows at each end.
    """
    tenth = max(1, len(width) // 10)
    tops = np.flatnonzero(width[:tenth] < END_WIDTH * np.median(width[: 2 * tenth]))
    bottoms = np.flatnonzero(width[::-1][:tenth] < END_WIDTH * np.median(width[-2 * tenth :]))
    return slice(int(tops.max(initial=-1)) + 1, len(width) - int(bottoms.max(initial=-1)) - 1)


def _resample(points: FloatArray, widths: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average the points within `STATIONS` equal bins of rows, so that border noise averages out."""
    depth = points[:, 1]
    at = np.linspace(depth[0], depth[-1], STATIONS)
    half = (at[1] - at[0]) / 2
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(np.stack([points[:, 0], widths], axis=1), axis=0)])
    low = np.minimum(np.searchsorted(depth, at - half), len(depth) - 1)
    high = np.maximum(np.searchsorted(depth, at + half), low + 1)
    mean = (total[high] - total[low]) / (high - low)[:, None]
    mean_depth = np.array([depth[a:b].mean() for a, b in zip(low, high, strict=True)])
    return np.stack([mean[:, 0], mean_depth], axis=1), mean[:, 1]
