"""Stray pieces of discs in a mask, taken for background. The rule is our choice.

Bodies that are seen in part and a canal that winds through the slice come in true pieces of any size; discs
do not.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .column import DISCS, VERTEBRAE

LEAST = 0.20
"""Of the median of the five largest pieces."""
REACH = 1.0
"""Of the square root of that median: further from every vertebra lies no disc."""


def without_specks(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of a mask (H, W) of class indices without pieces of discs that are small beside the others or
    far from every vertebra.
    """
    result = mask.copy()
    labels, count = ndimage.label(mask == DISCS, np.ones((3, 3), dtype=bool))
    if count > 1:
        areas = np.bincount(labels.ravel())
        usual = float(np.median(np.sort(areas[1:])[-5:]))
        wrong = areas < LEAST * usual
        reach = max(1, round(REACH * math.sqrt(usual)))
        boxes = ndimage.find_objects(labels) if (mask == VERTEBRAE).any() else []
        for number, box in enumerate(boxes, 1):
            around = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
            wrong[number] |= not (mask[around] == VERTEBRAE).any()
        result[wrong[labels] & (labels > 0)] = 0
    return result
