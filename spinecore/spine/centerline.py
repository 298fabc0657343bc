"""The middle line of a spine, from vertebral centres or from a binary mask, and the Cobb of its tangents."""

from __future__ import annotations

import numpy as np

from spinecore.spine.vertebrae import FloatArray

CENTER_STIFFNESS = 0.5
"""Weight of squared second differences against squared distances when smoothing centres (our choice)."""


def whittaker(
    values: FloatArray, stiffness: float, order: int = 2, weight: FloatArray | None = None
) -> FloatArray:
    """Smooth (n, k) equally spaced values: argmin sum weight (z - values)^2 + stiffness |D^order z|^2.

    weight: (n,), default ones; values of weight zero are replaced by the smooth continuation.
    Source: Whittaker 1923, Eilers 2003. Needs more than ``order`` values; shorter input returns unchanged.
    """
    count = len(values)
    if count <= order:
        return values.copy()
    difference = np.diff(np.eye(count), n=order, axis=0)
    trust = np.ones(count) if weight is None else weight
    system = np.diag(trust) + stiffness * difference.T @ difference
    return np.asarray(np.linalg.solve(system, trust[:, None] * values), dtype=np.float64)


def slopes(points: FloatArray) -> FloatArray:
    """(n, k) equally spaced points, n >= 2 -> derivatives (n, k), second order also at both ends if n > 2."""
    if len(points) == 2:
        return np.repeat(points[1:] - points[:1], 2, axis=0)
    inner = (points[2:] - points[:-2]) / 2
    first = (-3 * points[:1] + 4 * points[1:2] - points[2:3]) / 2
    last = (3 * points[-1:] - 4 * points[-2:-1] + points[-3:-2]) / 2
    return np.concatenate([first, inner, last])


def smooth_centers(centers: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, 2) centres, top to bottom -> smoothed centres (n, 2) and unit tangents (n, 2) running down.

    Both coordinates are smoothed along the vertebral count, which follows the spine whatever its tilt. A
    single centre gets a vertical tangent.
    """
    if len(centers) < 2:
        return centers.copy(), np.tile(np.array([0.0, 1.0]), (len(centers), 1))
    points = whittaker(centers, CENTER_STIFFNESS)
    step = slopes(points)
    return points, step / np.linalg.norm(step, axis=1, keepdims=True)
