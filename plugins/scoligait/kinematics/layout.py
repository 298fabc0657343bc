"""What the 238 columns of the map are, from first principles: names, units, definitions, mirror images.

The four groups and their sizes (34 coordinates, 106 displacements, 32 angles, 66 correlations) are those
of the
paper; which points and pairs they hold was reconstructed from the authors' later code, and where that was
ambiguous (the four elbow-hip-knee angles) it is our choice.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from ..joints import JOINTS, mirrored

CENTRES = {
    "pelvis": ("left_hip", "right_hip"),
    "shoulder_centre": ("left_shoulder", "right_shoulder"),
    "eye_centre": ("left_eye", "right_eye"),
}
POINTS = (*JOINTS, *CENTRES)
"""Joints, then the three midpoints."""

SIDES = ("left", "right")
LIMB_JOINTS = ("wrist", "elbow", "shoulder", "hip", "knee", "ankle")
CORRELATED = tuple(f"{side}_{joint}" for joint in LIMB_JOINTS for side in SIDES)
"""The 12 joints whose distances from the pelvis are correlated; kind by kind, so that a mirrored pair
keeps its order unless it is the two sides of one joint."""

SEGMENTS: dict[str, tuple[str, str]] = {
    f"{side}_{name}": (f"{side}_{a}", f"{side}_{b}")
    for name, a, b in (
        ("upper_arm", "shoulder", "elbow"),
        ("trunk_side", "shoulder", "hip"),
        ("thigh", "hip", "knee"),
        ("shank", "knee", "ankle"),
    )
    for side in SIDES
}


class Column(NamedTuple):
    """One column. `group` is coordinate, displacement, angle or correlation; `unit` torso, deg or %."""

    name: str
    group: str
    unit: str


def _vectors() -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = [("pelvis", "shoulder_centre")]
    found += [("nose", f"{side}_{joint}") for joint in ("shoulder", "hip") for side in SIDES]
    found += [
        (f"{a}_elbow", f"{b}_{joint}")
        for a in SIDES
        for joint in ("shoulder", "hip", "knee", "ankle")
        for b in SIDES
    ]
    found += [
        (f"{a}_shoulder", f"{b}_{joint}") for a in SIDES for joint in ("hip", "knee", "ankle") for b in SIDES
    ]
    found += [(f"{a}_hip", f"{b}_{joint}") for a in SIDES for joint in ("knee", "ankle") for b in SIDES]
    found += [(f"left_{joint}", f"right_{joint}") for joint in LIMB_JOINTS]
    found += [
        (centre, f"{side}_{joint}")
        for centre, joint in (("pelvis", "ankle"), ("pelvis", "shoulder"), ("eye_centre", "shoulder"))
        for side in SIDES
    ]
    return tuple(found)


VECTORS = _vectors()
"""53 displacements from the first point to the second."""


def _angles() -> tuple[tuple[tuple[str, str], tuple[str, str], str], ...]:
    lines = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
    found = [(*lines, "angle shoulder_line to hip_line")]
    for a, b in combinations(SEGMENTS, 2):
        if (a, b) != ("left_shank", "right_shank"):
            found.append((SEGMENTS[a], SEGMENTS[b], f"angle {a} to {b}"))
    for hip in SIDES:
        for elbow in SIDES:
            rays = ((f"{hip}_hip", f"{elbow}_elbow"), (f"{hip}_hip", f"{hip}_knee"))
            found.append((*rays, f"angle at {hip}_hip from {elbow}_elbow to {hip}_knee"))
    return tuple(found)


ANGLES = _angles()
"""32 signed angles from the first ray to the second, positive clockwise on the image (y points down)."""

PAIRS = tuple(combinations(CORRELATED, 2))

COLUMNS: tuple[Column, ...] = (
    *(Column(f"{joint} {axis}", "coordinate", "torso") for joint in JOINTS for axis in "xy"),
    *(Column(f"{a} to {b} {axis}", "displacement", "torso") for a, b in VECTORS for axis in "xy"),
    *(Column(name, "angle", "deg") for _, _, name in ANGLES),
    *(Column(f"correlation {a} with {b}", "correlation", "%") for a, b in PAIRS),
)
FEATURES = len(COLUMNS)
GROUPS = {
    group: np.array([c.group == group for c in COLUMNS]) for group in dict.fromkeys(c.group for c in COLUMNS)
}


class MirrorRule(NamedTuple):
    """How a column of the mirrored walk follows from the walk: `sign` x column `source`, `flipped` in lag."""

    source: np.ndarray[tuple[int], np.dtype[np.intp]]
    sign: np.ndarray[tuple[int], np.dtype[np.float64]]
    flipped: np.ndarray[tuple[int], np.dtype[np.bool_]]


def _mirror_rule() -> MirrorRule:
    place = {c.name: i for i, c in enumerate(COLUMNS)}
    source, sign, flipped = [], [], []

    def add(name: str, factor: float = 1.0, reverse: bool = False) -> None:
        source.append(place[name])
        sign.append(factor)
        flipped.append(reverse)

    for joint in JOINTS:
        add(f"{mirrored(joint)} x", -1.0)
        add(f"{mirrored(joint)} y")
    for a, b in VECTORS:
        p, q = mirrored(a), mirrored(b)
        turn = 1.0 if (p, q) in VECTORS else -1.0
        begin, end = (p, q) if turn > 0 else (q, p)
        add(f"{begin} to {end} x", -turn)
        add(f"{begin} to {end} y", turn)
    by_rays = {(u, v): name for u, v, name in ANGLES}
    for u, v, name in ANGLES:
        first, second = (mirrored(u[0]), mirrored(u[1])), (mirrored(v[0]), mirrored(v[1]))
        if u[0].endswith("shoulder") and u[1].endswith("shoulder"):
            add(name, -1.0)  # both lines turn round, which changes no angle between them
        elif (first, second) in by_rays:
            add(by_rays[first, second], -1.0)
        else:
            add(by_rays[second, first], 1.0)
    for a, b in PAIRS:
        p, q = mirrored(a), mirrored(b)
        reverse = (p, q) not in PAIRS
        add(f"correlation {q} with {p}" if reverse else f"correlation {p} with {q}", 1.0, reverse)
    return MirrorRule(np.array(source), np.array(sign), np.array(flipped))


MIRROR_RULE = _mirror_rule()
