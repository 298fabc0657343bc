"""Flexibility of a curve from a side-bending film of the same patient."""

from __future__ import annotations

from dataclasses import dataclass

from spinecore.spine.curves import Curve, cobb_matrix_deg, measured_lines
from spinecore.spine.vertebrae import Vertebrae


@dataclass(frozen=True)
class Flexibility:
    """One standing curve on one bending film, measured between the end vertebrae of the standing film.

    residual_deg: angle left on bending, in the direction of the standing curve; negative = overcorrected.
    flexibility_percent: (standing - residual) / standing x 100.
    towards_convexity: whether the film bends towards the convexity, the only case in which the figure is
        the flexibility of that curve.
    """

    definition: str
    upper_level: str
    lower_level: str
    standing_deg: float
    residual_deg: float
    flexibility_percent: float
    bending_side: str
    towards_convexity: bool


def bending_side(bending: Vertebrae) -> str:
    """Where the topmost vertebra leans against the lowest one: "image-right" or "image-left"."""
    if len(bending) < 2:
        raise ValueError(f"the side of bending needs two vertebrae, got {len(bending)}")
    return "image-right" if bending.centers[0, 0] > bending.centers[-1, 0] else "image-left"


def flexibility(curve: Curve, bending: Vertebrae, side: str | None = None) -> Flexibility:
    """Residual angle and flexibility of a standing ``curve`` on a bending film.

    side: "image-left" or "image-right" when it is known; default: where the trunk leans.
    Raises ValueError when the curve has no levels, a level is missing on the bending film, or the standing
    angle is zero.
    """
    if side not in (None, "image-left", "image-right"):
        raise ValueError(f"side must be image-left or image-right, got {side!r}")
    missing = [name for name in (curve.upper_level, curve.lower_level) if name not in bending.levels]
    if missing:
        raise ValueError(
            f"end vertebra {' and '.join(name or '(unnamed)' for name in missing)} of the standing curve "
            f"is not among the bending film's {', '.join(bending.levels) or 'none'}"
        )
    if curve.cobb_deg == 0:
        raise ValueError("a standing angle of 0 degrees has no flexibility")
    upper, lower = bending.levels.index(curve.upper_level), bending.levels.index(curve.lower_level)
    signed = float(cobb_matrix_deg(*measured_lines(bending, curve.definition))[upper, lower])
    residual = signed if curve.convexity == "image-right" else -signed
    bent_to = bending_side(bending) if side is None else side
    return Flexibility(
        definition=curve.definition,
        upper_level=curve.upper_level,
        lower_level=curve.lower_level,
        standing_deg=curve.cobb_deg,
        residual_deg=residual,
        flexibility_percent=100 * (curve.cobb_deg - residual) / curve.cobb_deg,
        bending_side=bent_to,
        towards_convexity=bent_to == curve.convexity,
    )
