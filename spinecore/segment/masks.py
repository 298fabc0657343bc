"""Masks of a run as files: pictures for pictures, NIfTI in the source's geometry for volumes."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spinecore.io.atomic import write_atomic
from spinecore.io.volume import Volume, write_mask_volume
from spinecore.report.theme import STRUCTURE_COLOURS

PICTURE, VOLUME = ".png", ".nii.gz"


def suffix_for(volume: Volume) -> str:
    """Of the masks of a volume."""
    return PICTURE if volume.origin is None else VOLUME


def write_masks(path: Path, masks: NDArray[np.uint8], volume: Volume) -> None:
    """Write masks (S, H, W): a PNG whose pixel values are the numbers (with a palette, so that a viewer shows
    colours), or a NIfTI file in the geometry of the source.
    """
    if volume.origin is not None:
        write_mask_volume(path, masks, volume)
        return
    picture = Image.fromarray(masks[0])
    picture.putpalette(_palette())

    def write(stream: IO[bytes]) -> None:
        picture.save(stream, format="PNG", compress_level=6)

    write_atomic(path, write)


def _palette() -> list[int]:
    """Black for 0, the structures' colours for 1 to 3, then colours that repeat every five numbers."""
    wheel = [(231, 138, 75), (96, 190, 255), (130, 220, 150), (190, 160, 255), (255, 176, 67)]
    colours = [(0, 0, 0), *STRUCTURE_COLOURS, *((wheel[n % len(wheel)]) for n in range(252))]
    return [value for colour in colours for value in colour]
