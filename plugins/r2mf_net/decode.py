"""From the vertebra head's maps of one film to 17 vertebrae: a chain of bodies from top to bottom.

Every peak of the level-free centre map is a candidate body. Dynamic programming picks 17 of them, top to
bottom, so that each sits where its level map expects it, neighbours touch (gap between plates) and sizes
change slowly.
Our choice; the paper segments the whole column only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BODIES = 17


@dataclass(frozen=True)
class Chain:
    """17 bodies: corners (17,4,2) in the caller's pixels, confidence (17,) in 0..1, was a chain found."""

    corners: Floats
    confidence: Floats
    complete: bool


@dataclass(frozen=True)
class HeadMaps:
    """Maps of one film on an (h, w) grid.

    level: (17,h,w) log-probabilities, each summing to 1 over the film; center: (h,w) log-density of any body;
    corners: (h,w,4,2) corners proposed by each cell, in pixels in which the film is close to isotropic.
    """

    level: Floats
    center: Floats
    corners: Floats


def _window(a: Floats, y: int, x: int, ry: int, rx: int) -> Floats:
    return a[max(0, y - ry) : y + ry + 1, max(0, x - rx) : x + rx + 1]


def _peaks(center: Floats, limit: int = 48) -> NDArray[np.intp]:
    """Cells that are maxima of their 3 x 5 window with at least e^-6 of a body's share, top to bottom."""
    padded = np.pad(center, ((1, 1), (2, 2)), constant_values=-np.inf)
    shifted = [
        padded[dy : dy + center.shape[0], dx : dx + center.shape[1]] for dy in range(3) for dx in range(5)
    ]
    top = np.maximum.reduce(shifted)
    cells = np.argwhere((center >= top) & (center > -np.log(BODIES) - 6.0))
    cells = cells[np.argsort(-center[cells[:, 0], cells[:, 1]], kind="stable")][:limit]
    return cells[np.argsort(cells[:, 0], kind="stable")]


def _corners_at(maps: HeadMaps, y: int, x: int) -> Floats:
    """Corners proposed round a cell, weighted by the centre density."""
    weight = np.exp(_window(maps.center, y, x, 1, 2))
    corners: Floats = (_window(maps.corners, y, x, 1, 2) * weight[..., None, None]).sum((0, 1)) / weight.sum()
    return corners


def _transition(corners: Floats) -> Floats:
    """(n,n) log-preference that body j follows body i."""
    top, bottom = corners[:, :2].mean(1), corners[:, 2:].mean(1)
    height = np.linalg.norm(bottom - top, axis=1) + 1e-3
    mean_height = (height[:, None] + height[None]) / 2
    gap = np.linalg.norm(top[None] - bottom[:, None], axis=-1) / mean_height
    ratio = np.log(height[None] / height[:, None])
    score: Floats = np.maximum(-24.0 * np.maximum(0.0, gap - 0.35) ** 2 - 4.0 * ratio**2, -30.0)
    y = corners[:, :, 1].mean(1)
    score[y[None] - y[:, None] < 0.5 * mean_height] = -1e9
    return score


def _best_path(unary: Floats, transition: Floats) -> list[int] | None:
    """Viterbi: unary (17,n), transition (n,n) -> 17 indices, or None when no chain fits."""
    score, back = unary[0], []
    for k in range(1, BODIES):
        joint = score[:, None] + transition
        back.append(joint.argmax(0))
        score = joint.max(0) + unary[k]
    i = int(score.argmax())
    if score[i] < -1e8:
        return None
    path = [i]
    for b in reversed(back):
        i = int(b[i])
        path.append(i)
    return path[::-1]


def _confidence(maps: HeadMaps, cells: NDArray[np.intp]) -> Floats:
    """(17,) share of each level's map around its cell, times the number of bodies seen there (<= 1)."""
    level = [np.exp(_window(maps.level[k], int(y), int(x), 3, 5)).sum() for k, (y, x) in enumerate(cells)]
    body = [np.exp(_window(maps.center, int(y), int(x), 3, 5)).sum() * BODIES for y, x in cells]
    both: Floats = np.clip(np.array(level), 0.0, 1.0) * np.clip(np.array(body), 0.0, 1.0)
    return both


def decode_chain(maps: HeadMaps, fallback: Floats) -> Chain:
    """17 bodies of one film; `fallback` (17,4,2) stands in, confidence 0, when no chain of 17 is found."""
    cells = _peaks(maps.center)
    if len(cells) >= BODIES:
        corners = np.stack([_corners_at(maps, int(y), int(x)) for y, x in cells])
        body = np.clip(maps.center[cells[:, 0], cells[:, 1]] + np.log(BODIES), -6.0, 0.0)
        level = np.clip(maps.level[:, cells[:, 0], cells[:, 1]], -14.0, 0.0)
        path = _best_path(level + body, _transition(corners))
        if path is not None:
            return Chain(corners[path], _confidence(maps, cells[path]), True)
    # Expected positions of levels that the film does not show may overlap; at least they go downwards.
    return Chain(fallback[np.argsort(fallback[..., 1].mean(1))], np.zeros(BODIES), False)
