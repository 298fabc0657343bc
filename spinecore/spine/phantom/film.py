"""Phantom films: radiographs of parametric spines with the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinecore.spine.curves import DEFINITIONS
from spinecore.spine.phantom.canvas import Canvas, Image, cloud
from spinecore.spine.phantom.exposure import collimate, expose, stamp_marker
from spinecore.spine.phantom.hardware import draw_rods
from spinecore.spine.phantom.patients import POSITIONS, PhantomPatient, random_patient
from spinecore.spine.phantom.shape import SpineShape
from spinecore.spine.phantom.skeleton import (
    BoneLook,
    draw_neck,
    draw_pelvis,
    draw_posterior_column,
    draw_ribs,
    draw_vertebra,
)
from spinecore.spine.phantom.tissue import draw_chest, draw_gas, draw_trunk, shade_of_spine, trunk_of
from spinecore.spine.raster import polygon_mask
from spinecore.spine.vertebrae import Vertebrae

HARDWARE_SHARE = 0.05
"""Patients of `phantom_film` with rods and screws."""


@dataclass(frozen=True, eq=False)
class PhantomFilm:
    """One film and what is true of it.

    pixels: (H, W) float32 in 0..1, bone bright unless ``inverted``.
    vertebrae: the true corners T1..L5 in film pixels. mask: (H, W) bool, the column from T1 to L5.
    cobb_deg: the major angle by definition, from the prescription (not measured on the corners).
    shape: the spine that was drawn. position: "coronal", "left_bending" or "right_bending" (image sides).
    """

    name: str
    pixels: Image
    vertebrae: Vertebrae
    mask: NDArray[np.bool_]
    cobb_deg: dict[str, float]
    shape: SpineShape
    position: str = "coronal"
    inverted: bool = False


def render(
    shape: SpineShape,
    rng: np.random.Generator,
    height: int = 1536,
    width: int = 640,
    *,
    hardware: bool = False,
) -> tuple[Image, Vertebrae]:
    """Draw a spine as a film: pixels (height, width) in 0..1, bone bright, and the true vertebrae.

    The spine fills most of the height, as on long films; everything but its angles varies with ``rng``.
    hardware: with rods and pedicle screws.
    """
    if height < 64 or width < 32:
        raise ValueError(f"a phantom film needs at least 64 x 32 pixels, got {height} x {width}")
    vertebrae = _placed(shape, rng, height, width)
    length = float(np.linalg.norm(np.diff(vertebrae.centers, axis=0), axis=1).sum())
    canvas = Canvas(height, width)
    look = BoneLook.random(rng, length)
    heart_side = 1.0 if rng.random() < 0.93 else -1.0
    trunk = trunk_of(vertebrae, height, rng)
    draw_trunk(canvas, trunk, rng)
    draw_chest(canvas, trunk, rng, heart_side, shade_of_spine(canvas, vertebrae, rng))
    draw_gas(canvas, trunk, rng, heart_side)
    draw_ribs(canvas, vertebrae, look, rng)
    draw_neck(canvas, vertebrae, look, rng)
    draw_pelvis(canvas, vertebrae, look, rng)
    draw_posterior_column(canvas, vertebrae, look, rng)
    for index, corners in enumerate(vertebrae.corners):
        draw_vertebra(canvas, corners, look, rng, lumbar=index / (len(vertebrae) - 1))
    if hardware:
        draw_rods(canvas, vertebrae, rng)
    texture = cloud(rng, height, width, 0.03 * length) + cloud(rng, height, width, 0.008 * length)
    canvas.density += np.float32(rng.uniform(0.01, 0.03)) * texture * (canvas.density > 0.05)
    return expose(np.maximum(canvas.density, 0), rng, length), vertebrae


def phantom_film(
    seed: int,
    *,
    height: int = 1536,
    width: int = 640,
    position: str = "coronal",
    inverted: bool = False,
    kind: str | None = None,
    patient: PhantomPatient | None = None,
    marker: bool | None = None,
    hardware: bool | None = None,
) -> PhantomFilm:
    """One phantom film; the same arguments always give the same film.

    seed chooses the patient and the look. kind: one of `patients.CURVE_KINDS` (default by chance).
    patient: draw this one instead. inverted: bone dark. marker: lead letter (default on a third).
    hardware: rods and screws (default on one patient in twenty).
    """
    person = random_patient(np.random.default_rng(seed), kind) if patient is None else patient
    shape = person.shape(position)
    rng = np.random.default_rng([seed, POSITIONS.index(position), 1])
    if hardware is None:
        hardware = bool(np.random.default_rng([seed, 2]).random() < HARDWARE_SHARE)
    pixels, vertebrae = render(shape, rng, height, width, hardware=hardware)
    if marker or (marker is None and rng.random() < 0.33):
        side = int(rng.integers(0, 2))
        column = int(width * (0.06 if side == 0 else 0.86))
        pixels = stamp_marker(
            pixels, "RL"[side], int(height * rng.uniform(0.03, 0.3)), column, max(7, height // 60)
        )
    pixels = collimate(pixels, rng)
    return PhantomFilm(
        name=f"phantom-{seed:04d}-{position}",
        pixels=np.asarray(1 - pixels if inverted else pixels, dtype=np.float32),
        vertebrae=vertebrae,
        mask=polygon_mask(vertebrae.column_polygon(), height, width),
        cobb_deg={definition: shape.major_cobb_deg(definition) for definition in DEFINITIONS},
        shape=shape,
        position=position,
        inverted=inverted,
    )


def phantom_patient(
    seed: int, *, height: int = 1536, width: int = 640, kind: str | None = None
) -> dict[str, PhantomFilm]:
    """The coronal, left-bending and right-bending film of one patient without implants, by position."""
    return {
        position: phantom_film(seed, height=height, width=width, position=position, kind=kind, hardware=False)
        for position in POSITIONS
    }


def _placed(shape: SpineShape, rng: np.random.Generator, height: int, width: int) -> Vertebrae:
    """Scale and shift the spine into the film: T1 near the top, L5 near the bottom, all bodies inside."""
    unit = shape.vertebrae(1.0, (0.0, 0.0))
    extent = unit.corners.reshape(-1, 2)
    size = extent.max(axis=0) - extent.min(axis=0)
    top, bottom = rng.uniform(0.015, 0.07), rng.uniform(0.89, 0.965)
    length = min(height * (bottom - top) / size[1], 0.94 * width / size[0])
    room = max(0.0, 0.97 * width - length * size[0])
    shift = float(np.clip(rng.normal(0.0, 0.05) * width, -room / 2, room / 2))
    middle_y = height * (top + bottom) / 2
    return shape.vertebrae(length, (width / 2 + shift, middle_y))
