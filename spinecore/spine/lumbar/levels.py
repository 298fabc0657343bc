"""Names of lumbar levels, counted up from the sacrum. The rule is our choice; "unknown" is a legal answer.

The sacrum is no part of the masks: where the lowest disc has nothing below it, it is L5/S1. A body below the
lowest disc means that the slice ends above the sacrum, or that a disc was missed: then nobody can count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .column import Column

UPWARDS = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8", "T7", "T6")
GAP = 1.6
"""Discs further apart than this times their median distance have one missing between them."""
SURE = 0.9
SHORT = 0.6
"""A lowest disc shorter than this share of the median one may lie within the sacrum."""
SMALL = 0.5
"""A lowest body smaller than this share of the median one may be the sacrum, found in part."""


@dataclass(frozen=True)
class Levels:
    """Names in the order of `Column`: "L3" for bodies, "L3/L4" for discs; empty strings where unknown.

    confidence: 0 unknown, 1 nothing speaks against the count; why: what speaks against it, in words.
    """

    bodies: tuple[str, ...]
    discs: tuple[str, ...]
    confidence: float
    why: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether levels have names."""
        return self.confidence > 0


def name_levels(column: Column) -> Levels:
    """Levels of a column."""
    count = len(column.discs)
    problem = _problem(column)
    if problem:
        return Levels(("",) * len(column.bodies), ("",) * count, 0.0, (problem,))
    bodies = [UPWARDS[count - 1 - k] for k in range(count)]
    discs = [f"{body}/{below}" for body, below in zip(bodies, [*bodies[1:], "S1"], strict=True)]
    doubts: list[str] = []
    if count >= 3:
        steps = np.linalg.norm(np.diff([disc.centre for disc in column.discs], axis=0), axis=1)
        wide = int((steps > GAP * np.median(steps)).sum())
        if wide:
            doubts.append(f"{wide} wide gap{'s' if wide > 1 else ''} between discs: one may be missing")
    if count < 5:
        doubts.append(f"only {count} disc{'s' if count > 1 else ''} visible")
    doubts += _sacral(column)
    if any(body is None for body in column.bodies[1:]):
        doubts.append("a vertebral body between two discs was not found")
    return Levels(tuple(bodies), tuple(discs), round(SURE * 0.5 ** len(doubts), 3), tuple(doubts))


def _sacral(column: Column) -> list[str]:
    """What speaks for the lowest disc being a remnant between two sacral segments."""
    found: list[str] = []
    lengths = [float(np.ptp(disc.pixels @ disc.along)) for disc in column.discs]
    if len(lengths) >= 3 and lengths[-1] < SHORT * np.median(lengths[:-1]):
        found.append("the lowest disc is short: it may lie within the sacrum")
    areas = [len(body.pixels) for body in column.bodies if body is not None]
    if len(areas) >= 3 and column.bodies[-1] is not None and areas[-1] < SMALL * np.median(areas[:-1]):
        found.append("the lowest vertebral body is small: it may be the sacrum")
    return found


def _problem(column: Column) -> str:
    count = len(column.discs)
    if count == 0:
        return "no disc was found"
    if len(column.bodies) > count:
        return "a vertebral body lies below the lowest disc: the slice may end above the sacrum"
    if column.discs[-1].touches_border:
        return "the lowest disc is cut off by the edge of the slice"
    return f"{count} discs are more than there are names" if count > len(UPWARDS) else ""
