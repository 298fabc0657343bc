"""Crossed or misordered corners: found, repaired where the rule allows it, and reported.

Human landmark files list vertebrae out of order (the top one last is the commonest) and swap corners within
a body. Either makes nonsense of every angle, so nothing is measured before this check.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinecore.spine.vertebrae import BOTTOM_LEFT, BOTTOM_RIGHT, TOP_LEFT, TOP_RIGHT, FloatArray, Vertebrae

CLEAN_GAP_RATIO = (0.70, 1.15)
"""First over second distance of neighbouring centres in 98 of 100 well-ordered AASCE films."""

QUARTER_TURN = float(np.tan(np.radians(70)))
"""A body is taken for turned by a quarter from 70 degrees on; well-ordered AASCE films reach 63."""


@dataclass(frozen=True)
class OrderReport:
    """What was found, in positions of the input counted from 0.

    moved: vertebrae that were not at their place from top to bottom.
    crossed: vertebrae whose corners are crossed, mirrored or upside down.
    unrepaired: of the crossed ones, those the rule could not mend (in `check_order`: all of them).
    odd_gap: whether, with the top vertebra moved, the first gap is unlike the second (is a level missing?).
    permutation: new position -> old position.
    """

    moved: tuple[int, ...]
    crossed: tuple[int, ...]
    unrepaired: tuple[int, ...]
    odd_gap: bool
    permutation: tuple[int, ...]

    @property
    def ok(self) -> bool:
        """Nothing was wrong."""
        return not (self.moved or self.crossed)

    @property
    def usable(self) -> bool:
        """Nothing is wrong after the repair."""
        return not self.unrepaired

    def flags(self) -> tuple[str, ...]:
        """Reasons for doubt in words, for a film's quality flags."""
        found = []
        if self.moved:
            found.append(f"{len(self.moved)} vertebrae out of order, sorted by height")
        if self.crossed:
            mended = len(self.crossed) - len(self.unrepaired)
            found.append(f"{len(self.crossed)} vertebrae with crossed corners, {mended} repaired")
        if self.unrepaired:
            found.append("corners of vertebrae " + ", ".join(map(str, self.unrepaired)) + " beyond repair")
        if self.odd_gap:
            found.append("odd distance below the first vertebra: check its level")
        return tuple(found)


def is_crossed(corners: ArrayLike) -> NDArray[np.bool_]:
    """(n, 4, 2) or (4, 2) -> (n,) or (): corners that do not form an upright convex body.

    Convex and clockwise in image coordinates, left edge left of the right one, upper edge above the lower.
    """
    quads = np.asarray(corners, dtype=np.float64)
    outline = quads[..., [TOP_LEFT, TOP_RIGHT, BOTTOM_RIGHT, BOTTOM_LEFT], :]
    edge = np.roll(outline, -1, axis=-2) - outline
    following = np.roll(edge, -1, axis=-2)
    turn = edge[..., 0] * following[..., 1] - edge[..., 1] * following[..., 0]
    left = quads[..., [TOP_LEFT, BOTTOM_LEFT], 0].sum(axis=-1)
    right = quads[..., [TOP_RIGHT, BOTTOM_RIGHT], 0].sum(axis=-1)
    top = quads[..., [TOP_LEFT, TOP_RIGHT], 1].sum(axis=-1)
    bottom = quads[..., [BOTTOM_LEFT, BOTTOM_RIGHT], 1].sum(axis=-1)
    return np.asarray((turn <= 0).any(axis=-1) | (left >= right) | (top >= bottom))


def check_order(corners: ArrayLike | Vertebrae) -> OrderReport:
    """Report misplaced vertebrae and crossed corners of (n, 4, 2) without changing anything."""
    quads = _quads(corners)
    permutation = np.argsort(quads.mean(axis=1)[:, 1], kind="stable")
    found = np.flatnonzero(_wrong(quads[permutation]))
    crossed = tuple(sorted(int(permutation[index]) for index in found))
    return _report(quads, permutation, crossed, crossed)


