"""Names of the vertebral levels and the regions a curve is assigned to by its apex."""

from __future__ import annotations

LEVELS: tuple[str, ...] = (
    *(f"T{number}" for number in range(1, 13)),
    *(f"L{number}" for number in range(1, 6)),
)
"""The seventeen levels from the first thoracic to the fifth lumbar vertebra, top to bottom."""

_LAST_OF_REGION = (("T5", "PT"), ("T11", "MT"), ("L1", "TL"), ("L5", "L"))


def unnamed_levels(count: int) -> tuple[str, ...]:
    """Names for vertebrae whose level is not known: "V1" (topmost) to "Vn"."""
    return tuple(f"V{number}" for number in range(1, count + 1))


def default_levels(count: int) -> tuple[str, ...]:
    """T1..L5 for seventeen vertebrae; unnamed levels for any other number."""
    return LEVELS if count == len(LEVELS) else unnamed_levels(count)


def region_of(apex_level: str) -> str:
    """Region of a curve whose apex is ``apex_level``: "PT", "MT", "TL", "L", or "" for unnamed levels.

    Scoliosis Research Society and Lenke: proximal thoracic with an apex down to T5, main thoracic T6 to the
    T11/T12 disc, thoracolumbar T12 to L1, lumbar below. Apices here are bodies, so the discs do not occur.
    """
    if apex_level not in LEVELS:
        return ""
    position = LEVELS.index(apex_level)
    return next(region for last, region in _LAST_OF_REGION if position <= LEVELS.index(last))
