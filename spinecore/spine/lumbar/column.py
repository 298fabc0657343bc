"""The column of a sagittal mask: discs from top to bottom, and the vertebral bodies between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

VERTEBRAE, DISCS, CANAL = 1, 2, 3
SMALLEST_DISC = 0.25
"""Parts of discs smaller than this share of the median disc are specks."""
FRONT_REACH = 0.75
"""No pixel of a body is further from the discs' middle line than this share of a disc's length."""
SMALLEST_BODY = 0.2
"""Bodies smaller than this share of the median body are slivers."""
FEWEST_PIXELS = 8

Mask = NDArray[np.integer]
Spacing = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """A disc or a vertebral body.

    pixels: (N, 2) rows and columns; centre: (2,) down and across, in units of the spacing; along: unit vector
    (down, across) from front to back along its end plates; touches_border: whether the slice cuts it off.
    """

    pixels: NDArray[np.intp]
    centre: NDArray[np.float64]
    along: NDArray[np.float64]
    touches_border: bool

    @property
    def across(self) -> NDArray[np.float64]:
        """Unit vector across the end plates, pointing down."""
        down = np.array([self.along[1], -self.along[0]])
        return down if down[0] >= 0 else -down


@dataclass(frozen=True)
class Column:
    """Discs and bodies, each from top to bottom.

    bodies[k] lies above discs[k]; there may be one more below the last disc, and None stands for a body of
    which too little is to be seen.
    """

    discs: tuple[Part, ...]
    bodies: tuple[Part | None, ...]


def find_column(mask: Mask, spacing: Spacing = (1.0, 1.0)) -> Column:
    """Discs and bodies of a mask (H, W); `spacing`: size of a pixel down and across, in any unit."""
    discs = _discs(mask, spacing)
    if not discs:
        return Column((), ())
    return Column(discs, _bodies(mask, discs, spacing))


def _part(
    pixels: NDArray[np.intp], shape: tuple[int, ...], spacing: Spacing, along: NDArray[np.float64] | None
) -> Part:
    places = pixels * np.array(spacing)
    centre = places.mean(0)
    if along is None:
        _, vectors = np.linalg.eigh(np.cov((places - centre).T) + 1e-9 * np.eye(2))
        along = vectors[:, 1]
    along = along if along[1] >= 0 else -along
    border = bool((pixels == 0).any() or (pixels == np.array(shape) - 1).any())
    return Part(pixels, centre, along, border)


def _discs(mask: Mask, spacing: Spacing) -> tuple[Part, ...]:
    labels, count = ndimage.label(mask == DISCS, structure=np.ones((3, 3)))
    if not count:
        return ()
    areas = np.bincount(labels.ravel())[1:]
    real = areas[areas >= FEWEST_PIXELS]
    least = max(FEWEST_PIXELS, SMALLEST_DISC * float(np.median(real))) if len(real) else np.inf
    kept = [i + 1 for i in range(count) if areas[i] >= least]
    parts = [_part(np.argwhere(labels == i), mask.shape, spacing, None) for i in kept]
    return tuple(sorted(parts, key=lambda part: float(part.centre[0])))


def _bodies(mask: Mask, discs: tuple[Part, ...], spacing: Spacing) -> tuple[Part | None, ...]:
    pixels = np.argwhere(mask == VERTEBRAE)
    places = pixels * np.array(spacing)
    middle = np.array([disc.centre for disc in discs])
    length = float(np.median([_extent(disc, disc.along, spacing) for disc in discs]))
    near = np.abs(places[:, 1] - _line_at(middle, places[:, 0])) <= FRONT_REACH * length
    # A pixel belongs to the body above the first disc that it does not lie below.
    above = np.zeros(len(pixels), dtype=np.intp)
    for disc in discs:
        above += ((places - disc.centre) @ disc.across) > 0
    found = [_largest_piece(pixels[near & (above == k)], mask.shape) for k in range(len(discs) + 1)]
    sizes = [len(piece) for piece in found[: len(discs)] if len(piece)]
    least = SMALLEST_BODY * float(np.median(sizes)) if sizes else np.inf
    bodies: list[Part | None] = []
    for k, piece in enumerate(found):
        neighbours = [discs[i].along for i in (k - 1, k) if 0 <= i < len(discs)]
        along = np.sum(neighbours, 0)
        enough = len(piece) >= max(least, FEWEST_PIXELS)
        bodies.append(_part(piece, mask.shape, spacing, along / np.linalg.norm(along)) if enough else None)
    return tuple(bodies) if bodies[-1] is not None else tuple(bodies[:-1])


def _line_at(middle: NDArray[np.float64], down: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the line through the discs' centres lies; beyond the last ones it goes straight on."""
    if len(middle) == 1:
        return np.full(len(down), middle[0, 1])
    inside = np.interp(down, middle[:, 0], middle[:, 1])
    for first, second, beyond in ((0, 1, down < middle[0, 0]), (-1, -2, down > middle[-1, 0])):
        slope = (middle[first, 1] - middle[second, 1]) / max(1e-9, abs(middle[first, 0] - middle[second, 0]))
        inside = np.where(beyond, middle[first, 1] + slope * np.abs(down - middle[first, 0]), inside)
    return np.asarray(inside)


def _largest_piece(pixels: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.intp]:
    if not len(pixels):
        return pixels
    drawn = np.zeros(shape, dtype=bool)
    drawn[tuple(pixels.T)] = True
    labels, _ = ndimage.label(drawn)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.argwhere(labels == sizes.argmax())


def _extent(part: Part, direction: NDArray[np.float64], spacing: Spacing) -> float:
    reach = (part.pixels * np.array(spacing)) @ direction
    return float(reach.max() - reach.min()) + float(np.abs(direction) @ np.array(spacing))
