"""Soft tissue of the phantom: trunk, lungs, heart, airway, diaphragm, bowel gas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinecore.spine.phantom.canvas import Canvas, Image, cloud, soft_step
from spinecore.spine.vertebrae import FloatArray, Vertebrae


@dataclass(frozen=True)
class Trunk:
    """Where the organs lie, in pixels: the axis of the trunk by row and the rows that divide it."""

    axis: FloatArray
    length: float
    shoulder_row: float
    diaphragm_row: float
    pelvis_row: float


def trunk_of(vertebrae: Vertebrae, height: int, rng: np.random.Generator) -> Trunk:
    """The trunk follows the spine only in part, so that a curve leaves the shade of the mediastinum."""
    centers = vertebrae.centers
    rows = np.arange(height) + 0.5
    spine = np.interp(rows, centers[:, 1], centers[:, 0])
    chord = np.interp(rows, centers[[0, -1], 1], centers[[0, -1], 0])
    follow = rng.uniform(0.1, 0.5)
    length = float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())
    level = float(rng.uniform(9.0, 11.0))
    return Trunk(
        axis=chord + follow * (spine - chord),
        length=length,
        shoulder_row=float(centers[0, 1] - 0.01 * length),
        diaphragm_row=float(np.interp(level, np.arange(len(centers)), centers[:, 1])),
        pelvis_row=float(centers[-1, 1] + 0.05 * length),
    )


def draw_trunk(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Trunk and neck as elliptic thicknesses, denser towards the pelvis."""
    rows = canvas.y.astype(np.float64)
    unit = trunk.length
    chest, waist = rng.uniform(0.38, 0.5), rng.uniform(0.33, 0.46)
    at = [
        trunk.shoulder_row - 0.1 * unit,
        trunk.shoulder_row - 0.01 * unit,
        trunk.shoulder_row + rng.uniform(0.04, 0.1) * unit,
        trunk.shoulder_row + 0.3 * unit,
        trunk.diaphragm_row,
        trunk.pelvis_row - 0.22 * unit,
        trunk.pelvis_row + 0.05 * unit,
    ]
    half = np.interp(rows, at, np.array([0.12, 0.16, 0.46, chest, chest, waist, waist + 0.08]) * unit)
    load = np.interp(rows, at, [0.55, 0.6, 0.85, 0.95, 1.0, 1.05, 1.15]) * rng.uniform(0.95, 1.05)
    offset = (canvas.x[None, :] - trunk.axis[:, None].astype(np.float32)) / half[:, None].astype(np.float32)
    thickness = np.sqrt(np.maximum(1 - offset * offset, 0)) ** np.float32(rng.uniform(0.5, 0.9))
    canvas.density += load[:, None].astype(np.float32) * thickness


def draw_chest(
    canvas: Canvas, trunk: Trunk, rng: np.random.Generator, heart_side: float, spine: Image
) -> None:
    """Lungs as missing density, heart and great vessels between them, airway, domes of the diaphragm.

    spine: share of the depth that the spine leaves no lung in, from `shade_of_spine`.
    """
    unit = trunk.length
    air = rng.uniform(0.35, 0.6)
    for side in (-1.0, 1.0):
        lung = _lung(canvas, trunk, rng, side)
        if side == heart_side:
            lung *= 1 - _heart(canvas, trunk, rng, side)
        texture = 1 - 0.18 * np.abs(cloud(rng, *canvas.shape, cell=0.02 * unit))
        texture -= 0.1 * np.abs(cloud(rng, *canvas.shape, cell=0.007 * unit))
        canvas.density -= np.float32(air) * lung * np.maximum(texture, 0.2) * (1 - spine)
    axis = trunk.axis[:, None].astype(np.float32)
    offset = np.abs(canvas.x[None, :] - axis - np.float32(rng.normal(0, 0.006) * unit))
    rows = canvas.y[:, None]
    fork = trunk.shoulder_row + rng.uniform(0.18, 0.25) * unit
    airway = soft_step(rng.uniform(0.018, 0.026) * unit - offset, 0.01 * unit)
    canvas.density -= np.float32(rng.uniform(0.06, 0.16)) * airway * soft_step(fork - rows, 0.04 * unit)


def shade_of_spine(canvas: Canvas, vertebrae: Vertebrae, rng: np.random.Generator) -> Image:
    """Share of the chest's depth taken by spine and muscles: a curve stays bright beside the heart."""
    band = Canvas(*canvas.shape)
    width = vertebrae.widths
    band.add_path(vertebrae.centers, 0.7 * width, 1.0, 0.0, 0.35 * float(width.mean()))
    return np.minimum(band.density, 1) * np.float32(rng.uniform(0.35, 0.8))


