"""What the numbers in published masks of lumbar MRI stand for, as data.

SPIDER (van der Graaf 2024, doi 10.1038/s41597-024-03090-w), volumes: vertebrae 1 to 25 from the lowest (L5)
up, 101 to 125 if they are only partly visible, canal 100, discs 201 to 225 from the lowest (L5/S1) up. They
are counted, not recognised: with a transitional vertebra 1 is whatever lies lowest.
MRSpineSeg (Pang 2021): sacrum 1, L5 to L1 as 2 to 6, T12 to T9 as 7 to 10, discs from L5/S1 as 11 up to
T9/T10 as 19; no canal.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .column import CANAL, DISCS, VERTEBRAE
from .levels import UPWARDS

BACKGROUND = 0


class Label(NamedTuple):
    """Class index of a number, and its level ("L3", "L3/L4"); empty where it has none or none is known."""

    structure: int
    level: str = ""


def _disc(place: int) -> str:
    return f"{UPWARDS[place]}/{UPWARDS[place - 1] if place else 'S1'}" if place < len(UPWARDS) else ""


def _spider() -> dict[int, Label]:
    labels = {0: Label(BACKGROUND), 100: Label(CANAL)}
    for place in range(25):
        level = UPWARDS[place] if place < len(UPWARDS) else ""
        labels[1 + place] = labels[101 + place] = Label(VERTEBRAE, level)
        labels[201 + place] = Label(DISCS, _disc(place))
    return labels


def _mrspineseg() -> dict[int, Label]:
    labels = {0: Label(BACKGROUND), 1: Label(BACKGROUND, "S")}
    for place in range(9):
        labels[2 + place] = Label(VERTEBRAE, UPWARDS[place])
        labels[11 + place] = Label(DISCS, _disc(place))
    return labels


SPIDER: Mapping[int, Label] = MappingProxyType(_spider())
MRSPINESEG: Mapping[int, Label] = MappingProxyType(_mrspineseg())
LABEL_MAPS: Mapping[str, Mapping[int, Label]] = MappingProxyType({"spider": SPIDER, "mrspineseg": MRSPINESEG})
"""The sacrum of MRSpineSeg is background here, as in SPIDER, where nobody has drawn it."""


def to_classes(labels: NDArray[np.integer], names: Mapping[int, Label]) -> NDArray[np.uint8]:
    """Class indices of labels of any shape. ValueError for a number that the map does not know."""
    values, places = np.unique(labels, return_inverse=True)
    odd = [int(value) for value in values if int(value) not in names]
    if odd:
        raise ValueError(f"holds labels {odd[:5]}, which its label map does not know")
    classes = np.array([names[int(value)].structure for value in values], np.uint8)
    return classes[places].reshape(labels.shape)
