"""Polygons to pixels, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def polygon_mask(points: ArrayLike, height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) bool of the pixels whose centre (column + 0.5, row + 0.5) lies inside a polygon (even-odd rule).

    points: (n, 2) x, y; the last is joined to the first. Parts outside the image are cut off.
    """
    corners = np.asarray(points, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1:] != (2,) or not np.isfinite(corners).all():
        raise ValueError(f"a polygon needs finite points of shape (n, 2), got shape {corners.shape}")
    toggles = np.zeros((height, width + 1), dtype=np.int32)
    following = np.roll(corners, -1, axis=0)
    for (x0, y0), (x1, y1) in zip(corners, following, strict=True):
        low, high = min(y0, y1), max(y0, y1)
        first, last = max(0, int(np.ceil(low - 0.5))), min(height, int(np.ceil(high - 0.5)))
        if first >= last:
            continue
        rows = np.arange(first, last)
        crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.intp)
        np.add.at(toggles, (rows, columns), 1)
    return np.asarray(np.cumsum(toggles, axis=1)[:, :width] % 2 == 1)
