"""Pictures for the video branch: skeleton maps drawn from joints, or frames and silhouettes of a
recording.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import GaitError
from .joints import BONES, INDEX, SIDE_OF_BONE
from .kinematics.map import bridge_gaps, torso_length
from .pose import Walk

Array = NDArray[np.float64]

LEFT, RIGHT, TOP, BOTTOM = -1.3, 1.3, -1.75, 2.15
"""What a skeleton map shows, in torso lengths from the pelvis."""
CHANNELS = {"left": 0, "right": 1, "middle": 2}


def picture_places(frames: int, count: int, length: int) -> NDArray[np.intp]:
    """Frames that the `count` pictures of a clip of `length` show, of the `frames` slots of a full clip."""
    slots = ((np.arange(count) + 0.5) * frames / count).astype(np.intp)
    return np.minimum(slots, length - 1)


def skeleton_maps(walk: Walk, frames: int, count: int, height: int, width: int) -> NDArray[np.float32]:
    """(count, 3, height, width) in 0..1: bones of the left side, the right side and the trunk, softly drawn.

    Centred on the pelvis of each frame, in torso lengths of the clip. Pictures of slots past the clip's end
    are black.
    """
    joints = bridge_gaps(walk.joints)
    torso = torso_length(joints)
    pelvis = (joints[:, [INDEX["left_hip"]]] + joints[:, [INDEX["right_hip"]]]) / 2
    at = picture_places(frames, count, len(joints))
    points = ((joints - pelvis) / torso)[at]
    cell = (RIGHT - LEFT) / width, (BOTTOM - TOP) / height
    x = LEFT + (np.arange(width) + 0.5) * cell[0]
    y = TOP + (np.arange(height) + 0.5) * cell[1]
    grid = np.stack(np.meshgrid(x, y), -1).reshape(1, 1, -1, 2)
    a = points[:, [i for i, _ in BONES]][:, :, None]
    b = points[:, [j for _, j in BONES]][:, :, None]
    along = b - a
    share = ((grid - a) * along).sum(-1) / np.maximum(np.square(along).sum(-1), 1e-9)
    nearest = a + np.clip(share, 0, 1)[..., None] * along
    drawn = np.exp(-np.square(grid - nearest).sum(-1) / (2 * (0.8 * cell[1]) ** 2))
    drawn = np.nan_to_num(drawn)
    out = np.zeros((count, 3, height * width), dtype=np.float32)
    for side, channel in CHANNELS.items():
        of = [i for i, s in enumerate(SIDE_OF_BONE) if s == side]
        out[:, channel] = drawn[:, of].max(1)
    out[(np.arange(count) + 0.5) * frames / count >= len(joints)] = 0
    return out.reshape(count, 3, height, width)


def recorded_pictures(walk: Walk, frames: int, count: int, height: int, width: int) -> NDArray[np.float32]:
    """(count, 1, height, width) in 0..1 of the recording's own frames or silhouettes.

    Raises:
        GaitError: a recording without pictures.

    """
    if walk.pictures is None:
        raise GaitError(f"{walk.name}: holds no frames or silhouettes; use skeleton maps, or give a video")
    at = picture_places(frames, count, len(walk.pictures))
    out = np.zeros((count, 1, height, width), dtype=np.float32)
    for i, frame in enumerate(at):
        if (i + 0.5) * frames / count < len(walk.pictures):
            picture = Image.fromarray(walk.pictures[frame]).resize((width, height), Image.Resampling.BILINEAR)
            out[i, 0] = np.asarray(picture)
    return np.clip(out, 0, 1)
