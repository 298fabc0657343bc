"""Drawing in numpy: soft shapes added to a map of radiographic density."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spinecore.spine.vertebrae import FloatArray

Image = NDArray[np.float32]


def soft_step(distance: NDArray[np.floating], softness: float) -> Image:
    """0 outside, 1 inside, a smooth edge of about ``softness`` pixels; distance is positive inside."""
    ramp = np.clip(np.asarray(distance, dtype=np.float32) / np.float32(max(softness, 1e-3)) + 0.5, 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)


def upsample(coarse: FloatArray, height: int, width: int) -> Image:
    """Bilinear enlargement of a small (h, w) field to (height, width), corners on corners."""
    rows, columns = _interpolation(coarse.shape[0], height), _interpolation(coarse.shape[1], width)
    return np.asarray(rows @ coarse.astype(np.float32) @ columns.T, dtype=np.float32)


def cloud(rng: np.random.Generator, height: int, width: int, cell: float) -> Image:
    """Smooth random field of unit variance at its nodes, about ``cell`` pixels from bump to bump."""
    shape = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
    return upsample(rng.standard_normal(shape), height, width)


def blur(image: Image, sigma: float) -> Image:
    """Gaussian blur with the border repeated."""
    if sigma < 0.3:
        return image
    reach = max(1, int(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    taps /= taps.sum()
    for axis in (0, 1):
        padding = [(reach, reach) if axis == dimension else (0, 0) for dimension in (0, 1)]
        padded = np.pad(image, padding, mode="edge")
        length = image.shape[axis]
        image = np.zeros_like(image)
        for offset, tap in enumerate(taps):
            part = padded[offset : offset + length] if axis == 0 else padded[:, offset : offset + length]
            image += tap * part
    return image


class Canvas:
    """A density map (H, W) float32 that shapes are added to; coordinates are pixels, centres at + 0.5."""

    def __init__(self, height: int, width: int) -> None:
        self.density: Image = np.zeros((height, width), dtype=np.float32)
        self.x: Image = np.arange(width, dtype=np.float32) + np.float32(0.5)
        self.y: Image = np.arange(height, dtype=np.float32) + np.float32(0.5)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.density.shape[0], self.density.shape[1]

    def window(self, points: FloatArray, margin: float) -> tuple[slice, slice] | None:
        """Rows and columns round some points, or None when they lie outside the film."""
        low = np.floor(points.min(axis=0) - margin).astype(int)
        high = np.ceil(points.max(axis=0) + margin).astype(int)
        rows = slice(max(low[1], 0), min(high[1], self.density.shape[0]))
        columns = slice(max(low[0], 0), min(high[0], self.density.shape[1]))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def add_ellipse(
        self,
        center: FloatArray,
        radii: tuple[float, float],
        tilt: float,
        fill: float,
        rim: float = 0.0,
        rim_width: float = 1.0,
        softness: float = 1.5,
    ) -> None:
        """Filled ellipse with an optional rim along its border; tilt in radians."""
        reach = max(radii) + 2 * rim_width + softness
        window = self.window(np.asarray(center)[None], reach)
        if window is None:
            return
        rows, columns = window
        dx = self.x[columns][None, :] - np.float32(center[0])
        dy = self.y[rows][:, None] - np.float32(center[1])
        cosine, sine = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        along = (dx * cosine + dy * sine) / np.float32(radii[0])
        across = (dy * cosine - dx * sine) / np.float32(radii[1])
        distance = (1 - np.sqrt(along * along + across * across)) * np.float32(min(radii))
        added = np.float32(fill) * soft_step(distance, softness)
        if rim:
            added += np.float32(rim) * np.exp(-((distance / np.float32(rim_width)) ** 2))
        self.density[rows, columns] += added

    def add_path(
        self, points: FloatArray, half_width: FloatArray, fill: float, edge: float, softness: float
    ) -> None:
        """Band with round ends along a polyline (n, 2), brighter at both edges: a tubular bone, a rod.

        half_width: (n,) pixels, interpolated along the band; pieces join without seams.
        """
        reach = float(np.max(half_width)) + 2 * softness
        window = self.window(points, reach)
        if window is None:
            return
        shape = window[0].stop - window[0].start, window[1].stop - window[1].start
        distance = np.full(shape, -reach, dtype=np.float32)
        for index in range(len(points) - 1):
            pair, wide = points[index : index + 2], half_width[index : index + 2]
            part = self.window(pair, reach)
            if part is None:
                continue
            target = distance[
                part[0].start - window[0].start : part[0].stop - window[0].start,
                part[1].start - window[1].start : part[1].stop - window[1].start,
            ]
            np.maximum(target, self._inside_band(pair, wide, part), out=target)
        added = np.float32(fill) * soft_step(distance, softness)
        if edge:
            added += np.float32(edge) * np.exp(-(((distance - softness) / np.float32(softness)) ** 2))
        self.density[window] += added

    def _inside_band(self, pair: FloatArray, wide: FloatArray, part: tuple[slice, slice]) -> Image:
        """Distance in pixels from the border of one straight piece, positive inside."""
        step = pair[1] - pair[0]
        length = max(float(np.hypot(*step)), 1e-6)
        dx = self.x[part[1]][None, :] - np.float32(pair[0, 0])
        dy = self.y[part[0]][:, None] - np.float32(pair[0, 1])
        ux, uy = np.float32(step[0] / length), np.float32(step[1] / length)
        along = np.clip((dx * ux + dy * uy) / np.float32(length), 0, 1)
        away = np.hypot(dx - along * np.float32(step[0]), dy - along * np.float32(step[1]))
        half = np.float32(wide[0]) + np.float32(wide[1] - wide[0]) * along
        return np.asarray(half - away, dtype=np.float32)


def _interpolation(source: int, target: int) -> Image:
    at = np.linspace(0, source - 1, target)
    low = np.minimum(at.astype(int), source - 2)
    share = at - low
    matrix = np.zeros((target, source), dtype=np.float32)
    rows = np.arange(target)
    matrix[rows, low] = 1 - share
    matrix[rows, low + 1] = share
    return matrix
