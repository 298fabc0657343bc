"""The map of a walk: (T, 17, 2) joints in, (T, 238) features out, all frames at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from ..errors import GaitError
from ..joints import INDEX, JOINTS
from .layout import ANGLES, CENTRES, CORRELATED, PAIRS, POINTS, VECTORS

Array = NDArray[np.float64]

MINIMUM_CONFIDENCE = 0.3
LONGEST_GAP = 12
"""Frames (0.4 s at 30 Hz) that are bridged by a straight line; our choice."""
CORRELATED_SHARE = 0.5
"""A correlation needs both joints in this share of the frames; our choice."""
TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
"""Joints whose mid-points are the ends of the torso."""

_PLACE = {name: i for i, name in enumerate(POINTS)}
_FROM = np.array([_PLACE[a] for a, _ in VECTORS])
_TO = np.array([_PLACE[b] for _, b in VECTORS])
_RAYS = np.array([[[_PLACE[a], _PLACE[b]] for a, b in (u, v)] for u, v, _ in ANGLES])
_CORRELATED = np.array([INDEX[name] for name in CORRELATED])
_FIRST = np.array([CORRELATED.index(a) for a, _ in PAIRS])
_SECOND = np.array([CORRELATED.index(b) for _, b in PAIRS])


class KnowledgeMap(NamedTuple):
    """`values` (T, 238), NaN where a joint was missing; `torso` the unit of length in the input's own."""

    values: Array
    torso: float


def bridge_gaps(joints: Array, longest: int = LONGEST_GAP) -> Array:
    """Joints (T, 17, D) with NaN runs of up to `longest` frames between seen frames on straight lines."""
    out = joints.copy()
    frames = np.arange(len(joints))
    for j in range(joints.shape[1]):
        seen = np.isfinite(joints[:, j]).all(-1)
        if seen.all() or seen.sum() < 2:
            continue
        at = frames[seen]
        after = np.searchsorted(at, frames)
        inside = (after > 0) & (after < len(at)) & ~seen
        short = np.zeros(len(joints), dtype=bool)
        short[inside] = at[after[inside]] - at[after[inside] - 1] - 1 <= longest
        for d in range(joints.shape[2]):
            out[short, j, d] = np.interp(frames[short], at, joints[seen, j, d])
    return out


def torso_length(joints: Array) -> float:
    """Median distance of the mid-points of shoulders and hips over the clip, in the input's unit."""
    pelvis, shoulders = (
        (joints[:, INDEX[a]] + joints[:, INDEX[b]]) / 2
        for a, b in (CENTRES["pelvis"], CENTRES["shoulder_centre"])
    )
    lengths = np.linalg.norm(shoulders - pelvis, axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    length = float(np.median(lengths)) if len(lengths) else float("nan")
    if not length > 0:
        lost = [n for n in TRUNK if not np.isfinite(joints[:, INDEX[n]]).all(-1).any()]
        if lost:
            are = "is" if len(lost) == 1 else "are"
            raise GaitError(
                f"{', '.join(lost)} {are} not in any of {len(joints)} frames; the map needs both shoulders "
                "and both hips: film or export them, and name markers so"
            )
        apart = f" and their distance is {length:g}" if len(lengths) else ""
        raise GaitError(
            f"shoulders and hips are seen together in {len(lengths)} of {len(joints)} frames{apart}; "
            "a walk needs the whole trunk in view"
        )
    return length


def knowledge_map(
    joints: ArrayLike,
    confidence: ArrayLike | None = None,
    *,
    minimum_confidence: float = MINIMUM_CONFIDENCE,
    longest_gap: int = LONGEST_GAP,
) -> KnowledgeMap:
    """The 238 features of every frame, in the order of `COLUMNS`.

    Coordinates and displacements are in torso lengths (median over the clip), coordinates from the pelvis of
    the same frame; angles in degrees in (-180, 180]; correlation row t holds lag t - T // 2 frames of the
    mean-removed distances from the pelvis, in percent of the root of the product of their energies.

    Args:
        joints: (T, 17, 2), COCO order, y down; NaN is a missing joint.
        confidence: (T, 17) in 0..1; below `minimum_confidence` a joint is missing.
        minimum_confidence: see above.
        longest_gap: frames a gap may have to be bridged.

    Raises:
        GaitError: another shape, fewer than 8 frames, or a trunk that is never seen.

    Source: arXiv 2602.06743 names the groups; scale, centre, mean removal and treatment of missing joints are
    our choice.

    """
    points = np.asarray(joints, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (len(JOINTS), 2) or len(points) < 8:
        raise GaitError(f"joints have shape {points.shape}; give (frames, 17, 2) with at least 8 frames")
    points = np.where(np.isfinite(points).all(-1, keepdims=True), points, np.nan)
    if confidence is not None:
        sure = np.asarray(confidence, dtype=np.float64)
        if sure.shape != points.shape[:2]:
            raise GaitError(f"confidence has shape {sure.shape}; the joints ask for {points.shape[:2]}")
        points[~(sure >= minimum_confidence)] = np.nan
    points = bridge_gaps(points, longest_gap)
    torso = torso_length(points)
    centres = [(points[:, INDEX[a]] + points[:, INDEX[b]]) / 2 for a, b in CENTRES.values()]
    all_points = np.concatenate([points, np.stack(centres, 1)], 1)
    all_points = (all_points - all_points[:, [_PLACE["pelvis"]]]) / torso
    frames = len(points)
    moved = all_points[:, _TO] - all_points[:, _FROM]
    values = [
        all_points[:, : len(JOINTS)].reshape(frames, -1),
        moved.reshape(frames, -1),
        _angles(all_points),
        _correlations(np.linalg.norm(all_points[:, _CORRELATED], axis=-1)),
    ]
    return KnowledgeMap(np.concatenate(values, 1), torso)


def _angles(points: Array) -> Array:
    rays = points[:, _RAYS[:, :, 1]] - points[:, _RAYS[:, :, 0]]
    a, b = rays[:, :, 0], rays[:, :, 1]
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    found = np.degrees(np.arctan2(cross, (a * b).sum(-1)))
    return np.where(found <= -180.0, 180.0, found)


def _correlations(signals: Array) -> Array:
    """(T, 12) -> (T, 66): row t is the correlation at lag t - T // 2; missing frames count as the mean."""
    frames = len(signals)
    seen = np.isfinite(signals)
    count = seen.sum(0)
    mean = np.where(seen, signals, 0.0).sum(0) / np.maximum(count, 1)
    x = np.where(seen, signals - mean, 0.0)
    energy = np.square(x).sum(0)
    size = fft.next_fast_len(2 * frames, real=True)
    spectra = fft.rfft(x, size, axis=0)
    full = fft.irfft(spectra[:, _FIRST] * spectra[:, _SECOND].conj(), size, axis=0)
    lags = np.arange(frames) - frames // 2
    scale = np.sqrt(energy[_FIRST] * energy[_SECOND])
    still = energy <= 1e-20 * np.maximum(frames * np.square(mean), 1e-300)
    flat = still[_FIRST] | still[_SECOND]
    found = np.where(flat, 0.0, 100.0 * full[lags] / np.where(flat, 1.0, scale))
    known = count >= CORRELATED_SHARE * frames
    return np.where(known[_FIRST] & known[_SECOND], found, np.nan)
