"""Annotated films, as training tasks of film models get them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AnnotatedFilms:
    """Films with corners, split by series; film i is only read by `pixels(i)`.

    corners: (n,17,4,2) in original pixels; angles: (n,3) AASCE degrees; sizes: (n,2) width, height.
    train, validation: indices; the latter leaves out films whose corners are flawed.
    """

    names: tuple[str, ...]
    corners: NDArray[np.float64]
    angles: NDArray[np.float64]
    sizes: NDArray[np.int64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    pixels: Callable[[int], NDArray[np.float32]]
