"""Figures of masks against annotations: Dice and HD95 by structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinecore.metrics import dice, hd95, mean_overlap

from .anatomy import STRUCTURES

Mask = NDArray[np.uint8]


def figures(found: Sequence[Mask], truth: Sequence[Mask], distances: bool = False) -> dict[str, float]:
    """Mean over slices of Dice by structure, and their mean; with `distances` also HD95 in pixels.

    A structure that neither mask shows is no case; one that only one of them shows counts as 0, and as the
    diagonal of the slice.
    """
    result: dict[str, float] = {}
    for index, name in enumerate(STRUCTURES, 1):
        pairs = [(a == index, b == index) for a, b in zip(found, truth, strict=True)]
        result[f"dice_{name}"] = mean_overlap([dice(a, b) for a, b in pairs]).mean
        if distances:
            cases = np.array([hd95(a, b) for a, b in pairs])
            result[f"hd95_{name}"] = float(np.nanmean(cases)) if np.isfinite(cases).any() else float("nan")
    result["dice"] = float(np.mean([result[f"dice_{name}"] for name in STRUCTURES]))
    return result
