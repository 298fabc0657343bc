"""Bones of the phantom: vertebrae with endplates and pedicles, ribs, neck, clavicles, pelvis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinecore.spine.phantom.canvas import Canvas, soft_step
from spinecore.spine.vertebrae import FloatArray, Vertebrae


@dataclass(frozen=True)
class BoneLook:
    """How bones of one film look; densities against a trunk of about 1."""

    body: float
    cortex: float
    endplate: float
    pedicle: float
    process: float
    rib: float
    waist: float
    softness: float

    @classmethod
    def random(cls, rng: np.random.Generator, length: float) -> BoneLook:
        """Look drawn by chance for a spine of ``length`` pixels."""
        contrast = rng.uniform(0.45, 1.2)
        return cls(
            body=contrast * rng.uniform(0.08, 0.22),
            cortex=contrast * rng.uniform(0.05, 0.13),
            endplate=contrast * rng.uniform(0.07, 0.18),
            pedicle=contrast * rng.uniform(0.04, 0.11),
            process=contrast * rng.uniform(0.04, 0.12),
            rib=contrast * rng.uniform(0.06, 0.13),
            waist=rng.uniform(0.03, 0.09),
            softness=max(1.0, length * rng.uniform(0.0014, 0.0028)),
        )


def draw_vertebra(
    canvas: Canvas, corners: FloatArray, look: BoneLook, rng: np.random.Generator, *, lumbar: float
) -> None:
    """One body and what lies in front of and behind it; ``lumbar`` runs from 0 (T1) to 1 (L5)."""
    upper, lower = corners[:2].mean(axis=0), corners[2:].mean(axis=0)
    center = (upper + lower) / 2
    height = float(np.hypot(*(lower - upper)))
    across = (corners[1] - corners[0] + corners[3] - corners[2]) / 2
    width = float(np.hypot(*across))
    right = across / width
    down = np.array([-right[1], right[0]])
    _draw_body(canvas, corners, center, right, down, width, look, rng)
    tilt = float(np.arctan2(right[1], right[0]))
    _draw_posterior(canvas, center, right, down, (width, height), tilt, look, rng, lumbar)


def _draw_body(
    canvas: Canvas,
    corners: FloatArray,
    center: FloatArray,
    right: FloatArray,
    down: FloatArray,
    width: float,
    look: BoneLook,
    rng: np.random.Generator,
) -> None:
    window = canvas.window(corners, 4 * look.softness)
    if window is None:
        return
    rows, columns = window
    dx = canvas.x[columns][None, :] - np.float32(center[0])
    dy = canvas.y[rows][:, None] - np.float32(center[1])
    u = dx * np.float32(right[0]) + dy * np.float32(right[1])
    v = dx * np.float32(down[0]) + dy * np.float32(down[1])
    (ul, vl), (ur, vr), (bl, wl), (br, wr) = ((corners - center) @ np.stack([right, down], axis=1)).tolist()
    top = vl + (u - ul) * np.float32((vr - vl) / (ur - ul))
    bottom = wl + (u - bl) * np.float32((wr - wl) / (br - bl))
    share = np.clip((v - top) / np.maximum(bottom - top, 1e-3), 0, 1)
    narrowing = np.float32(1) - np.float32(4 * look.waist) * share * (1 - share)
    side = np.float32(width / 2) * narrowing - np.abs(u)
    soft = look.softness
    above, below = v - top, bottom - v
    inside = soft_step(side, 2 * soft) * soft_step(np.minimum(above, below), 2 * soft)
    cortex = np.exp(-(((side - soft) / np.float32(soft)) ** 2)) * soft_step(
        np.minimum(above, below), 2 * soft
    )
    added = np.float32(look.body) * inside + np.float32(look.cortex) * cortex
    within = soft_step(side, 2 * soft)
    strength = look.endplate * rng.uniform(0.7, 1.3, size=2)
    for depth, bright in ((above, strength[0]), (below, strength[1])):
        added += np.float32(bright) * np.exp(-(((depth - soft) / np.float32(soft)) ** 2)) * within
        if rng.random() < 0.5:  # the far border of the plate, seen when the beam does not graze it
            bow = rng.uniform(2.0, 5.0) * soft * (1 - (2 * u / np.float32(width)) ** 2)
            added += (
                np.float32(0.5 * bright) * np.exp(-(((depth - soft - bow) / np.float32(soft)) ** 2)) * within
            )
    canvas.density[rows, columns] += added


def _draw_posterior(
    canvas: Canvas,
    center: FloatArray,
    right: FloatArray,
    down: FloatArray,
    size: tuple[float, float],
    tilt: float,
    look: BoneLook,
    rng: np.random.Generator,
    lumbar: float,
) -> None:
    width, height = size
    rim = max(1.0, look.softness)
    turned = rng.normal(0.0, 0.08)  # axial rotation moves pedicles and process to one side
    for side in (-1.0, 1.0):
        middle = center + right * width * (0.31 * side + turned) - down * height * rng.uniform(0.05, 0.2)
        radii = width * rng.uniform(0.075, 0.11), height * rng.uniform(0.2, 0.28)
        canvas.add_ellipse(middle, radii, tilt, 0.4 * look.pedicle, look.pedicle, rim, softness=2 * rim)
        if lumbar > 0.65 or rng.random() < 0.3:
            start = center + right * side * width * 0.42 - down * height * 0.05
            end = (
                start
                + right * side * width * rng.uniform(0.2, 0.45)
                - down * height * rng.uniform(-0.1, 0.25)
            )
            wide = np.array([0.16, 0.1]) * height
            canvas.add_path(np.stack([start, end]), wide, 0.5 * look.process, 0.4 * look.process, 2 * rim)
        facet = center + right * width * (0.3 * side + turned) + down * height * rng.uniform(0.4, 0.6)
        canvas.add_ellipse(
            facet,
            (width * 0.1, height * 0.22),
            tilt + 0.2 * side,
            rng.uniform(0.1, 0.6) * look.process,
            softness=4 * rim,
        )
    tip = center + right * width * 1.6 * turned + down * height * rng.uniform(0.1, 0.45)
    canvas.add_ellipse(
        tip,
        (width * 0.055, height * rng.uniform(0.18, 0.34)),
        tilt,
        look.process,
        0.7 * look.process,
        rim,
        2 * rim,
    )


def draw_posterior_column(
    canvas: Canvas, vertebrae: Vertebrae, look: BoneLook, rng: np.random.Generator
) -> None:
    """Laminae, ligaments and muscle along the spine: discs are darker than bodies but not empty."""
    centers, widths = vertebrae.centers, vertebrae.widths
    lead_in, lead_out = 2 * centers[0] - centers[1], 2 * centers[-1] - centers[-2]
    path = np.concatenate([[lead_in], centers, [lead_out]])
    wide = np.concatenate([widths[:1], widths, widths[-1:]])
    soft = 0.12 * float(widths.mean())
    canvas.add_path(path, 0.4 * wide, look.body * rng.uniform(0.2, 0.7), 0.0, soft)
    canvas.add_path(path, 0.75 * wide, look.body * rng.uniform(0.0, 0.4), 0.0, 3 * soft)


def extra_bodies(vertebrae: Vertebrae, count: int, *, above: bool) -> list[FloatArray]:
    """Corners of ``count`` bodies continuing the row above T1 (neck) or below L5, straightening slowly."""
    order = 0 if above else -1
    neighbour = 1 if above else -2
    centers = vertebrae.centers
    step = centers[order] - centers[neighbour]
    corners = vertebrae.corners[order] - centers[order]
    bodies = []
    position = centers[order]
    for _ in range(count):
        step = np.array([0.75 * step[0], step[1] * (0.97 if above else 1.0)])
        position = position + step
        corners = corners * np.array([0.94 if above else 1.03, 0.97])
        bodies.append(corners + position)
    return bodies


def draw_ribs(canvas: Canvas, vertebrae: Vertebrae, look: BoneLook, rng: np.random.Generator) -> None:
    """Twelve pairs of posterior ribs and fainter anterior ends of the upper ones."""
    length = float(np.linalg.norm(np.diff(vertebrae.centers, axis=0), axis=1).sum())
    droop, spread = rng.uniform(0.25, 0.6), rng.uniform(0.9, 1.15)
    share = np.linspace(0.0, 1.0, 12)
    edge = 0.7 * look.rib
    soft = max(1.0, 1.2 * look.softness)
    for index in range(12):
        body = vertebrae.corners[index]
        span = spread * length * float(np.interp(index, [0, 3, 8, 10, 11], [0.2, 0.33, 0.4, 0.3, 0.16]))
        for side, corner in ((-1.0, 0), (1.0, 1)):
            slope = float(vertebrae.tilts_deg[index]) * side / 90
            bow = 1.0 if index < 9 else 0.25  # the lowest ribs run straight down and out
            down = droop * span * (bow * share**1.8 * (0.55 + 0.06 * index) + (1 - bow) * 1.5 * share)
            rise = slope * 0.6 * span * share - 0.06 * span * np.sin(np.pi * np.minimum(1.6 * share, 1.0))
            reach = np.sin((0.6 + 0.75 * bow) * share)
            across = body[corner, 0] - 0.25 * side * vertebrae.widths[index] + side * span * reach
            path = np.stack([across, body[corner, 1] + down + rise], axis=1)
            wide = length * np.interp(share, [0, 0.3, 1], [0.0065, 0.0095, 0.0115])
            strength = look.rib * rng.uniform(0.8, 1.2) * (0.8 if index > 9 else 1.0)
            canvas.add_path(path, wide, strength, edge, soft)
            if 1 <= index <= 7:
                front = np.linspace(0.0, 1.0, 7)
                x = path[-1, 0] - side * front * span * 0.55
                y = path[-1, 1] + span * (0.1 + 0.35 * front)
                canvas.add_path(
                    np.stack([x, y], axis=1),
                    np.full(7, 0.012 * length),
                    0.35 * strength,
                    0.3 * edge,
                    2 * soft,
                )


def draw_neck(canvas: Canvas, vertebrae: Vertebrae, look: BoneLook, rng: np.random.Generator) -> None:
    """Cervical bodies above T1 and both clavicles."""
    for corners in extra_bodies(vertebrae, 5, above=True):
        draw_vertebra(canvas, corners, look, rng, lumbar=0.0)
    length = float(np.linalg.norm(np.diff(vertebrae.centers, axis=0), axis=1).sum())
    start = vertebrae.centers[2] + np.array([0.0, rng.uniform(-0.03, 0.03) * length])
    rise, share = rng.uniform(0.0, 0.12), np.linspace(0.0, 1.0, 8)
    for side in (-1.0, 1.0):
        x = start[0] + side * length * (0.04 + 0.36 * share)
        y = start[1] - length * (rise * share + 0.02 * np.sin(2 * np.pi * share))
        wide = length * np.interp(share, [0, 0.2, 1], [0.015, 0.011, 0.012])
        canvas.add_path(np.stack([x, y], axis=1), wide, 1.1 * look.rib, 0.8 * look.rib, 1.5 * look.softness)


def draw_pelvis(canvas: Canvas, vertebrae: Vertebrae, look: BoneLook, rng: np.random.Generator) -> None:
    """Sacrum with its wings below L5 and the iliac crests at both sides."""
    base = extra_bodies(vertebrae, 3, above=False)
    width = float(vertebrae.widths[-1])
    for number, corners in enumerate(base):
        middle = corners.mean(axis=0)
        narrowed = (corners - middle) * np.array([1.0 - 0.12 * number, 0.9]) + middle
        draw_vertebra(canvas, narrowed, look, rng, lumbar=0.5)
    top = base[0].mean(axis=0)
    soft = 2 * look.softness
    for side in (-1.0, 1.0):
        wing = top + np.array([side * 0.75 * width, 0.35 * width])
        canvas.add_ellipse(
            wing, (0.5 * width, 0.42 * width), 0.4 * side, 0.6 * look.body, 0.5 * look.cortex, soft, 3 * soft
        )
        crest = top + np.array([side * rng.uniform(1.9, 2.3) * width, rng.uniform(0.9, 1.5) * width])
        canvas.add_ellipse(
            crest, (1.0 * width, 1.7 * width), 0.45 * side, 0.6 * look.body, 0.6 * look.cortex, soft, 4 * soft
        )
