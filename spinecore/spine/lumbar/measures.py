"""Sizes of discs, vertebral bodies and canal in the plane of a slice. The definitions are our choice.

Heights are taken across the end plates in three strips around 25, 50 and 75 % of the length from front to
back: the mean thickness of the part there. The canal's width is its mean thickness along the end plates of a
disc, in a strip as high as the disc, behind it; where the canal leaves the slice there, it has no width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .column import CANAL, Column, Mask, Part, Spacing, find_column
from .levels import Levels, name_levels

STRIPS = (0.25, 0.5, 0.75)
STRIP_SHARE = 0.15
NARROWEST = 2.0
"""Pixels; less of a canal is its edge in a slice beside it, or a speck."""
WHOLE = 0.8
"""Of a strip's height that the canal must fill, in one row of pixels after the other."""
MARGIN = 0.02
"""Of the slice's height: scans end within this of the picture's edge, where their geometry was corrected."""
CUT = 0.7
"""Of the neighbour's height: an outermost body this near to the edge and lower than that is cut off."""


@dataclass(frozen=True)
class Size:
    """A disc or body, in units of the spacing: heights in front, in the middle and behind, length from front
    to back, area; canal: its width behind a disc; partial: cut off by the edge of the slice.
    """

    level: str
    kind: str
    front: float
    middle: float
    back: float
    length: float
    area: float
    canal: float | None
    partial: bool
    centre: tuple[float, float]  # row, column in pixels


@dataclass(frozen=True)
class LumbarReading:
    """What a mask says: the column, its levels and their sizes, from top to bottom."""

    column: Column
    levels: Levels
    sizes: tuple[Size, ...]


def read_lumbar(mask: Mask, spacing: Spacing = (1.0, 1.0)) -> LumbarReading:
    """Column, levels and sizes of a mask (H, W)."""
    column = find_column(mask, spacing)
    levels = name_levels(column)
    canal = np.argwhere(mask == CANAL) * np.array(spacing)
    area = spacing[0] * spacing[1]
    sizes: list[Size] = []
    cut = _top_is_cut(column, mask.shape[0], spacing)
    for k, body in enumerate(column.bodies):
        if body is not None:
            size = _size(body, levels.bodies[k] if levels.known else "", "vertebra", spacing, area, None)
            sizes.append(replace(size, partial=size.partial or (k == 0 and cut)))
        if k < len(column.discs):
            disc = column.discs[k]
            sizes.append(
                _size(disc, levels.discs[k], "disc", spacing, area, _canal_width(disc, canal, spacing))
            )
    return LumbarReading(column, levels, tuple(sizes))


def _size(part: Part, level: str, kind: str, spacing: Spacing, area: float, canal: float | None) -> Size:
    places = part.pixels * np.array(spacing) - part.centre
    along = places @ part.along
    first, last = np.percentile(along, (1, 99))
    length = float(last - first) / 0.98
    pixel = _pixel(part.along, spacing)
    front, middle, back = (
        _thickness(along - first - share * (last - first), STRIP_SHARE * length, pixel, area)
        for share in STRIPS
    )
    row, column = part.centre / np.array(spacing)
    return Size(
        level,
        kind,
        front,
        middle,
        back,
        length,
        len(part.pixels) * area,
        canal,
        part.touches_border,
        (float(row), float(column)),
    )


def _top_is_cut(column: Column, rows: int, spacing: Spacing) -> bool:
    """Whether the uppermost body ends at the edge of what was scanned, a little below the picture's edge."""
    bodies = column.bodies[:2]
    if len(bodies) < 2 or bodies[0] is None or bodies[1] is None:
        return False
    near = float(bodies[0].pixels[:, 0].min()) < MARGIN * rows
    first, second = (float(np.ptp(b.pixels * np.array(spacing) @ b.across)) for b in bodies if b is not None)
    return near and first < CUT * second


def _pixel(direction: NDArray[np.float64], spacing: Spacing) -> float:
    """How long a pixel is along a direction."""
    return float(np.abs(direction) @ np.array(spacing))


def _thickness(away: NDArray[np.float64], width: float, pixel: float, area: float) -> float:
    """Area of a strip divided by its width; `away`: of the pixels, from its middle line.

    A pixel on the strip's edge counts by its share: whole columns would make steps of a tenth.
    """
    inside = np.clip((width / 2 - np.abs(away)) / pixel + 0.5, 0.0, 1.0)
    return float(inside.sum()) * area / width


def _canal_width(disc: Part, canal: NDArray[np.float64], spacing: Spacing) -> float | None:
    """Mean thickness of the canal behind a disc, None where hardly any is seen, or not all along."""
    if not len(canal):
        return None
    reach = np.ptp((disc.pixels * np.array(spacing)) @ disc.across)
    area = spacing[0] * spacing[1]
    from_disc = canal - disc.centre
    behind = from_disc @ disc.along > 0
    height = max(float(reach), 4 * area**0.5)
    away = (from_disc @ disc.across)[behind]
    pixel = _pixel(disc.across, spacing)
    steps = max(1, round(height / pixel))
    filled = np.unique(np.floor((away + height / 2) / height * steps))
    if np.count_nonzero((filled >= 0) & (filled < steps)) < WHOLE * steps:
        return None
    width = _thickness(away, height, pixel, area)
    return width if width >= NARROWEST * _pixel(disc.along, spacing) else None
