"""Stray pieces of discs in a mask, taken for background. The rule is our choice.

Bodies that are seen in part and a canal that winds through the slice come in true pieces of any size; discs
do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .column import DISCS

LEAST = 0.20
"""Of the median of the five largest pieces."""


def without_specks(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of a mask (H, W) of class indices without pieces of discs that are small beside the others."""
    result = mask.copy()
    labels, count = ndimage.label(mask == DISCS, np.ones((3, 3), dtype=bool))
    if count > 1:
        areas = np.bincount(labels.ravel())
        small = areas < LEAST * float(np.median(np.sort(areas[1:])[-5:]))
        result[small[labels] & (labels > 0)] = 0
    return result
