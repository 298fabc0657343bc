"""Clinical-prior text: phrases from how a walk's features lie against a reference, and from nothing else.

After the paper, text is made from kinematic priors; which features, the reference and the limit of one
standard deviation follow the authors' later prompt report; the side words and sentences are our choice. The
reference comes from training subjects only, and no function here takes a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ..errors import GaitError
from ..joints import INDEX
from ..kinematics.map import bridge_gaps, torso_length
from ..pose import Walk

Array = NDArray[np.float64]

LIMIT = 1.0
SMOOTH_FRAMES = 8
MOST = 12
NOTHING = "no feature outside the reference"


class Measure(NamedTuple):
    """A number of a walk. `sided`: its sign is a side, so that the reference is mirrored about 0."""

    name: str
    unit: str
    words: str
    sided: bool


MEASURES = (
    Measure("trunk_lean", "deg", "trunk lean", True),
    Measure("trunk_shift", "torso", "lateral shift of the trunk", True),
    Measure("shoulder_tilt", "deg", "shoulder tilt", True),
    Measure("hip_tilt", "deg", "hip tilt", True),
    Measure("head_shift", "torso", "lateral shift of the head", True),
    Measure("arm_swing_difference", "%", "difference of the arm swings", True),
    Measure("elbow_difference", "deg", "difference of the elbow angles", True),
    Measure("knee_difference", "deg", "difference of the knee angles", True),
    Measure("trunk_sway", "deg", "side-to-side sway of the trunk", False),
    Measure("shoulder_width", "torso", "width of the shoulders", False),
    Measure("hip_width", "torso", "width of the hips", False),
    Measure("step_width", "torso", "step width", False),
    Measure("arm_swing", "torso", "arm swing", False),
)
PLACE = {m.name: i for i, m in enumerate(MEASURES)}


def measures(walk: Walk) -> Array:
    """(13,) numbers of a walk seen from ahead, in the order of `MEASURES`; NaN where joints are missing.

    Positive leans, shifts and tilts are to the walker's left, positive differences larger on the left.
    """
    p = bridge_gaps(np.where(walk.confidence[..., None] >= 0.3, walk.joints, np.nan))
    p = p / running_torso(p)[:, None, None]
    at = {name: p[:, i] for name, i in INDEX.items()}
    shoulders, hips = at["left_shoulder"] - at["right_shoulder"], at["left_hip"] - at["right_hip"]
    pelvis = (at["left_hip"] + at["right_hip"]) / 2
    neck = (at["left_shoulder"] + at["right_shoulder"]) / 2
    trunk = neck - pelvis
    left = np.sign(np.nanmedian(shoulders[:, 0]))  # +1 seen from ahead, -1 from behind
    lean = np.degrees(np.arctan2(trunk[:, 0], -trunk[:, 1])) * left
    # Tilt: positive when the left end is lower on the picture (y grows downwards).
    tilts = [np.degrees(np.arctan2(v[:, 1], np.abs(v[:, 0]))) for v in (shoulders, hips)]
    swings = [_swing(at[f"{s}_wrist"] - at[f"{s}_shoulder"]) for s in ("left", "right")]
    elbows = [_inner(at[f"{s}_shoulder"], at[f"{s}_elbow"], at[f"{s}_wrist"]) for s in ("left", "right")]
    knees = [_inner(at[f"{s}_hip"], at[f"{s}_knee"], at[f"{s}_ankle"]) for s in ("left", "right")]
    both = (swings[0] + swings[1]) / 2
    ankles = np.abs(at["left_ankle"][:, 0] - at["right_ankle"][:, 0])
    found = {
        "trunk_lean": _mean(lean),
        "trunk_shift": _mean(trunk[:, 0] * left),
        "shoulder_tilt": _mean(tilts[0]),
        "hip_tilt": _mean(tilts[1]),
        "head_shift": _mean((at["nose"] - pelvis)[:, 0] * left),
        "arm_swing_difference": 100 * (swings[0] - swings[1]) / both if both > 0 else float("nan"),
        "elbow_difference": _mean(elbows[0]) - _mean(elbows[1]),
        "knee_difference": _mean(knees[0]) - _mean(knees[1]),
        "trunk_sway": _spread(lean),
        "shoulder_width": _mean(np.abs(shoulders[:, 0])),
        "hip_width": _mean(np.abs(hips[:, 0])),
        "step_width": _mean(ankles),
        "arm_swing": both,
    }
    return np.array([found[m.name] for m in MEASURES])


def running_torso(p: Array) -> Array:
    """(T,) torso length of each frame, smoothed, so that a walker who comes nearer is one size."""
    middle = torso_length(p)
    pelvis = (p[:, INDEX["left_hip"]] + p[:, INDEX["right_hip"]]) / 2
    neck = (p[:, INDEX["left_shoulder"]] + p[:, INDEX["right_shoulder"]]) / 2
    lengths = np.linalg.norm(neck - pelvis, axis=1)
    seen = np.flatnonzero(np.isfinite(lengths) & (lengths > 0.2 * middle))
    lengths = np.interp(np.arange(len(p)), seen, lengths[seen])
    return np.asarray(gaussian_filter1d(lengths, SMOOTH_FRAMES, mode="nearest"))


def _mean(x: Array) -> float:
    seen = x[np.isfinite(x)]
    return float(seen.mean()) if len(seen) >= 8 else float("nan")


def _spread(x: Array) -> float:
    seen = x[np.isfinite(x)]
    return float(seen.std()) if len(seen) >= 8 else float("nan")


def _swing(arm: Array) -> float:
    """Range of the wrist about its shoulder over the clip, 5th to 95th percentile, along its main
    direction.
    """
    seen: Array = arm[np.isfinite(arm).all(1)]
    if len(seen) < 8:
        return float("nan")
    seen = seen - seen.mean(0)
    direction = np.linalg.svd(seen, full_matrices=False)[2][0]
    low, high = np.percentile(seen @ direction, [5, 95])
    return float(high - low)


def _inner(a: Array, b: Array, c: Array) -> Array:
    u, v = a - b, c - b
    cosine = (u * v).sum(1) / np.maximum(np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1), 1e-12)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@dataclass(frozen=True)
class Reference:
    """Mean and spread of each measure among reference walks; sided measures have mean 0."""

    mean: Array
    spread: Array
    subjects: int

    def z(self, values: Array) -> Array:
        """How many spreads from the reference."""
        return np.asarray((values - self.mean) / self.spread)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "subjects": self.subjects,
            "measures": {
                m.name: [float(a), float(b)] for m, a, b in zip(MEASURES, self.mean, self.spread, strict=True)
            },
        }

    @staticmethod
    def from_dict(record: dict[str, Any]) -> Reference:
        """The same again.

        Raises:
            GaitError: another set of measures.

        """
        names = [m.name for m in MEASURES]
        found = record.get("measures", {})
        if sorted(found) != sorted(names):
            raise GaitError("the reference beside the weights is of another version; train them again")
        values = np.array([found[n] for n in names], dtype=np.float64)
        return Reference(values[:, 0], values[:, 1], int(record["subjects"]))


def fit_reference(values: Array, subject: Sequence[int] | NDArray[np.integer[Any]]) -> Reference:
    """Reference of (N, 13) measures of training clips: every subject counts once.

    Raises:
        GaitError: fewer than three subjects.

    """
    who = np.asarray(subject)
    people = np.unique(who)
    if len(people) < 3:
        raise GaitError(f"{len(people)} reference subjects; three at least give a spread")
    rows = np.stack([_nan_mean(values[who == s]) for s in people])
    sided = np.array([m.sided for m in MEASURES])
    rows = np.where(sided, np.abs(rows), rows)
    mean = np.where(sided, 0.0, _nan_mean(rows))
    seen = np.isfinite(rows)
    square = np.where(seen, np.square(rows - mean), 0.0).sum(0) / np.maximum(seen.sum(0), 1)
    spread = np.sqrt(square)
    return Reference(mean, np.where(spread > 1e-9, spread, 1.0), len(people))


def _nan_mean(rows: Array) -> Array:
    seen = np.isfinite(rows)
    count = seen.sum(0)
    return np.asarray(np.where(count > 0, np.where(seen, rows, 0.0).sum(0) / np.maximum(count, 1), np.nan))


class Finding(NamedTuple):
    """A phrase, the measure it speaks of, its value and z."""

    phrase: str
    measure: Measure
    value: float
    z: float


def findings(values: Array, reference: Reference, limit: float = LIMIT, most: int = MOST) -> list[Finding]:
    """Phrases for measures more than `limit` spreads from the reference, the farthest first."""
    z = reference.z(values)
    order = [i for i in np.argsort(-np.abs(np.nan_to_num(z))) if np.isfinite(z[i]) and abs(z[i]) > limit]
    found = []
    for i in order[:most]:
        m = MEASURES[i]
        if m.sided:
            where = (
                ("to the left" if z[i] > 0 else "to the right")
                if "difference" not in m.name
                else ("larger on the left" if z[i] > 0 else "larger on the right")
            )
            phrase = f"{_degree(z[i])} {m.words}, {where}"
        else:
            phrase = f"{_degree(z[i])} {'increased' if z[i] > 0 else 'reduced'} {m.words}"
        found.append(Finding(phrase, m, float(values[i]), float(z[i])))
    return found


def _degree(z: float) -> str:
    return "strong" if abs(z) > 3 else "clear" if abs(z) > 2 else "slight"


def sentence(found: Sequence[Finding]) -> str:
    """The text of a clip."""
    return "; ".join(f.phrase for f in found) if found else NOTHING
