"""Other bodies, places and speeds for a walk in space, so that a network learns the gait and not the
person.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .errors import GaitError
from .joints import INDEX, mirrored
from .pose import Walk
from .space import seen_from

Array = NDArray[np.float64]

_TREE = (
    ("left_hip", "pelvis", "pelvis"),
    ("left_knee", "left_hip", "thigh"),
    ("left_ankle", "left_knee", "shank"),
    ("left_shoulder", "pelvis", "trunk"),
    ("left_elbow", "left_shoulder", "upper arm"),
    ("left_wrist", "left_elbow", "forearm"),
    ("nose", "neck", "head"),
    ("left_eye", "neck", "head"),
    ("left_ear", "neck", "head"),
)
"""Joint, what it hangs on, and whose length it shares; the right side is alike."""
PARTS = tuple(dict.fromkeys(part for _, _, part in _TREE))


def other_body(world: Array, scales: dict[str, float]) -> Array:
    """(T, 17, 3) with the same turns of all bones and other lengths, the same on both sides."""
    centre = (world[:, INDEX["left_hip"]] + world[:, INDEX["right_hip"]]) / 2
    neck = (world[:, INDEX["left_shoulder"]] + world[:, INDEX["right_shoulder"]]) / 2
    old = {"pelvis": centre, "neck": neck}
    new = {"pelvis": centre, "neck": centre + scales["trunk"] * (neck - centre)}
    out = world.copy()
    for joint, parent, part in _TREE:
        pairs = {(joint, parent)} | {(mirrored(joint), mirrored(parent))}
        for child, above in sorted(pairs):
            old[child] = world[:, INDEX[child]]
            new[child] = new[above] + scales[part] * (old[child] - old[above])
            out[:, INDEX[child]] = new[child]
    return out


def varied(
    walk: Walk, draw: np.random.Generator, azimuth_deg: tuple[float, float], lengths: float = 0.15
) -> Walk:
    """The walk by another body (bones +-`lengths`), from another side, faster or slower by up to a fifth.

    Raises:
        GaitError: a walk that was not recorded in space.

    """
    if walk.world is None:
        raise GaitError(f"{walk.name}: holds no joints in space, which another body needs")
    scales = {part: float(draw.uniform(1 - lengths, 1 + lengths)) for part in PARTS}
    world = other_body(walk.world, scales)
    torso = np.nanmedian(
        np.linalg.norm(world[:, INDEX["left_shoulder"]] - world[:, INDEX["left_hip"]], axis=-1)
    )
    world = world + draw.normal(0, 0.02 * torso, (1, *world.shape[1:]))  # where markers sit
    rate = walk.rate * float(draw.uniform(0.85, 1.2))
    return replace(walk, joints=seen_from(world, float(draw.uniform(*azimuth_deg))), world=world, rate=rate)