def _lung(canvas: Canvas, trunk: Trunk, rng: np.random.Generator, side: float) -> Image:
    """Share of lung at each pixel of one half of the chest."""
    unit = trunk.length
    x = (canvas.x[None, :] - trunk.axis[:, None].astype(np.float32)) * np.float32(side) / np.float32(unit)
    y = canvas.y[:, None]
    inner = _inner_border(canvas, trunk, rng)
    outer = np.float32(rng.uniform(0.33, 0.4))
    middle = float((inner.mean() + outer) / 2)
    bell = np.maximum(1 - ((x - middle) / np.float32(outer - middle)) ** 2, 0)
    apex = trunk.shoulder_row + unit * rng.uniform(0.02, 0.07) + unit * 0.09 * (1 - np.sqrt(bell))
    fall = (x - np.float32(rng.uniform(0.12, 0.2))) / np.float32(0.2)
    fall = fall * fall * np.where(fall > 0, np.float32(1.0), np.float32(0.35))
    dome = (
        trunk.diaphragm_row
        + unit * rng.uniform(-0.02, 0.04)
        + unit * np.float32(rng.uniform(0.05, 0.13)) * fall
    )
    soft = unit * rng.uniform(0.008, 0.025)
    lung = soft_step((x - inner) * np.float32(unit), soft) * soft_step((outer - x) * np.float32(unit), soft)
    return lung * soft_step(y - apex, 2 * soft) * soft_step(dome - y, 0.7 * soft)


def _inner_border(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> Image:
    """(H, 1) distance from the axis at which the lung begins, in lengths: vessels, hilum, then the heart."""
    rows = np.linspace(trunk.shoulder_row, trunk.diaphragm_row, 9)
    width = rng.uniform(0.035, 0.055) + np.array([0.02, 0.012, 0.01, 0.014, 0.02, 0.022, 0.02, 0.018, 0.022])
    width = width + rng.normal(0.0, 0.004, size=len(width))
    # A smooth curve through the nine widths: interpolation, then a moving average over a node's distance.
    border = np.interp(canvas.y, rows, width)
    window = max(1, int((rows[1] - rows[0]) * 0.8))
    padded = np.pad(border, (window // 2, window - 1 - window // 2), mode="edge")
    total = np.concatenate([[0.0], np.cumsum(padded)])
    smooth = (total[window:] - total[:-window]) / window
    return np.asarray(smooth[:, None], dtype=np.float32)


def _heart(canvas: Canvas, trunk: Trunk, rng: np.random.Generator, side: float) -> Image:
    unit = trunk.length
    row = trunk.diaphragm_row - rng.uniform(0.06, 0.1) * unit
    center = float(np.interp(row, canvas.y, trunk.axis)) + side * rng.uniform(0.03, 0.07) * unit
    x = (canvas.x[None, :] - np.float32(center)) / np.float32(rng.uniform(0.12, 0.17) * unit)
    y = (canvas.y[:, None] - np.float32(row)) / np.float32(rng.uniform(0.13, 0.2) * unit)
    lean = x - 0.35 * np.float32(side) * y
    distance = 1 - np.sqrt(lean * lean + y * y)
    return np.float32(rng.uniform(0.6, 0.95)) * soft_step(distance, 0.12)


def draw_gas(canvas: Canvas, trunk: Trunk, rng: np.random.Generator, heart_side: float) -> None:
    """Stomach bubble under the dome beside the heart and pockets of bowel gas."""
    unit = trunk.length
    column = float(np.interp(trunk.diaphragm_row, canvas.y, trunk.axis))
    if rng.random() < 0.5:
        place = np.array([column + heart_side * 0.17 * unit, trunk.diaphragm_row + 0.09 * unit])
        canvas.add_ellipse(
            place, (0.08 * unit, 0.04 * unit), 0.1, -rng.uniform(0.1, 0.3), softness=0.015 * unit
        )
    for _ in range(int(rng.integers(0, 14))):
        across = rng.uniform(0.06, 0.34) * rng.choice([-1.0, 1.0])
        row = rng.uniform(trunk.diaphragm_row + 0.15 * unit, trunk.pelvis_row + 0.1 * unit)
        size = rng.uniform(0.012, 0.05, size=2) * unit
        canvas.add_ellipse(
            np.array([column + across * unit, row]),
            (float(size[0]), float(size[1])),
            float(rng.uniform(-1, 1)),
            -float(rng.uniform(0.05, 0.25)),
            softness=0.02 * unit,
        )
