"""Sideways displacement on one frontal film, under names that say what it was measured against.

Apical vertebral translation proper is measured from the C7 plumb line (thoracic) or from the central sacral
vertical line (lumbar), and coronal balance is the one against the other. C7 and S1 are not among the
seventeen vertebrae T1..L5, so what can be had from those alone are surrogates, and they are called that.
"""

from __future__ import annotations

from dataclasses import dataclass

from spinecore.spine.vertebrae import Vertebrae


@dataclass(frozen=True)
class ApicalTranslation:
    """Surrogates of apical translation; positive = to image right.

    to_chord_px: horizontal distance of the apical centre from the straight line between the centres of
        ``upper_reference`` and ``lower_reference``.
    to_lower_vertical_px: the same from the vertical through the centre of ``lower_reference``.
    The ``_percent`` fields are shares of the width of the apical vertebra.
    """

    apex_level: str
    upper_reference: str
    lower_reference: str
    to_chord_px: float
    to_chord_percent: float
    to_lower_vertical_px: float
    to_lower_vertical_percent: float


@dataclass(frozen=True)
class TrunkShift:
    """Horizontal distance from the lower to the upper reference centre; positive = trunk to image right.

    percent: share of the mean vertebral width. With T1 and L5 it stands for coronal balance but is not it.
    """

    upper_reference: str
    lower_reference: str
    px: float
    percent: float


@dataclass(frozen=True)
class CoronalBalance:
    """C7 plumb line to central sacral vertical line, pixels, positive = image right; None = not visible."""

    px: float | None
    reason: str


def apical_translation(vertebrae: Vertebrae, apex_level: str) -> ApicalTranslation:
    """Surrogates for the vertebra ``apex_level``, against the topmost and lowest vertebra of the film."""
    if apex_level not in vertebrae.levels or len(vertebrae) < 2:
        raise ValueError(
            f"apex {apex_level!r} must be one of at least two vertebrae, got {', '.join(vertebrae.levels)}"
        )
    apex = vertebrae.levels.index(apex_level)
    centers = vertebrae.centers
    (top_x, top_y), (low_x, low_y), (apex_x, apex_y) = centers[0], centers[-1], centers[apex]
    if top_y == low_y:
        raise ValueError("the first and the last vertebra lie at one height: the film is not upright")
    chord_x = top_x + (low_x - top_x) * (apex_y - top_y) / (low_y - top_y)
    width = vertebrae.widths[apex]
    return ApicalTranslation(
        apex_level=apex_level,
        upper_reference=vertebrae.levels[0],
        lower_reference=vertebrae.levels[-1],
        to_chord_px=float(apex_x - chord_x),
        to_chord_percent=float(100 * (apex_x - chord_x) / width),
        to_lower_vertical_px=float(apex_x - low_x),
        to_lower_vertical_percent=float(100 * (apex_x - low_x) / width),
    )


def trunk_shift(vertebrae: Vertebrae) -> TrunkShift:
    """Shift of the topmost against the lowest vertebra of the film (T1 against L5 when all are there)."""
    if len(vertebrae) < 2:
        raise ValueError(f"trunk shift needs two vertebrae, got {len(vertebrae)}")
    shift = float(vertebrae.centers[0, 0] - vertebrae.centers[-1, 0])
    return TrunkShift(
        vertebrae.levels[0], vertebrae.levels[-1], shift, float(100 * shift / vertebrae.widths.mean())
    )


def coronal_balance(
    c7_center: tuple[float, float] | None, s1_center: tuple[float, float] | None
) -> CoronalBalance:
    """Coronal balance where C7 and S1 are visible, given as (x, y) centres; otherwise no number, and why."""
    missing = [name for name, point in (("C7", c7_center), ("S1", s1_center)) if point is None]
    if c7_center is None or s1_center is None:
        return CoronalBalance(None, f"{' and '.join(missing)} not visible or not marked on this film")
    return CoronalBalance(float(c7_center[0] - s1_center[0]), "")
