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
"""Grey values of the mask pictures made from SPIDER (van der Graaf 2024). Maps of volumes:
`spinecore.spine.lumbar.label_maps`.
"""
