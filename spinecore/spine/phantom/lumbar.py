"""A drawn sagittal slice of a lumbar spine, T2-like, with everything about it known.

Bodies and discs are quadrilaterals stacked on the sacrum, the canal runs behind them at a constant width.
Partial volume comes from drawing at three times the resolution, then bias field and Rician noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinecore.spine.phantom.canvas import cloud, upsample
from spinecore.spine.raster import polygon_mask

FINE = 3
"""Drawn this much finer; odd, so that the middle subpixel is the pixel's centre."""

Points = NDArray[np.float64]
_BACKGROUND, _BODY, _DISC, _CANAL, _SACRUM, _POSTERIOR, _FAT, _SKIN = range(8)
_BRIGHTNESS = np.array([0.04, 0.30, 0.11, 0.80, 0.30, 0.32, 0.62, 0.08])
_CORTEX, _CORTEX_WIDTH = 0.03, 2.2  # dark in every sequence; pixels at 640 rows
_LABEL = np.array([0, 1, 2, 3, 0, 1, 0, 0], dtype=np.uint8)
_NAMES = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8")


@dataclass(frozen=True, eq=False)
class LumbarPhantom:
    """pixels (H, W) float32 in 0..1; mask (H, W) uint8: 1 vertebrae, 2 discs, 3 canal.

    bodies, discs: levels from the top down, each with its corners (4, 2) x, y: upper front, upper back, lower
    back, lower front. canal_width in pixels.
    """

    pixels: NDArray[np.float32]
    mask: NDArray[np.uint8]
    bodies: dict[str, Points]
    discs: dict[str, Points]
    canal_width: float


