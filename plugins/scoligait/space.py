"""Joints in space: turned to the walker's own axes, and seen from a place ahead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from .errors import GaitError
from .joints import INDEX

Array = NDArray[np.float64]

HEADING_SECONDS = 0.5
"""Spread of the Gaussian that smooths the heading; our choice."""


def body_axes(points: Array, rate: float, name: str) -> Array:
    """(T, 17, 3) in any axes to x = the walker's left, y = up, z = ahead; the origin stays.

    Up is the recorded axis along which the trunk (or the hips) stand above the ankles; left follows the
    line of the hips, smoothed over time, so that a walker who turns is followed.

    Raises:
        GaitError: hips or ankles are never seen, or the hips' line has no direction.

    """
    hips = np.nanmean(_pick(points, "left_hip", "right_hip"), axis=(0, 1))
    ankles = np.nanmean(_pick(points, "left_ankle", "right_ankle"), axis=(0, 1))
    if not (np.isfinite(hips).all() and np.isfinite(ankles).all()):
        raise GaitError(f"{name}: hips and ankles are never both seen; check the names of the markers")
    axis = int(np.argmax(np.abs(hips - ankles)))
    sign = float(np.sign(hips[axis] - ankles[axis]))
    # An even permutation and a matching sign keep left left.
    turned = np.roll(points, 1 - axis, axis=-1)
    if sign < 0:
        turned = turned * [1.0, -1.0, -1.0]
    line = turned[:, INDEX["left_hip"]] - turned[:, INDEX["right_hip"]]
    flat = line[:, [0, 2]]
    seen = np.isfinite(flat).all(1)
    if not seen.any():
        raise GaitError(f"{name}: left and right hip are never seen together")
    frames = np.arange(len(flat))
    flat = np.stack([np.interp(frames, frames[seen], flat[seen, d]) for d in range(2)], 1)
    flat = gaussian_filter1d(flat, HEADING_SECONDS * rate, axis=0, mode="nearest")
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    if not (length > 0).all():
        raise GaitError(f"{name}: the line of the hips has no direction; check which marker is left")
    cosine, sine = (flat / length).T
    x, z = turned[..., 0], turned[..., 2]
    across = x * cosine[:, None] + z * sine[:, None]
    # left x up = ahead in these axes: (x, y, z) = (left, up, ahead) is a right-handed system.
    ahead = -x * sine[:, None] + z * cosine[:, None]
    return np.stack([across, turned[..., 1], ahead], -1)


def seen_from(body: Array, azimuth_deg: float = 0.0) -> Array:
    """Parallel projection (T, 17, 2), y down, from `azimuth_deg` round the walker: 0 ahead, 90 the left side.

    A camera ahead of the walker has the walker's left on the image's right.
    """
    turn = np.radians(azimuth_deg)
    return np.stack([body[..., 0] * np.cos(turn) - body[..., 2] * np.sin(turn), -body[..., 1]], -1)


def _pick(points: Array, *names: str) -> Array:
    return points[:, [INDEX[n] for n in names]]
