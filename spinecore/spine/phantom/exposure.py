"""From density to a film: scatter, tone, noise, collimation, marker."""

from __future__ import annotations

import numpy as np

from spinecore.spine.phantom.canvas import Image, blur, cloud, soft_step

_GLYPHS = {
    "R": ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1"),
    "L": ("1....", "1....", "1....", "1....", "1....", "1....", "11111"),
}


def expose(density: Image, rng: np.random.Generator, length: float) -> Image:
    """(H, W) density -> brightness in 0..1, bone bright, as a processed film shows it."""
    height, width = density.shape
    shading = cloud(rng, height, width, 0.6 * max(height, width)) * np.float32(rng.uniform(0.0, 0.06))
    density = blur(density, rng.uniform(0.0005, 0.0016) * length) + shading * (density > 0.05)
    steepness, middle = rng.uniform(2.2, 4.5), rng.uniform(0.7, 1.15)
    shown = 1 / (1 + np.exp(-np.float32(steepness) * (density - np.float32(middle))))
    low, high = np.quantile(shown[::4, ::4], [0.01, 0.998])
    shown = np.clip((shown - low) / max(float(high - low), 1e-3), 0, 1)
    shown = shown ** np.float32(rng.uniform(0.8, 1.4)) * np.float32(rng.uniform(0.75, 1.0))
    grain = rng.standard_normal(density.shape, dtype=np.float32)
    if rng.random() < 0.5:
        grain = blur(grain, 0.7) * np.float32(2.0)
    amount = np.float32(rng.uniform(0.004, 0.02))
    shown = shown + amount * grain * (np.float32(0.4) + shown)
    return np.asarray(np.clip(shown, 0, 1), dtype=np.float32)


def collimate(image: Image, rng: np.random.Generator) -> Image:
    """Blacken or whiten a border of up to 3 % of each side, slightly askew, on about a third of the films."""
    if rng.random() > 0.35:
        return image
    height, width = image.shape
    value = np.float32(0.0 if rng.random() < 0.7 else 1.0)
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    open_field = np.ones_like(image)
    for distance, extent, along in (
        (x, width, y),
        (width - 1 - x, width, y),
        (y, height, x),
        (height - 1 - y, height, x),
    ):
        if rng.random() < 0.5:
            border = rng.uniform(0.0, 0.03) * extent + rng.uniform(-0.004, 0.004) * along
            open_field = open_field * soft_step(distance - border, 2.0)
    return open_field * image + (1 - open_field) * value


def stamp_marker(image: Image, letter: str, row: int, column: int, size: int) -> Image:
    """Write a lead letter ("R" or "L") in full brightness; parts outside the film are cut off."""
    if letter not in _GLYPHS:
        raise ValueError(f"marker must be one of {', '.join(_GLYPHS)}, got {letter!r}")
    glyph = np.array([[cell == "1" for cell in line] for line in _GLYPHS[letter]])
    cell = max(1, size // len(glyph))
    big = np.kron(glyph, np.ones((cell, cell), dtype=bool))
    marked = image.copy()
    target = marked[row : row + big.shape[0], column : column + big.shape[1]]
    target[big[: target.shape[0], : target.shape[1]]] = 1.0
    return marked
