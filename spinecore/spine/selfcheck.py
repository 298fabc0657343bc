"""Measure spines whose angles are known from their prescription, along every way a corner can take.

Needs numpy alone and no files: the result says whether the geometry works on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinecore.spine.aasce import aasce_angles
from spinecore.spine.curves import cobb_between, measure_curves
from spinecore.spine.flexibility import flexibility
from spinecore.spine.levels import LEVELS
from spinecore.spine.mask_curves import measure_centerline
from spinecore.spine.order import repair_order
from spinecore.spine.phantom.patients import CURVE_KINDS, PhantomPatient, random_spine
from spinecore.spine.phantom.shape import SpineShape, from_cobb
from spinecore.spine.raster import polygon_mask
from spinecore.spine.vertebrae import FloatArray, Vertebrae

LIMIT_DEG = 0.1
"""Largest error of a check that passes (percent for the flexibility, which has no degrees)."""

CORNER_DEFINITIONS = ("srs_endplate", "aasce_midbody")

_LENGTH, _MIDDLE = 2000.0, (450.0, 1150.0)


@dataclass(frozen=True)
class Check:
    """One comparison, in degrees unless the name says percent."""

    name: str
    truth: float
    measured: float

    @property
    def error(self) -> float:
        """Measured minus truth."""
        return self.measured - self.truth

    @property
    def ok(self) -> bool:
        """Within `LIMIT_DEG`."""
        return abs(self.error) <= LIMIT_DEG


def run_selfcheck(seed: int = 0) -> list[Check]:
    """All checks; ``seed`` chooses the random spines among them."""
    rng = np.random.default_rng(seed)
    checks: list[Check] = []
    for kind in CURVE_KINDS:
        shape = random_spine(rng, kind)
        checks += _by_definition(kind, shape)
    checks += _along_the_ways(random_spine(rng, "double"), rng)
    checks += _special_cases()
    return checks


def band_mask(shape: SpineShape, height: int, width: int, half_width: float) -> NDArray[np.bool_]:
    """(height, width) bool band of constant width round the continuous line through a spine's centres."""
    position = np.linspace(0, len(LEVELS) - 1, 800)
    slope = np.radians(shape.tilts_at((position[1:] + position[:-1]) / 2))
    step = np.stack([-np.sin(slope), np.cos(slope)], axis=1)
    line = np.concatenate([np.zeros((1, 2)), np.cumsum(step, axis=0)])
    size = line.max(axis=0) - line.min(axis=0)
    scale = min(0.92 * height / size[1], (0.96 * width - 2 * half_width) / max(size[0], 1e-9))
    line = (line - (line.max(axis=0) + line.min(axis=0)) / 2) * scale + np.array([width, height]) / 2
    tilt = np.radians(shape.tilts_at(position))
    across = half_width * np.stack([np.cos(tilt), np.sin(tilt)], axis=1)
    return polygon_mask(np.concatenate([line - across, (line + across)[::-1]]), height, width)


def _major(vertebrae: Vertebrae, definition: str) -> float:
    return measure_curves(vertebrae, definition)[0].cobb_deg


def _by_definition(kind: str, shape: SpineShape) -> list[Check]:
    """Major angle by definition, and every angle between neighbouring turning levels."""
    vertebrae = shape.vertebrae(_LENGTH, _MIDDLE)
    checks = [
        Check(f"{kind}: {definition}", shape.major_cobb_deg(definition), _major(vertebrae, definition))
        for definition in CORNER_DEFINITIONS
    ]
    tilts = shape.turning_tilts_deg
    for index in range(len(tilts) - 1):
        upper, lower = (LEVELS[level] for level in shape.turning_levels[index : index + 2])
        measured = cobb_between(vertebrae, upper, lower, "aasce_midbody")
        checks.append(Check(f"{kind}: {upper}-{lower}", abs(tilts[index + 1] - tilts[index]), measured))
    return checks


def _along_the_ways(shape: SpineShape, rng: np.random.Generator) -> list[Check]:
    """The same spine resized and taken back, mirrored, turned, written as text, shuffled and crossed."""
    original = shape.vertebrae(_LENGTH, _MIDDLE)
    squeeze = 512 / 900, 1024 / 2300
    crossed = original.corners.copy()
    for body in rng.choice(len(crossed), size=3, replace=False):
        crossed[body] = crossed[body][rng.permutation(4)]
    shuffled = np.concatenate([crossed[1:], crossed[:1]])
    ways = {
        "resized to 512 x 1024 and back": original.scaled(*squeeze).scaled(1 / squeeze[0], 1 / squeeze[1]),
        "enlarged alike in both directions": original.scaled(1.7, 1.7),
        "mirrored": original.mirrored(900),
        "turned by 8 degrees": original.rotated(8.0, _MIDDLE),
        "rounded to 0.01 pixels": Vertebrae.from_corners(_through_text(original.corners, "%.2f")),
        "as a share of width and height": Vertebrae.from_corners(
            _through_shares(original.corners, 900, 2300)
        ),
        "T1 listed last, three bodies crossed": Vertebrae.from_corners(repair_order(shuffled)[0]),
    }
    return [
        Check(f"{way}: {definition}", shape.major_cobb_deg(definition), _major(vertebrae, definition))
        for way, vertebrae in ways.items()
        for definition in CORNER_DEFINITIONS
    ]


def _special_cases() -> list[Check]:
    steep = from_cobb((0, 5, 12, 16), (40.0, 105.0, 45.0))
    single = from_cobb((3, 13), (50.0,))
    vertebrae = single.vertebrae(_LENGTH, _MIDDLE)
    first, second, third = aasce_angles(vertebrae, 2300.0)
    cropped = vertebrae.subset(slice(2, 15))
    patient = PhantomPatient(from_cobb((0, 4, 11, 16), (20.0, 48.0, 30.0), "image-left"), (0.5, 0.375, 0.6))
    bent = patient.shape("right_bending").vertebrae(_LENGTH, _MIDDLE)
    standing = measure_curves(patient.standing.vertebrae(_LENGTH, _MIDDLE))[0]
    bending = flexibility(standing, bent)
    line = measure_centerline(band_mask(from_cobb((2, 14), (30.0,)), 2300, 900, 60.0))[0]
    return [
        Check("beyond 90 degrees", 105.0, _major(steep.vertebrae(_LENGTH, _MIDDLE), "aasce_midbody")),
        Check("fewer than 17 vertebrae", 50.0, _major(cropped, "aasce_midbody")),
        Check("AASCE first angle", 50.0, float(first)),
        Check("AASCE second angle", 0.0, float(second)),
        Check("AASCE third angle", 0.0, float(third)),
        Check("residual angle on bending", 30.0, bending.residual_deg),
        Check("flexibility, percent", 37.5, bending.flexibility_percent),
        Check("middle line of a mask", 30.0, line.cobb_deg),
    ]


def _through_text(corners: FloatArray, form: str) -> FloatArray:
    written = [form % value for value in corners.ravel()]
    return np.array([float(text) for text in written]).reshape(corners.shape)


def _through_shares(corners: FloatArray, width: float, height: float) -> FloatArray:
    size = np.array([width, height])
    return np.asarray(_through_text(corners / size, "%.6f") * size, dtype=np.float64)
