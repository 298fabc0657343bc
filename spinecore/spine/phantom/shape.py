"""Parametric spines whose angles are known before anything is drawn or measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from spinecore.spine.curves import DEFINITIONS
from spinecore.spine.levels import LEVELS
from spinecore.spine.vertebrae import FloatArray, Vertebrae

# Shares of the length of the line through the centres from T1 to L5; rounded means of frontal films of
# adolescents and adults.
BODY_WIDTH = (
    np.array([74, 69, 66, 65, 66, 68, 70, 73, 76, 79, 84, 89, 93, 96, 100, 104, 111], dtype=np.float64) / 1000
)
BODY_HEIGHT = (
    np.array([29, 33, 36, 39, 41, 42, 42.5, 43.5, 45, 47, 49, 51, 52.5, 53.5, 55, 57, 54], dtype=np.float64)
    / 1000
)
SPACING = np.array(
    [43.5, 48, 51, 53, 54.5, 55.5, 56.5, 58, 61, 65, 69, 73, 76, 79, 81, 79.5], dtype=np.float64
)
SPACING = SPACING / SPACING.sum()


@dataclass(frozen=True, eq=False)
class SpineShape:
    """The spine of one phantom, independent of any film.

    turning_levels: positions in `LEVELS` (0 = T1 .. 16 = L5), increasing: the end vertebrae.
    turning_tilts_deg: mid-line tilt at each of them, positive = right side lower. Between two turning levels
        the tilt runs along half a cosine, beyond the outermost it is constant: every curve's mid-body Cobb
        angle is exactly the difference of its two tilts.
    wedging: share of the tilt change from one level to the next that the body itself takes (rest: disc).
    width_scale, height_scale: bodies against the mean ones.
    """

    turning_levels: tuple[int, ...]
    turning_tilts_deg: tuple[float, ...]
    wedging: float = 0.3
    width_scale: float = 1.0
    height_scale: float = 1.0

    def __post_init__(self) -> None:
        levels = self.turning_levels
        if len(levels) != len(self.turning_tilts_deg) or not levels:
            raise ValueError(f"{len(levels)} turning levels need as many tilts, got {self.turning_tilts_deg}")
        if any(below <= above for above, below in pairwise(levels)):
            raise ValueError(f"turning levels must increase, got {levels}")
        if levels[0] < 0 or levels[-1] >= len(LEVELS):
            raise ValueError(f"turning levels lie in 0 (T1) to {len(LEVELS) - 1} (L5), got {levels}")

    def tilts_at(self, positions: FloatArray) -> FloatArray:
        """Tilt in degrees at positions along the vertebral count (0 = centre of T1)."""
        levels = np.array(self.turning_levels, dtype=np.float64)
        tilts = np.array(self.turning_tilts_deg, dtype=np.float64)
        if len(levels) == 1:
            return np.full(np.shape(positions), tilts[0])
        at = np.clip(positions, levels[0], levels[-1])
        segment = np.clip(np.searchsorted(levels, at, side="right") - 1, 0, len(levels) - 2)
        share = (at - levels[segment]) / (levels[segment + 1] - levels[segment])
        blend = (1 - np.cos(np.pi * share)) / 2
        return np.asarray(tilts[segment] * (1 - blend) + tilts[segment + 1] * blend, dtype=np.float64)

    @property
    def tilts_deg(self) -> FloatArray:
        """(17,) mid-line tilts T1..L5."""
        return self.tilts_at(np.arange(len(LEVELS), dtype=np.float64))

    @property
    def wedges_deg(self) -> FloatArray:
        """(17,) tilt of the inferior against the superior endplate of each body."""
        position = np.arange(len(LEVELS), dtype=np.float64)
        return self.wedging * (self.tilts_at(position + 0.5) - self.tilts_at(position - 0.5))

    def turned(self, degrees: float) -> SpineShape:
        """The same spine leaning: every tilt changed by the same amount, no angle between levels changed."""
        tilts = tuple(tilt + degrees for tilt in self.turning_tilts_deg)
        return SpineShape(self.turning_levels, tilts, self.wedging, self.width_scale, self.height_scale)

    def cobb_deg(self, upper: int, lower: int, definition: str) -> float:
        """Cobb angle between two positions in `LEVELS`, from the prescription alone."""
        if definition not in DEFINITIONS:
            raise ValueError(f"unknown definition {definition!r}; choose one of {', '.join(DEFINITIONS)}")
        tilts = self.tilts_deg
        extra = 0.0
        if definition == "srs_endplate":
            wedges = self.wedges_deg
            extra = float(wedges[upper] + wedges[lower]) / 2
        return abs(float(tilts[lower] - tilts[upper]) + extra)

    def major_cobb_deg(self, definition: str) -> float:
        """Largest Cobb angle of the spine in this definition, from the prescription alone."""
        count = len(LEVELS)
        if definition == "centerline_tangent":
            tilts = self.tilts_at(np.linspace(0, count - 1, 50 * (count - 1) + 1))
            return float(tilts.max() - tilts.min())
        pairs = ((upper, lower) for upper in range(count) for lower in range(upper + 1, count))
        return max(self.cobb_deg(upper, lower, definition) for upper, lower in pairs)

    def vertebrae(self, length: float, center: tuple[float, float]) -> Vertebrae:
        """T1..L5 on a line of this length in pixels; ``center``: middle of the box round the centres."""
        middle = np.arange(len(SPACING), dtype=np.float64) + 0.5
        slope = np.radians(self.tilts_at(middle))
        step = np.stack([-np.sin(slope), np.cos(slope)], axis=1) * (SPACING * length)[:, None]
        centers = np.concatenate([np.zeros((1, 2)), np.cumsum(step, axis=0)])
        centers += np.array(center) - (centers.min(axis=0) + centers.max(axis=0)) / 2
        return Vertebrae.from_corners(self._corners(centers, length))

    def _corners(self, centers: FloatArray, length: float) -> FloatArray:
        tilt, half_wedge = np.radians(self.tilts_deg), np.radians(self.wedges_deg) / 2
        down = np.stack([-np.sin(tilt), np.cos(tilt)], axis=1)
        half_height = (BODY_HEIGHT * self.height_scale * length / 2)[:, None] * down
        half_width = (BODY_WIDTH * self.width_scale * length / 2)[:, None]
        superior, inferior = tilt - half_wedge, tilt + half_wedge
        # Both endplates are equally long and turned by the same amount: the mid-line keeps the tilt exactly.
        top = half_width * np.stack([np.cos(superior), np.sin(superior)], axis=1)
        bottom = half_width * np.stack([np.cos(inferior), np.sin(inferior)], axis=1)
        upper, lower = centers - half_height, centers + half_height
        return np.stack([upper - top, upper + top, lower - bottom, lower + bottom], axis=1)


def balanced(shape: SpineShape, lean: float = 0.0) -> SpineShape:
    """Turn the spine so that T1 stands over L5, or beside it by ``lean`` lengths (positive = image right)."""
    for _ in range(8):
        centers = shape.vertebrae(1.0, (0.0, 0.0)).centers
        now = np.arctan2(centers[0, 0] - centers[-1, 0], centers[-1, 1] - centers[0, 1])
        shape = shape.turned(float(np.degrees(np.arcsin(np.clip(lean, -0.9, 0.9)) - now)))
    return shape


def from_cobb(
    turning_levels: Sequence[int], cobb_deg: Sequence[float], first_convexity: str = "image-right"
) -> SpineShape:
    """Curves of the given mid-body Cobb angles between successive turning levels, alternating in side."""
    if len(cobb_deg) != len(turning_levels) - 1:
        raise ValueError(f"{len(turning_levels)} turning levels bound {len(turning_levels) - 1} curves")
    if first_convexity not in ("image-right", "image-left"):
        raise ValueError(f"convexity is image-right or image-left, got {first_convexity!r}")
    sign = 1.0 if first_convexity == "image-right" else -1.0
    tilts = [0.0]
    for cobb in cobb_deg:
        tilts.append(tilts[-1] + sign * float(cobb))
        sign = -sign
    return balanced(SpineShape(tuple(turning_levels), tuple(tilts)))
