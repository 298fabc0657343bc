"""BVH: a hierarchy of joints with offsets and channels, and one line of channel values a frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..errors import GaitError
from ..pose import Walk
from .markers import walk_in_space

Array = NDArray[np.float64]


@dataclass
class _Joint:
    name: str
    parent: int
    offset: Array = field(default_factory=lambda: np.zeros(3))
    channels: tuple[str, ...] = ()


def read_bvh(path: Path, subject: str) -> Walk:
    """Joint positions by forward kinematics."""
    try:
        words = path.read_text(encoding="utf-8", errors="replace").split()
    except OSError as e:
        raise GaitError(f"{path}: cannot be read: {e.strerror}") from e
    if not words or words[0].upper() != "HIERARCHY":
        raise GaitError(f"{path}: not a BVH file (it must begin with HIERARCHY)")
    try:
        joints, at = _hierarchy(words)
        rate, values = _motion(words, at, sum(len(j.channels) for j in joints), path)
        points = _positions(joints, values)
    except (IndexError, KeyError, ValueError) as e:
        raise GaitError(f"{path}: broken BVH ({e}); export it again") from e
    return walk_in_space(points, [j.name for j in joints], rate, path.stem, subject)


def _hierarchy(words: list[str]) -> tuple[list[_Joint], int]:
    joints: list[_Joint] = []
    stack: list[int] = []
    at = 1
    while words[at].upper() != "MOTION":
        word = words[at].upper()
        if word in ("ROOT", "JOINT"):
            joints.append(_Joint(words[at + 1], stack[-1] if stack else -1))
            at += 2
        elif word == "END":  # "End Site"
            joints.append(_Joint(f"{joints[stack[-1]].name}_end", stack[-1]))
            at += 2
        elif word == "{":
            stack.append(len(joints) - 1)
            at += 1
        elif word == "}":
            stack.pop()
            at += 1
        elif word == "OFFSET":
            joints[stack[-1]].offset = np.array([float(w) for w in words[at + 1 : at + 4]])
            at += 4
        elif word == "CHANNELS":
            count = int(words[at + 1])
            joints[stack[-1]].channels = tuple(w.lower() for w in words[at + 2 : at + 2 + count])
            at += 2 + count
        else:
            raise ValueError(f"unexpected word {words[at]!r}")
    return joints, at + 1


def _motion(words: list[str], at: int, width: int, path: Path) -> tuple[float, Array]:
    if words[at].lower() != "frames:" or words[at + 2].lower() != "frame":
        raise ValueError(
            f"expected 'Frames: N Frame Time: s' after MOTION, found {' '.join(words[at : at + 5])}"
        )
    count, seconds = int(words[at + 1]), float(words[at + 4])
    if not seconds > 0:
        raise ValueError(f"frame time is {seconds}")
    values = np.array([float(w) for w in words[at + 5 :]])
    if len(values) != count * width:
        raise ValueError(
            f"{path.name} promises {count} frames of {width} values and holds {len(values)} values"
        )
    return 1.0 / seconds, values.reshape(count, width)


def _positions(joints: list[_Joint], values: Array) -> Array:
    frames = len(values)
    places = np.zeros((frames, len(joints), 3))
    turns: list[Rotation] = []
    column = 0
    for j, joint in enumerate(joints):
        own = {c: values[:, column + i] for i, c in enumerate(joint.channels)}
        column += len(joint.channels)
        moved = np.stack([own.get(f"{axis}position", np.zeros(frames)) for axis in "xyz"], 1)
        offset = joint.offset + moved
        axes = "".join(c[0].upper() for c in joint.channels if c.endswith("rotation"))
        turn = Rotation.identity(frames)
        if axes:
            angles = np.stack([own[f"{axis.lower()}rotation"] for axis in axes], 1)
            turn = Rotation.from_euler(axes, angles, degrees=True)
        if joint.parent < 0:
            places[:, j] = offset
            turns.append(turn)
        else:
            above = turns[joint.parent]
            places[:, j] = places[:, joint.parent] + above.apply(offset)
            turns.append(above * turn)
    return places
