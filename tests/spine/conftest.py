"""Shared by the tests of the spine's geometry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class AasceSet:
    corners: NDArray[np.float64]  # (n, 17, 4, 2) pixels, as annotated
    angles: NDArray[np.float64]  # (n, 3) degrees, as published
    sizes: NDArray[np.int64]  # (n, 2) width, height


@pytest.fixture(scope="session")
def aasce(aasce_folder: Path) -> AasceSet:
    folder = aasce_folder
    names = (folder / "filenames.csv").read_text().split("\n")
    sizes = []
    for name in filter(None, names):
        with Image.open(folder / "images" / name) as image:
            sizes.append(image.size)
    size = np.array(sizes)
    marks = np.loadtxt(folder / "landmarks.csv", delimiter=",")
    x, y = marks[:, :68] * size[:, :1], marks[:, 68:] * size[:, 1:]
    return AasceSet(
        np.stack([x, y], axis=-1).reshape(-1, 17, 4, 2),
        np.loadtxt(folder / "angles.csv", delimiter=","),
        size,
    )
