"""The structures that are segmented, and the values that stand for them in published label maps.

Index 0 is background everywhere. Vertebrae hold their posterior elements; the sacrum is background in the
slices of the training set.
"""

from __future__ import annotations

from collections.abc import Mapping

BACKGROUND, VERTEBRAE, DISCS, CANAL = range(4)
CLASSES = ("background", "vertebrae", "discs", "canal")
STRUCTURES = CLASSES[1:]

SPIDER_SLICES: Mapping[int, int] = {0: BACKGROUND, 76: VERTEBRAE, 29: DISCS, 150: CANAL}
"""Grey values of the mask pictures made from SPIDER (van der Graaf 2024)."""


def spider_volume(value: int) -> int:
    """Class of a label in SPIDER's volumes: vertebrae 1 to 25 from L5 up (101 to 125 if only partly visible),
    canal 100, discs 201 to 225.
    """
    if value == 100:
        return CANAL
    if 1 <= value <= 25 or 101 <= value <= 125:
        return VERTEBRAE
    return DISCS if 201 <= value <= 225 else BACKGROUND
