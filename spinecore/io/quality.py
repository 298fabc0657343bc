"""Checks on the pixels alone: refuse what cannot be a film, flag what a reader should look at twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spinecore.io.errors import FilmError

# Cut-offs are ours, set on 481 full-spine films: width / height is 0.24..0.56 there, and the centre is never
# darker than the sides.
SMALLEST_SIDE = 64
SMALL_HEIGHT = 400
ASPECT_RANGE = (0.15, 0.80)
BLANK_RANGE = 0.01
LOW_CONTRAST_RANGE = 0.12
POLARITY_MARGIN = -0.03
LEAST_SIMILARITY = 0.3  # correlation of neighbouring parts: 0.90 and more on those films, 0 in noise


def check_quality(pixels: NDArray[np.float32]) -> tuple[str, ...]:
    """Flags for a film (H, W) in 0..1. Raises :class:`FilmError` when it is too small, blank or noise."""
    height, width = pixels.shape
    if min(height, width) < SMALLEST_SIDE:
        raise FilmError(f"only {width} x {height} pixels; a film needs at least {SMALLEST_SIDE} on each side")
    small = coarse_view(pixels)
    low, high = np.percentile(small, [1.0, 99.0])
    if high - low < BLANK_RANGE:
        raise FilmError("the film is blank: all pixels have nearly the same value")
    if neighbour_similarity(small) < LEAST_SIMILARITY:
        raise FilmError("the image is noise: neighbouring parts have nothing in common; export it again")
    flags: list[str] = []
    if high - low < LOW_CONTRAST_RANGE:
        flags.append("low-contrast")
    if polarity_margin(small) < POLARITY_MARGIN:
        flags.append("polarity-suspect")
    if not ASPECT_RANGE[0] <= width / height <= ASPECT_RANGE[1]:
        flags.append("aspect-unusual")
    if height < SMALL_HEIGHT:
        flags.append("small-image")
    return tuple(flags)


def coarse_view(pixels: NDArray[np.float32], rows: int = 160, columns: int = 64) -> NDArray[np.float64]:
    """Block means on a grid of at most rows x columns: robust to noise and cheap on a large film."""
    height, width = pixels.shape
    down = np.linspace(0, height, min(rows, height) + 1).astype(np.intp)[:-1]
    across = np.linspace(0, width, min(columns, width) + 1).astype(np.intp)[:-1]
    sums = np.add.reduceat(np.add.reduceat(pixels, down, axis=0, dtype=np.float64), across, axis=1)
    counts = np.outer(np.diff(np.append(down, height)), np.diff(np.append(across, width)))
    return np.asarray(sums / counts, dtype=np.float64)


def neighbour_similarity(small: NDArray[np.float64]) -> float:
    """Correlation of each block with its neighbour below or beside it, whichever is larger."""
    centred = small - small.mean()
    variance = float(np.mean(centred**2))
    below = float(np.mean(centred[:-1] * centred[1:]))
    beside = float(np.mean(centred[:, :-1] * centred[:, 1:]))
    return max(below, beside) / variance


def polarity_margin(small: NDArray[np.float64]) -> float:
    """Median of the middle third (spine) minus median of both side borders (air); negative = inverted."""
    height, width = small.shape
    edge = max(1, width // 16)
    rows = small[height // 20 : height - height // 20]
    sides = np.concatenate([rows[:, :edge].ravel(), rows[:, -edge:].ravel()])
    centre = small[height // 8 : height - height // 8, width // 3 : width - width // 3]
    return float(np.median(centre) - np.median(sides))