def repair_order(corners: ArrayLike | Vertebrae) -> tuple[FloatArray, OrderReport]:
    """Sort vertebrae from top to bottom and uncross their corners; gives new corners and a report.

    Rule (ours): vertebrae are sorted by the y of their centre. In each crossed body, and in each whose
    mid-line runs within 20 degrees of the spine instead of across it, the corners are split along the line
    from the centre of the vertebra above to the one below into two upper and two lower ones, and each pair is
    put in order from left to right. Bodies that stay crossed are listed as unrepaired.
    """
    quads = _quads(corners)
    permutation = np.argsort(quads.mean(axis=1)[:, 1], kind="stable")
    ordered = quads[permutation]
    crossed_now = np.flatnonzero(_wrong(ordered))
    axes = _axes(ordered)
    for index in crossed_now:
        ordered[index] = _uncross(ordered[index], axes[index])
    crossed = tuple(sorted(int(permutation[index]) for index in crossed_now))
    left_over = tuple(sorted(int(permutation[index]) for index in np.flatnonzero(_wrong(ordered))))
    return ordered, _report(quads, permutation, crossed, left_over)


def _quads(corners: ArrayLike | Vertebrae) -> FloatArray:
    quads = corners.corners if isinstance(corners, Vertebrae) else np.asarray(corners, dtype=np.float64)
    if quads.ndim != 3 or quads.shape[1:] != (4, 2) or not np.isfinite(quads).all():
        raise ValueError(f"corners must be finite with shape (n, 4, 2), got shape {quads.shape}")
    return quads.copy()


def _axes(ordered: FloatArray) -> FloatArray:
    """(n, 2) direction of the spine at each body: from the centre above to the one below."""
    centers = ordered.mean(axis=1)
    index = np.arange(len(centers))
    axes = centers[np.minimum(index + 1, len(centers) - 1)] - centers[np.maximum(index - 1, 0)]
    axes[~axes.any(axis=1)] = (0.0, 1.0)
    return np.asarray(axes, dtype=np.float64)


def _wrong(ordered: FloatArray) -> NDArray[np.bool_]:
    """Crossed, or turned by a quarter against the spine: a quarter turn of a tilted body crosses nothing."""
    axes = _axes(ordered)
    midline = (ordered[:, [TOP_RIGHT, BOTTOM_RIGHT]] - ordered[:, [TOP_LEFT, BOTTOM_LEFT]]).sum(axis=1)
    across = midline[:, 0] * axes[:, 1] - midline[:, 1] * axes[:, 0]
    along = midline[:, 0] * axes[:, 0] + midline[:, 1] * axes[:, 1]
    return np.asarray(is_crossed(ordered) | (np.abs(along) > QUARTER_TURN * across))


def _uncross(quad: FloatArray, axis: FloatArray) -> FloatArray:
    """Reorder four points to TL, TR, BL, BR of a body on a spine running along ``axis`` (downwards)."""
    offset = quad - quad.mean(axis=0)
    across = np.array([axis[1], -axis[0]])
    by_depth = np.argsort(offset @ axis, kind="stable")
    order: list[int] = []
    for pair in (by_depth[:2], by_depth[2:]):
        order.extend(pair[np.argsort(offset[pair] @ across, kind="stable")])
    return quad[order]


def _report(
    quads: FloatArray, permutation: NDArray[np.intp], crossed: tuple[int, ...], unrepaired: tuple[int, ...]
) -> OrderReport:
    moved = _moved(permutation)
    odd_gap = False
    if len(quads) > 2 and int(permutation[0]) in moved:
        first, second = np.linalg.norm(np.diff(quads.mean(axis=1)[permutation[:3]], axis=0), axis=1)
        low, high = CLEAN_GAP_RATIO
        odd_gap = not low * second <= first <= high * second
    return OrderReport(moved, crossed, unrepaired, odd_gap, tuple(int(index) for index in permutation))


def _moved(permutation: NDArray[np.intp]) -> tuple[int, ...]:
    """Old positions outside a longest run that keeps its order: the fewest that explain the mess."""
    best: list[list[int]] = []
    for old in permutation:
        before = max((run for run in best if run[-1] < old), key=len, default=[])
        best.append([*before, int(old)])
    kept = max(best, key=len, default=[])
    return tuple(sorted({int(old) for old in permutation} - set(kept)))
