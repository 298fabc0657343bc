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
    """Foot contacts where a foot is farthest ahead of the other (Zeni et al. 2008).

    In space along the walking direction; on an image of a camera ahead by the ankles' height on the image:
    the nearer foot is the lower one. One contact of each foot is the least.

    Raises:
        GaitError: too few contacts.

    """
    left, right = INDEX["left_ankle"], INDEX["right_ankle"]
    if walk.world is not None:
        points = bridge_gaps(walk.world, int(0.4 * walk.rate))
        apart = points[:, left, 2] - points[:, right, 2]
    else:
        points = bridge_gaps(walk.joints, int(0.4 * walk.rate))
        apart = points[:, left, 1] - points[:, right, 1]
    seen = np.flatnonzero(np.isfinite(apart))
    if len(seen) < SHORTEST_STRIDE_S * walk.rate:
        raise GaitError(f"{walk.name}: both ankles are seen in {len(seen)} frames; steps need a whole stride")
    apart = np.interp(np.arange(seen[0], seen[-1] + 1), seen, apart[seen])
    if walk.rate > 2 * CUT_OFF_HZ and len(apart) > 18:
        apart = filtfilt(*butter(4, CUT_OFF_HZ / (walk.rate / 2)), apart, padlen=min(15, len(apart) - 1))
    prominence = 0.25 * float(np.ptp(apart))
    distance = max(1, int(SHORTEST_STRIDE_S * walk.rate))
    peaks = tuple(_peaks(sign * apart, distance, prominence) for sign in (1.0, -1.0))
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
    seconds = [float(np.mean(part)) if part else float("nan") for part in lengths]
    ahead = [float(np.mean(np.abs(apart[at]))) if len(at) else float("nan") for at in peaks]
    contacts = (peaks[0] + seen[0]) / walk.rate, (peaks[1] + seen[0]) / walk.rate
    return Steps(60.0 / float(np.nanmean(seconds)), *seconds, *ahead, contacts)


def _peaks(signal: Array, distance: int, prominence: float) -> NDArray[np.intp]:
    """Maxima; also the last or first frame, where the recording was cut at a contact: high, and flat
    there.
    """
    found = find_peaks(signal, distance=distance, prominence=prominence)[0]
    steep = float(np.abs(np.diff(signal)).max())
    top = 0.7 * float(np.abs(signal).max())
    slopes = signal[1] - signal[0], signal[-1] - signal[-2]
    edges = [
        at
        for at, slope in ((0, -slopes[0]), (len(signal) - 1, slopes[1]))
        if abs(slope) < EDGE_SLOPE * steep and signal[at] > top and (np.abs(found - at) > distance / 2).all()
    ]
    return np.sort(np.concatenate([found, np.array(edges, dtype=np.intp)]))
