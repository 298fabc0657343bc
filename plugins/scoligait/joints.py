"""The 17 COCO joints, their mirror images and the bones between them."""

from __future__ import annotations

JOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""COCO keypoint order (Lin et al. 2014)."""

INDEX = {name: i for i, name in enumerate(JOINTS)}


def mirrored(name: str) -> str:
    """The same name on the other side: "left_hip" -> "right_hip"; a name without a side stays."""
    if name.startswith("left_"):
        return "right_" + name[5:]
    if name.startswith("right_"):
        return "left_" + name[6:]
    return name


MIRROR = tuple(INDEX[mirrored(name)] for name in JOINTS)

BONES = tuple(
    (INDEX[a], INDEX[b])
    for a, b in (
        ("left_shoulder", "right_shoulder"),
        ("left_hip", "right_hip"),
        ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"),
        ("left_shoulder", "left_elbow"),
        ("left_elbow", "left_wrist"),
        ("right_shoulder", "right_elbow"),
        ("right_elbow", "right_wrist"),
        ("left_hip", "left_knee"),
        ("left_knee", "left_ankle"),
        ("right_hip", "right_knee"),
        ("right_knee", "right_ankle"),
    )
)
SIDE_OF_BONE = (
    "middle",
    "middle",
    *(["left", "right"] * 1),
    *["left"] * 2,
    *["right"] * 2,
    *["left"] * 2,
    *["right"] * 2,
)
"""Whose side each of `BONES` is, for drawing."""
