"""Steps of a walk: cadence and how alike the steps of both sides are."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, filtfilt, find_peaks

from .errors import GaitError
from .joints import INDEX
from .kinematics.map import bridge_gaps
from .pose import Walk

Array = NDArray[np.float64]

CUT_OFF_HZ = 5.0
SHORTEST_STRIDE_S = 0.6
PROMINENCE = 0.08
"""Of the range, below which a maximum is no contact; low, so that one near the end counts. Our choice."""
EDGE_SLOPE = 0.15
"""Of the steepest: how flat the distance of the feet is at a contact; our choice."""


class Steps(NamedTuple):
    """Steps of a walk; NaN where the recording does not hold them.

    Attributes:
        cadence: steps a minute.
        left_s, right_s: mean duration of the steps that end on that foot.
        left_length, right_length: how far that foot is ahead when it lands, in the recording's unit.
        contacts: times in s of left and right contacts.

    """

    cadence: float
    left_s: float
    right_s: float
    left_length: float
    right_length: float
    contacts: tuple[Array, Array]

    @property
    def time_symmetry(self) -> float:
        """left_s / right_s."""
        return self.left_s / self.right_s

    @property
    def length_symmetry(self) -> float:
        """left_length / right_length."""
        return self.left_length / self.right_length


def steps(walk: Walk) -> Steps:
    """Foot contacts where a foot is farthest ahead of the pelvis (Zeni et al. 2008).

    In space along the walking direction. On an image of a camera ahead, where that cannot be seen, where a
    foot is lowest below the other: the nearer foot is the lower one. One contact of each foot is the least.
    The reading of an image, the low pass of 5 Hz and the limits of a contact are our choice.

    Raises:
        GaitError: too few contacts.

    """
    left, right = INDEX["left_ankle"], INDEX["right_ankle"]
    if walk.world is not None:
        points = bridge_gaps(walk.world, int(0.4 * walk.rate))[..., 2]
        pelvis = (points[:, INDEX["left_hip"]] + points[:, INDEX["right_hip"]]) / 2
        signals = np.stack([points[:, left] - pelvis, points[:, right] - pelvis], 1)
    else:
        points = bridge_gaps(walk.joints, int(0.4 * walk.rate))[..., 1]
        signals = np.stack([points[:, left] - points[:, right], points[:, right] - points[:, left]], 1)
    seen = np.flatnonzero(np.isfinite(signals).all(1))
    if len(seen) < SHORTEST_STRIDE_S * walk.rate:
        raise GaitError(f"{walk.name}: both ankles are seen in {len(seen)} frames; steps need a whole stride")
    frames = np.arange(seen[0], seen[-1] + 1)
    signals = np.stack([np.interp(frames, seen, signals[seen, d]) for d in range(2)], 1)
    if walk.rate > 2 * CUT_OFF_HZ and len(signals) > 18:
        low_pass = butter(4, CUT_OFF_HZ / (walk.rate / 2))
        signals = filtfilt(*low_pass, signals, axis=0, padlen=min(15, len(signals) - 1))
    apart = signals[:, 0] - signals[:, 1] if walk.world is not None else signals[:, 0]
    distance = max(1, int(SHORTEST_STRIDE_S * walk.rate))
    peaks = tuple(_peaks(signals[:, d], distance) for d in range(2))
    order = sorted((int(t), side) for side in (0, 1) for t in peaks[side])
    lengths: tuple[list[float], list[float]] = ([], [])
    for (before, a), (after, b) in itertools.pairwise(order):
        if a != b:
            lengths[b].append((after - before) / walk.rate)
    if not (lengths[0] or lengths[1]):
        raise GaitError(
            f"{walk.name}: {len(peaks[0])} left and {len(peaks[1])} right foot contacts in "
            f"{walk.seconds:.1f} s; a contact of each foot is needed"
        )
    left_s, right_s = (float(np.mean(part)) if part else float("nan") for part in lengths)
    ahead = tuple(float(np.mean(np.abs(apart[at]))) if len(at) else float("nan") for at in peaks)
    contacts = (peaks[0] + seen[0]) / walk.rate, (peaks[1] + seen[0]) / walk.rate
    return Steps(60.0 / float(np.nanmean([left_s, right_s])), left_s, right_s, ahead[0], ahead[1], contacts)


def _peaks(signal: Array, distance: int) -> NDArray[np.intp]:
    """Maxima; also the last or first frame, where a recording was cut at a contact: high, and flat there."""
    found = find_peaks(signal, distance=distance, prominence=PROMINENCE * float(np.ptp(signal)))[0]
    steep = float(np.abs(np.diff(signal)).max())
    top = 0.7 * float(np.abs(signal).max())
    slopes = signal[1] - signal[0], signal[-1] - signal[-2]
    edges = [
        at
        for at, slope in ((0, -slopes[0]), (len(signal) - 1, slopes[1]))
        if abs(slope) < EDGE_SLOPE * steep and signal[at] > top and (np.abs(found - at) > distance / 2).all()
    ]
    return np.sort(np.concatenate([found, np.array(edges, dtype=np.intp)]))