def lumbar_phantom(
    seed: int,
    height: int = 640,
    width: int = 512,
    *,
    vertebrae: int = 9,
    noise: float = 0.02,
    bias: float = 0.35,
    lateral: float = 0.0,
) -> LumbarPhantom:
    """Draw one slice.

    Args:
        seed: of all that is random.
        height: of the picture in pixels.
        width: of the picture in pixels.
        vertebrae: how many are drawn above the sacrum, 3 to 10.
        noise: standard deviation of the noise, of full brightness.
        bias: strength of the coil's bias field, as a logarithm.
        lateral: distance from the middle of the canal, in its radii; from 1 on it is not seen.

    """
    if not 3 <= vertebrae <= len(_NAMES):
        raise ValueError(f"vertebrae is {vertebrae}; give 3 to {len(_NAMES)}")
    rng = np.random.default_rng([seed, 7])
    unit = height / 640.0
    stack = _stack(rng, height, width, unit, vertebrae)
    canal_width = 26.0 * unit * float(np.sqrt(max(0.0, 1.0 - lateral**2)))
    fine = _draw(rng, stack, height, width, unit, canal_width)
    pixels = _expose(np.random.default_rng([seed, 8]), fine, height, width, noise, bias)
    mask = _LABEL[fine[FINE // 2 :: FINE, FINE // 2 :: FINE]]
    names = _NAMES[:vertebrae]
    below = ("S1", *names)
    bodies = {name: stack[2 * n + 1] for n, name in reversed(list(enumerate(names)))}
    discs = {f"{name}/{below[n]}": stack[2 * n] for n, name in reversed(list(enumerate(names)))}
    return LumbarPhantom(pixels, np.ascontiguousarray(mask), bodies, discs, canal_width)


def _stack(rng: np.random.Generator, height: int, width: int, unit: float, vertebrae: int) -> list[Points]:
    """Corners of disc, body, disc, body ... from the sacrum upwards."""
    at = np.array([width * (0.52 + 0.04 * rng.uniform(-1, 1)), height * (0.83 + 0.02 * rng.uniform(-1, 1))])
    tilt = np.radians(rng.uniform(24, 34))  # of the sacral plate: its front is the lower end
    parts: list[Points] = []
    for n in range(2 * vertebrae):
        disc = n % 2 == 0
        level = n // 2
        tall = unit * ((13.0 if disc else 52.0) - 0.9 * level * (0.6 if disc else 2.0))
        tall *= 1 + 0.05 * rng.uniform(-1, 1)
        deep = unit * (68.0 - 1.8 * level)
        straighter = np.radians(7.5 if disc else 3.0) * max(0.0, 1.0 - 0.16 * level)
        lower = _plate(at, tilt, deep)
        heading = tilt - straighter / 2
        at = at + tall * np.array([-np.sin(heading), -np.cos(heading)])
        tilt -= straighter
        upper = _plate(at, tilt, deep)
        parts.append(np.stack([upper[0], upper[1], lower[1], lower[0]]))
    return parts


def _plate(at: Points, tilt: float, deep: float) -> Points:
    """Front and back end of an end plate; a positive tilt lowers the front."""
    back = np.array([np.cos(tilt), -np.sin(tilt)]) * deep / 2
    return np.stack([at - back, at + back])


def _draw(
    rng: np.random.Generator, stack: list[Points], height: int, width: int, unit: float, canal_width: float
) -> NDArray[np.uint8]:
    fine = np.full((height * FINE, width * FINE), _BACKGROUND, np.uint8)

    def fill(points: Points, tissue: int) -> None:
        fine[polygon_mask(points * FINE, *fine.shape)] = tissue

    # Upper and lower plates from the sacrum upwards: front and back ends.
    plates = [np.stack([stack[0][3], stack[0][2]])] + [np.stack([part[0], part[1]]) for part in stack]
    back = np.array([plate[1] for plate in plates])
    outward = np.array([(plate[1] - plate[0]) / np.hypot(*(plate[1] - plate[0])) for plate in plates])
    fat, skin = back + outward * 100 * unit, back + outward * 150 * unit
    front = np.array([plate[0] for plate in plates])
    fill(np.concatenate([front - outward * 70 * unit, fat[::-1]]), _SKIN)
    fill(np.concatenate([fat, skin[::-1]]), _FAT)
    _sacrum(fill, plates[0], unit)
    for n, part in enumerate(stack):
        fill(part, _DISC if n % 2 == 0 else _BODY)
    for n in range(len(stack) // 2):
        middle = (back[2 * n + 1] + back[2 * n + 2]) / 2 + outward[2 * n + 1] * 62 * unit
        half = np.array([26.0, 15.0]) * unit * (1 + 0.1 * rng.uniform(-1, 1))
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        fill(middle + np.stack([np.cos(turn), np.sin(turn)], 1) * half, _POSTERIOR)
    if canal_width > 0:
        gap = 5.0 * unit
        front, behind = back + outward * gap, back + outward * (gap + canal_width)
        # It goes on behind the sacrum.
        down = np.array([-outward[0, 1], outward[0, 0]]) * 45 * unit
        front, behind = np.vstack([front[:1] + down, front]), np.vstack([behind[:1] + down, behind])
        fill(np.concatenate([front, behind[::-1]]), _CANAL)
    return fine


def _sacrum(fill: object, plate: Points, unit: float) -> None:
    """Bone below the lowest disc: background in the mask."""
    down = np.array([-(plate[1] - plate[0])[1], (plate[1] - plate[0])[0]])
    down = down / np.hypot(*down)
    along = (plate[1] - plate[0]) * 0.28
    far = np.stack([plate[0] + down * 62 * unit + along * 1.4, plate[1] + down * 62 * unit + along])
    assert callable(fill)
    fill(np.stack([plate[0], plate[1], far[1], far[0]]), _SACRUM)


def _expose(
    rng: np.random.Generator, fine: NDArray[np.uint8], height: int, width: int, noise: float, bias: float
) -> NDArray[np.float32]:
    """Mean brightness of each pixel's parts, brighter towards the coil at the back, with Rician noise."""
    bright = _BRIGHTNESS[fine]
    bone = (fine == _BODY) | (fine == _SACRUM) | (fine == _POSTERIOR)
    depth = ndimage.distance_transform_edt(bone)
    bright[bone & (depth <= _CORTEX_WIDTH * FINE * height / 640.0)] = _CORTEX
    clean = bright.reshape(height, FINE, width, FINE).mean(axis=(1, 3))
    # Marrow and muscle are grainy, on two scales.
    grain = 0.5 * cloud(rng, height, width, 5.0) + 0.3 * cloud(rng, height, width, 2.0)
    clean = clean * np.exp(0.28 * grain)
    field = upsample(rng.uniform(-1, 1, (4, 4)), height, width) + np.linspace(-1, 1, width)
    shaded = clean * np.exp(bias * 0.5 * field)
    first, second = rng.normal(0.0, noise, (2, height, width))
    return np.asarray(np.clip(np.hypot(shaded + first, second), 0.0, 1.0), dtype=np.float32)
