"""Implants on phantom films: two rods with pedicle screws."""

from __future__ import annotations

import numpy as np

from spinecore.spine.phantom.canvas import Canvas
from spinecore.spine.vertebrae import Vertebrae


def draw_rods(canvas: Canvas, vertebrae: Vertebrae, rng: np.random.Generator) -> None:
    """Rods along part of the spine, screwed to the pedicles of about two thirds of the levels between."""
    first, last = int(rng.integers(1, 6)), int(rng.integers(9, len(vertebrae)))
    centers, widths = vertebrae.centers[first : last + 1], vertebrae.widths[first : last + 1]
    thickness = float(widths.mean()) * 0.05
    density = float(rng.uniform(0.8, 1.5))
    along = np.linspace(0, len(centers) - 1, 6 * len(centers))
    index = np.arange(len(centers))
    for side in (-1.0, 1.0):
        x = np.convolve(np.pad(centers[:, 0], 2, mode="edge"), np.full(5, 0.2), mode="valid")
        rod = np.stack([x + side * 0.33 * widths, centers[:, 1]], axis=1)
        path = np.stack([np.interp(along, index, rod[:, axis]) for axis in (0, 1)], axis=1)
        canvas.add_path(path, np.full(len(path), thickness), density, 0.0, 2.0)
        for point, width in zip(rod, widths, strict=True):
            if rng.random() < 0.66:
                tip = point + np.array([-side * rng.uniform(0.2, 0.4), rng.uniform(-0.1, 0.1)]) * width
                canvas.add_path(np.stack([point, tip]), np.array([1.3, 0.6]) * thickness, density, 0.0, 2.0)
                canvas.add_ellipse(point, (2.2 * thickness, 2.2 * thickness), 0.0, density, softness=2.0)
