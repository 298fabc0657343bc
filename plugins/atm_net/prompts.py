"""Anatomy-aware text prompts (ATPG): one sentence on the whole image, one on every structure.

That prompts come in two views is the paper's; wording, sizes and the rule for use at test time are our
choice. `generic` prompts say nothing of the image at hand. `described` ones are read off a mask: a first
segmentation at test time (`predicted`), the annotation in training and, as an upper bound that is never a
headline, in the study of the benchmarks (`oracle`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .anatomy import STRUCTURES

GLOBAL = "sagittal lumbar mri showing vertebrae and discs in one column with the canal behind"
CLASSES = {
    "vertebrae": "vertebrae are dark blocks in one column between discs before the canal",
    "discs": "discs are thin plates in one column between vertebrae before the canal",
    "canal": "canal is a bright band behind vertebrae and discs",
}
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "many")
_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")
_SIZES = ((0.0, "no"), (0.01, "small"), (0.03, "medium"), (0.08, "large"))
SMALLEST_PART = 2e-4
"""Parts below this share of the image are not counted."""


def generic() -> tuple[str, ...]:
    """The global prompt and one a structure, in the order of `STRUCTURES`; the same for every image."""
    return (GLOBAL, *(CLASSES[name] for name in STRUCTURES))


def described(mask: NDArray[np.integer]) -> tuple[str, ...]:
    """The same with what a mask (H, W) of class indices shows: counts, place and size of every structure."""
    found = [_describe(mask == index) for index in range(1, len(STRUCTURES) + 1)]
    shown = " and ".join(f"{count} {name}" for name, (count, _) in zip(STRUCTURES, found, strict=True))
    details = (
        f"{CLASSES[name]} showing {count} {name} {where}".rstrip()
        for name, (count, where) in zip(STRUCTURES, found, strict=True)
    )
    return (f"{GLOBAL} showing {shown}", *details)


def _describe(structure: NDArray[np.bool_]) -> tuple[str, str]:
    """How many parts in words, and their place and size; the place is empty where there is none."""
    share = float(structure.mean()) if structure.size else 0.0
    labels, _ = ndimage.label(structure)
    areas = np.bincount(labels.ravel())[1:]
    count = int((areas >= SMALLEST_PART * structure.size).sum()) if structure.size else 0
    if not count:
        return _COUNTS[0], ""
    row, column = (
        float(index.mean()) / size for index, size in zip(np.nonzero(structure), structure.shape, strict=True)
    )
    size = next(name for limit, name in reversed(_SIZES) if share >= limit)
    place = f"{_ROWS[min(int(3 * row), 2)]} {_COLUMNS[min(int(3 * column), 2)]}"
    return _COUNTS[min(count, len(_COUNTS) - 1)], f"in the {place} part of {size} size"


def vocabulary() -> tuple[str, ...]:
    """Every word that a prompt can hold, sorted: it is closed."""
    sentences = [GLOBAL, *CLASSES.values(), "showing in the part of size and"]
    words = {word for sentence in sentences for word in sentence.split()}
    return tuple(sorted(words | {*_COUNTS, *_ROWS, *_COLUMNS, *STRUCTURES, *(name for _, name in _SIZES)}))
