"""The slices of SPIDER (van der Graaf 2024) as PNG: `images/P_t2_SPACE_sliceNN.png` of patient P, masks of
the same names in `masks/`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .anatomy import SPIDER_SLICES
from .errors import SliceError

VALIDATION_SHARE = 0.26
"""Of the patients: 8 of 31, in the order of a hash of their number."""


@dataclass(frozen=True)
class Slices:
    """Grey slices and masks of class indices, uint8, and whose they are."""

    names: tuple[str, ...]
    patients: tuple[str, ...]
    images: tuple[NDArray[np.uint8], ...]
    masks: tuple[NDArray[np.uint8], ...]

    def of(self, patients: Sequence[str]) -> list[int]:
        """Numbers of the slices of some patients."""
        return [i for i, patient in enumerate(self.patients) if patient in patients]


def read_grey(path: Path) -> NDArray[np.uint8]:
    """A grey picture of 8 bits, (H, W)."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"), dtype=np.uint8)
    except FileNotFoundError:
        raise SliceError(f"{path}: is missing; masks are named like their images") from None
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as e:
        raise SliceError(f"{path}: not a readable picture ({e}); copy it again or leave it out") from e


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Class indices (H, W) of a mask picture."""
    values = read_grey(path)
    table = np.full(256, 255, np.uint8)
    for value, index in SPIDER_SLICES.items():
        table[value] = index
    mask = table[values]
    if (mask == 255).any():
        odd = sorted({int(v) for v in values[mask == 255]})
        known = ", ".join(str(v) for v in SPIDER_SLICES)
        raise SliceError(f"{path}: holds grey values {odd[:5]}; a mask has only {known}")
    return mask


def load_slices(folder: Path) -> Slices:
    """All slices of a folder with images/ and masks/."""
    paths = sorted((folder / "images").glob("*.png"))
    if not paths:
        raise SliceError(f"{folder / 'images'}: no PNG slices there; give a folder with images/ and masks/")
    images, masks = [], []
    for path in paths:
        image, mask = read_grey(path), read_mask(folder / "masks" / path.name)
        if image.shape != mask.shape:
            raise SliceError(f"{path}: is {image.shape}, its mask {mask.shape}; both must have one size")
        images.append(image)
        masks.append(mask)
    names = tuple(path.stem for path in paths)
    return Slices(names, tuple(name.split("_")[0] for name in names), tuple(images), tuple(masks))


def split_patients(patients: Sequence[str], share: float = VALIDATION_SHARE) -> tuple[list[str], list[str]]:
    """Training and validation patients, in the order of a hash of their names."""
    distinct = sorted(set(patients), key=lambda name: hashlib.sha256(f"spider {name}".encode()).hexdigest())
    held = round(share * len(distinct))
    if not 0 < held < len(distinct):
        raise SliceError(f"{len(distinct)} patients cannot be split; at least 2 to 4 are needed")
    return distinct[held:], distinct[:held]
