"""Vertebral bodies of one frontal film: four corners each, in the pixels of the original film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinecore.spine.levels import default_levels

FloatArray = NDArray[np.float64]

TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_RIGHT = range(4)


def line_tilts_deg(lines: FloatArray) -> FloatArray:
    """Tilts of directed lines (..., 2, 2) -> (...), degrees in -180..180, positive = right end lower."""
    step = lines[..., 1, :] - lines[..., 0, :]
    return np.asarray(np.degrees(np.arctan2(step[..., 1], step[..., 0])), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Vertebrae:
    """Vertebrae of one film, top to bottom.

    Coordinates are original film pixels, x to the right and y down, continuous with the origin at the outer
    corner of the first pixel (so that resizing multiplies and mirroring is ``width - x``). Left and right are
    those of the image; nothing here knows the patient's side. Angles are only true in this geometry: a film
    resized with another aspect ratio has other angles.

    corners: (n, 4, 2), order top-left, top-right, bottom-left, bottom-right.
    levels: n names; "V1".."Vn" where the level is not known.
    confidence: (n,) in 0..1.
    """

    corners: FloatArray
    levels: tuple[str, ...]
    confidence: FloatArray

    def __post_init__(self) -> None:
        corners = np.array(self.corners, dtype=np.float64)
        confidence = np.array(self.confidence, dtype=np.float64)
        if corners.ndim != 3 or corners.shape[1:] != (4, 2):
            raise ValueError(f"corners must have shape (n, 4, 2) (TL, TR, BL, BR; x, y), got {corners.shape}")
        if not np.isfinite(corners).all():
            broken = sorted({int(index) for index in np.argwhere(~np.isfinite(corners))[:, 0]})
            raise ValueError(f"corners must be finite; vertebrae {broken} (from 0) are not: leave them out")
        count = len(corners)
        if len(self.levels) != count or confidence.shape != (count,):
            raise ValueError(
                f"{count} vertebrae need {count} levels and confidences, "
                f"got {len(self.levels)} and an array of shape {confidence.shape}"
            )
        if len(set(self.levels)) != count:
            raise ValueError(f"each level may occur once, got {', '.join(self.levels)}")
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise ValueError(f"confidence must lie in 0..1, got {confidence.min()} to {confidence.max()}")
        corners.setflags(write=False)
        confidence.setflags(write=False)
        object.__setattr__(self, "corners", corners)
        object.__setattr__(self, "confidence", confidence)
        object.__setattr__(self, "levels", tuple(self.levels))

    @classmethod
    def from_corners(
        cls,
        corners: ArrayLike,
        levels: Sequence[str] | None = None,
        confidence: ArrayLike | None = None,
    ) -> Vertebrae:
        """Build from corners alone: T1..L5 when there are seventeen, else unnamed; confidence 1."""
        array = np.asarray(corners, dtype=np.float64)
        count = len(array)
        names = default_levels(count) if levels is None else tuple(levels)
        trust = np.ones(count) if confidence is None else np.asarray(confidence, dtype=np.float64)
        return cls(array, names, trust)

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def centers(self) -> FloatArray:
        """(n, 2) means of the four corners."""
        return np.asarray(self.corners.mean(axis=1), dtype=np.float64)

    @property
    def midlines(self) -> FloatArray:
        """(n, 2, 2) from the midpoint of the left edge to the midpoint of the right edge."""
        left = (self.corners[:, TOP_LEFT] + self.corners[:, BOTTOM_LEFT]) / 2
        right = (self.corners[:, TOP_RIGHT] + self.corners[:, BOTTOM_RIGHT]) / 2
        return np.stack([left, right], axis=1)

    @property
    def superior_endplates(self) -> FloatArray:
        """(n, 2, 2) upper edges, left to right."""
        return self.corners[:, [TOP_LEFT, TOP_RIGHT]]

    @property
    def inferior_endplates(self) -> FloatArray:
        """(n, 2, 2) lower edges, left to right."""
        return self.corners[:, [BOTTOM_LEFT, BOTTOM_RIGHT]]

    @property
    def tilts_deg(self) -> FloatArray:
        """(n,) tilt of each mid-line, degrees, positive = right side lower."""
        return line_tilts_deg(self.midlines)

    @property
    def widths(self) -> FloatArray:
        """(n,) lengths of the mid-lines, pixels."""
        step = self.midlines[:, 1] - self.midlines[:, 0]
        return np.asarray(np.hypot(step[:, 0], step[:, 1]), dtype=np.float64)

    @property
    def heights(self) -> FloatArray:
        """(n,) distances between the midpoints of the two endplates, pixels."""
        step = self.inferior_endplates.mean(axis=1) - self.superior_endplates.mean(axis=1)
        return np.asarray(np.hypot(step[:, 0], step[:, 1]), dtype=np.float64)

    def column_polygon(self) -> FloatArray:
        """(4n, 2) outline of the spinal column: all left corners downwards, then all right corners upwards.

        Bodies and the gaps between them lie inside.
        """
        left = self.corners[:, [TOP_LEFT, BOTTOM_LEFT]].reshape(-1, 2)
        right = self.corners[:, [TOP_RIGHT, BOTTOM_RIGHT]].reshape(-1, 2)
        return np.concatenate([left, right[::-1]])

    def scaled(self, scale_x: float, scale_y: float) -> Vertebrae:
        """The same vertebrae after the film was resized by these factors (1 / factor takes it back)."""
        if not (scale_x > 0 and scale_y > 0):
            raise ValueError(f"scale factors must be positive, got {scale_x} and {scale_y}")
        return Vertebrae(self.corners * np.array([scale_x, scale_y]), self.levels, self.confidence)

    def shifted(self, shift_x: float, shift_y: float) -> Vertebrae:
        """The same vertebrae after the film's origin moved: adds (shift_x, shift_y) to every corner."""
        return Vertebrae(self.corners + np.array([shift_x, shift_y]), self.levels, self.confidence)

    def mirrored(self, width: float) -> Vertebrae:
        """The same vertebrae after a film of this width was flipped left to right (corners swap sides)."""
        swapped = self.corners[:, [TOP_RIGHT, TOP_LEFT, BOTTOM_RIGHT, BOTTOM_LEFT]].copy()
        swapped[..., 0] = width - swapped[..., 0]
        return Vertebrae(swapped, self.levels, self.confidence)

    def rotated(self, degrees: float, center: tuple[float, float] = (0.0, 0.0)) -> Vertebrae:
        """The same vertebrae after the film was turned; a positive angle lowers the right-hand side."""
        angle = np.radians(degrees)
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        pivot = np.array(center)
        return Vertebrae((self.corners - pivot) @ matrix + pivot, self.levels, self.confidence)

    def subset(self, indices: Sequence[int] | slice) -> Vertebrae:
        """Only the vertebrae at these positions, in the order given."""
        chosen = range(len(self))[indices] if isinstance(indices, slice) else indices
        picked = [int(index) for index in chosen]
        return Vertebrae(
            self.corners[picked], tuple(self.levels[index] for index in picked), self.confidence[picked]
        )
