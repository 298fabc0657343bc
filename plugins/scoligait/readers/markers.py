"""Marker and bone names of motion capture to COCO joints."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import GaitError
from ..joints import INDEX, JOINTS
from ..pose import Walk
from ..space import body_axes, seen_from

Array = NDArray[np.float64]

# Words after the side, most telling first: the first group that has a marker gives the joint (their mean).
BASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "shoulder": (("shoulder", "sho", "acromion", "acr", "ac"), ("arm", "upperarm", "humerus")),
    "elbow": (("elbow", "elb", "elbowlateral", "elbowmedial", "lelb", "melb"), ("forearm", "lowerarm")),
    "wrist": (("wrist", "wri", "wra", "wrb", "wristradius", "wristulna"), ("hand",)),
    "hip": (
        ("hip", "hipjc", "hjc"),
        ("upleg", "upperleg", "thighjoint"),
        ("asis", "asi", "psis", "psi", "gtr"),
    ),
    "knee": (("knee", "kne", "kneelateral", "kneemedial", "kneejc", "kjc"), ("leg", "lowerleg")),
    "ankle": (("ankle", "ank", "anklelateral", "anklemedial", "anklejc", "ajc"), ("foot",), ("heel", "hee")),
    "eye": (("eye",),),
    "ear": (("ear",), ("fhd",)),
}
NOSES = ("nose", "headend", "head", "headtop")


def plain(name: str) -> str:
    """Lower case letters and digits after the last colon: "Bob:L.Knee" -> "lknee"."""
    return re.sub(r"[^a-z0-9]", "", name.rpartition(":")[2].lower().replace("mixamorig", ""))


def _sided(side: str, word: str) -> set[str]:
    return {f"{side}{word}", f"{side[0]}{word}", f"{word}{side}", f"{word}{side[0]}"}


def marker_groups(names: Sequence[str]) -> dict[str, list[int]]:
    """COCO joint -> places in `names` whose mean it is."""
    words = [plain(n) for n in names]
    found: dict[str, list[int]] = {}
    for base, choices in BASES.items():
        for side in ("left", "right"):
            for choice in choices:
                keys = set().union(*(_sided(side, word) for word in choice))
                seen: set[str] = set()
                # A name that is listed twice holds another marker the second time: the first one counts.
                at = [i for i, w in enumerate(words) if w in keys and not (w in seen or seen.add(w))]  # type: ignore[func-returns-value]
                if at:
                    found[f"{side}_{base}"] = at
                    break
    for word in NOSES:
        if word in words:
            found["nose"] = [words.index(word)]
            break
    return found


def walk_in_space(points: Array, names: Sequence[str], rate: float, name: str, subject: str) -> Walk:
    """Markers (T, M, 3) to a walk seen from ahead, with the joints in space kept beside.

    Raises:
        GaitError: no hips, knees or ankles among the names.

    """
    groups = marker_groups(names)
    lacking = [j for j in ("left_hip", "right_hip", "left_ankle", "right_ankle") if j not in groups]
    if lacking:
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise GaitError(
            f"{name}: no marker for {', '.join(lacking)} among {shown}; rename them to COCO names "
            "(left_hip, ...)"
        )
    joints = np.full((len(points), len(JOINTS), 3), np.nan)
    for joint, at in groups.items():
        joints[:, INDEX[joint]] = points[:, at].mean(1)
    seen = np.isfinite(joints[:, [INDEX["left_hip"], INDEX["right_hip"]]]).all((1, 2))
    if not seen.any():
        raise GaitError(f"{name}: left and right hip are never seen together; fill the gaps of these markers")
    first, last = np.flatnonzero(seen)[[0, -1]]
    body = body_axes(joints[first : last + 1], rate, name)
    sure = np.isfinite(body.sum(-1)).astype(np.float64)
    flags = ("joints recorded in space, seen here from ahead",)
    return Walk(seen_from(body), sure, rate, name, subject, world=body, flags=flags)
