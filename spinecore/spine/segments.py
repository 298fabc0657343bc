"""Which pairs of lines bound the curves of a spine: the largest first, then its neighbours, alternating."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spinecore.spine.vertebrae import FloatArray

MINOR_CURVE_DEG = 10.0
"""Beside the major curve only curves of at least this size are reported (the definition of scoliosis)."""

TIE_DECIMALS = 9
"""Angles equal to this many decimals of a degree are ties: rounding errors choose no end vertebra."""


def curve_segments(angles: FloatArray, minor_span: int) -> list[tuple[int, int]]:
    """(upper, lower) of each curve: the major one first, the others from top to bottom.

    angles: (n, n) signed degrees from line i as upper end to line j as lower end; only i < j is read.
    minor_span: least distance j - i of a minor curve.
    The major curve is the largest pair whatever its size. Above and below it curves alternate in direction
    and share the end with their neighbour; each reaches to the line turned most the other way.
    """
    if len(angles) < 2:
        return []
    major = _largest_pair(np.abs(angles))
    return [major, *sorted([*_above(angles, *major, minor_span), *_below(angles, *major, minor_span)])]


def _largest_pair(size: FloatArray) -> tuple[int, int]:
    """Never a line with itself; the shortest of equally large curves (to 1e-9 degrees), then the topmost."""
    candidates = np.where(np.triu(np.ones_like(size, dtype=bool), k=1), np.round(size, TIE_DECIMALS), -1.0)
    upper, lower = np.nonzero(candidates == candidates.max())
    best = int((lower - upper).argmin())
    return int(upper[best]), int(lower[best])


def _above(angles: FloatArray, upper: int, lower: int, span: int) -> Iterator[tuple[int, int]]:
    sign = np.sign(angles[upper, lower])
    while upper >= span:
        sign = -sign
        reach = np.round(sign * angles[: upper - span + 1, upper], TIE_DECIMALS)
        end = len(reach) - 1 - int(reach[::-1].argmax())  # of equal ones the nearest
        if reach[end] < MINOR_CURVE_DEG:
            return
        yield end, upper
        upper = end


def _below(angles: FloatArray, upper: int, lower: int, span: int) -> Iterator[tuple[int, int]]:
    sign = np.sign(angles[upper, lower])
    while lower + span < len(angles):
        sign = -sign
        first = lower + span
        reach = np.round(sign * angles[lower, first:], TIE_DECIMALS)
        end = int(reach.argmax())
        if reach[end] < MINOR_CURVE_DEG:
            return
        yield lower, first + end
        lower = first + end
