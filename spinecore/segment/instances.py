"""Masks of single vertebrae and discs, numbered as in SPIDER's volumes (van der Graaf 2024)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinecore.spine.lumbar.column import CANAL, DISCS, VERTEBRAE, Part
from spinecore.spine.lumbar.levels import UPWARDS
from spinecore.spine.lumbar.measures import LumbarReading

CANAL_LABEL, FIRST_DISC, POSTERIOR = 100, 201, 50
"""Vertebral bodies are 1 (L5) upwards, discs 201 (L5/S1) upwards. 50 is our addition: posterior elements and
whatever else of the vertebrae belongs to no body that was found.
"""


def instance_masks(masks: NDArray[np.uint8], measured: int, reading: LumbarReading) -> NDArray[np.uint8]:
    """Numbers of instances (S, H, W) for class indices (S, H, W) whose slice `measured` was read.

    Other slices take the number of the nearest pixel of the same structure in the measured one (our choice:
    levels hardly move from slice to slice). Levels must be known.
    """
    shape = masks.shape[1:]
    numbers = {VERTEBRAE: np.zeros(shape, np.uint8), DISCS: np.zeros(shape, np.uint8)}
    for parts, names, kind, first in (
        (reading.column.bodies, reading.levels.bodies, VERTEBRAE, 1),
        (reading.column.discs, [name.partition("/")[0] for name in reading.levels.discs], DISCS, FIRST_DISC),
    ):
        for part, name in zip(parts, names, strict=False):
            if part is not None and name:
                _draw(numbers[kind], part, first + UPWARDS.index(name))
    # The rest of the vertebrae stays apart from the bodies, and attracts its like in other slices.
    rest = (masks[measured] == VERTEBRAE) & (numbers[VERTEBRAE] == 0)
    numbers[VERTEBRAE][rest] = POSTERIOR
    result = np.zeros_like(masks)
    result[masks == CANAL] = CANAL_LABEL
    for kind, drawn in numbers.items():
        if not drawn.any():
            continue
        _, (rows, columns) = ndimage.distance_transform_edt(drawn == 0, return_indices=True)
        nearest = drawn[rows, columns]
        for mask, target in zip(masks, result, strict=True):
            inside = mask == kind
            target[inside] = nearest[inside]
    return result


def _draw(into: NDArray[np.uint8], part: Part, number: int) -> None:
    into[tuple(part.pixels.T)] = number
