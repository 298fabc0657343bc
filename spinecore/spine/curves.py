"""Curves of a spine: end vertebrae, Cobb angle, apex, convexity, severity, region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinecore.spine.aasce import pairwise_angles_deg
from spinecore.spine.centerline import smooth_centers
from spinecore.spine.levels import region_of
from spinecore.spine.segments import TIE_DECIMALS, curve_segments
from spinecore.spine.vertebrae import FloatArray, Vertebrae, line_tilts_deg

DEFINITIONS = ("srs_endplate", "aasce_midbody", "centerline_tangent")
"""How an angle is drawn. They differ by degrees on the same spine: never compare one with another unsaid.

srs_endplate: superior endplate of the upper against inferior endplate of the lower end vertebra (Scoliosis
    Research Society). aasce_midbody: mid-lines of the two end vertebrae (AASCE challenge).
centerline_tangent: tangents of the smoothed line through the centres, or of a mask's middle line.
"""

SEVERITY_CUT_OFFS_DEG = (10.0, 25.0, 40.0)
"""none < 10 <= mild < 25 <= moderate < 40 <= severe. Other schemes exist: print these with the word."""

MINOR_CURVE_SPAN = 2
"""A minor curve has at least one vertebra between its end vertebrae."""


@dataclass(frozen=True)
class Alternative:
    """Another choice of end vertebrae within one level, and the angle it would give."""

    upper_level: str
    lower_level: str
    cobb_deg: float


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of one film.

    upper_line, lower_line: (2, 2) the drawn lines, image left to right, whose angle is ``cobb_deg``.
    convexity: "image-right" or "image-left"; the patient's side is not known from pixels.
    confidence: the lower of the two end vertebrae's, 0..1.
    Levels are "" where none is known (curves measured on a mask).
    """

    definition: str
    cobb_deg: float
    upper_level: str
    lower_level: str
    apex_level: str
    convexity: str
    severity: str
    region: str
    confidence: float
    upper_line: FloatArray
    lower_line: FloatArray
    alternatives: tuple[Alternative, ...] = ()


def severity_of(cobb_deg: float) -> str:
    """Severity by `SEVERITY_CUT_OFFS_DEG`; 10 degrees less a rounding error are 10 degrees."""
    words = ("none", "mild", "moderate", "severe")
    return words[sum(round(cobb_deg, TIE_DECIMALS) >= cut for cut in SEVERITY_CUT_OFFS_DEG)]


def convexity_of(upper_tilt_deg: float, lower_tilt_deg: float) -> str:
    """Side of the convexity in image terms from the tilts of both ends (positive = right side lower).

    A spine convex to the right first runs down and to the right, which raises the right side of the bodies.
    """
    return "image-right" if lower_tilt_deg > upper_tilt_deg else "image-left"


def measured_lines(vertebrae: Vertebrae, definition: str) -> tuple[FloatArray, FloatArray]:
    """The lines a definition draws at each vertebra when it is the upper, and when it is the lower end.

    Returns two arrays (n, 2, 2), directed from image left to right.
    """
    if definition == "srs_endplate":
        return vertebrae.superior_endplates, vertebrae.inferior_endplates
    if definition == "aasce_midbody":
        return vertebrae.midlines, vertebrae.midlines
    if definition == "centerline_tangent":
        lines = _tangent_lines(vertebrae)
        return lines, lines
    raise ValueError(f"unknown definition {definition!r}; choose one of {', '.join(DEFINITIONS)}")


def cobb_matrix_deg(upper_lines: FloatArray, lower_lines: FloatArray) -> FloatArray:
    """(n, n) signed angle from each line as upper end to each line as lower end, degrees in -180..180.

    Positive entries are convex to image right. The lines are directed, so that a curve beyond 90 degrees
    keeps its size instead of folding back to its supplement. Entries on and below the diagonal are zero.
    """
    turn = line_tilts_deg(lower_lines)[None, :] - line_tilts_deg(upper_lines)[:, None]
    wrapped = (turn + 180.0) % 360.0 - 180.0
    return np.triu(wrapped, k=1)


def cobb_between(vertebrae: Vertebrae, upper_level: str, lower_level: str, definition: str) -> float:
    """Cobb angle in degrees between two named end vertebrae, >= 0; ValueError when a level is missing."""
    for level in (upper_level, lower_level):
        if level not in vertebrae.levels:
            raise ValueError(f"level {level} is not among {', '.join(vertebrae.levels) or 'no vertebrae'}")
    upper, lower = vertebrae.levels.index(upper_level), vertebrae.levels.index(lower_level)
    if upper >= lower:
        raise ValueError(f"upper end vertebra {upper_level} must lie above lower end vertebra {lower_level}")
    upper_lines, lower_lines = measured_lines(vertebrae, definition)
    return float(pairwise_angles_deg(np.stack([upper_lines[upper], lower_lines[lower]]))[0, 1])


def measure_curves(vertebrae: Vertebrae, definition: str = "aasce_midbody") -> list[Curve]:
    """Curves of a film, the major one first, then from top to bottom; [] for fewer than two vertebrae.

    The major curve spans the pair of end vertebrae with the largest angle of the film and is reported
    whatever its size. Above and below it curves alternate in direction and share the end vertebra with their
    neighbour; each reaches to the vertebra tilted most the other way and is reported from 10 degrees on.
    """
    upper_lines, lower_lines = measured_lines(vertebrae, definition)
    if len(vertebrae) < 2:
        return []
    angles = cobb_matrix_deg(upper_lines, lower_lines)
    return [
        _describe(vertebrae, definition, upper, lower, angles, upper_lines, lower_lines)
        for upper, lower in curve_segments(angles, MINOR_CURVE_SPAN)
    ]


def reversal_within_deg(vertebrae: Vertebrae, curve: Curve) -> float:
    """Largest angle in the other direction between the end vertebrae of a curve measured on ``vertebrae``.

    Small within a single curve; from the size of a curve on, the end vertebrae belong to different ones.
    """
    upper, lower = vertebrae.levels.index(curve.upper_level), vertebrae.levels.index(curve.lower_level)
    angles = cobb_matrix_deg(*measured_lines(vertebrae, curve.definition))[
        upper : lower + 1, upper : lower + 1
    ]
    return float((-angles if curve.convexity == "image-right" else angles).max())


def apex_index(centers: FloatArray, upper: int, lower: int) -> int:
    """Vertebra farthest from the chord between the centres of both end vertebrae."""
    chord = centers[lower] - centers[upper]
    offset = centers[upper : lower + 1] - centers[upper]
    return upper + int(np.abs(offset[:, 0] * chord[1] - offset[:, 1] * chord[0]).argmax())


def _describe(
    vertebrae: Vertebrae,
    definition: str,
    upper: int,
    lower: int,
    angles: FloatArray,
    upper_lines: FloatArray,
    lower_lines: FloatArray,
) -> Curve:
    cobb = float(abs(angles[upper, lower]))
    apex = vertebrae.levels[apex_index(vertebrae.centers, upper, lower)]
    return Curve(
        definition=definition,
        cobb_deg=cobb,
        upper_level=vertebrae.levels[upper],
        lower_level=vertebrae.levels[lower],
        apex_level=apex,
        convexity=convexity_of(0.0, float(angles[upper, lower])),
        severity=severity_of(cobb),
        region=region_of(apex),
        confidence=float(vertebrae.confidence[[upper, lower]].min()),
        upper_line=upper_lines[upper],
        lower_line=lower_lines[lower],
        alternatives=_alternatives(vertebrae, np.abs(angles), upper, lower),
    )


def _alternatives(vertebrae: Vertebrae, size: FloatArray, upper: int, lower: int) -> tuple[Alternative, ...]:
    """Largest first."""
    last = len(vertebrae) - 1
    found = [
        Alternative(vertebrae.levels[top], vertebrae.levels[bottom], float(size[top, bottom]))
        for top in range(max(upper - 1, 0), upper + 2)
        for bottom in range(lower - 1, min(lower + 1, last) + 1)
        if top < bottom and (top, bottom) != (upper, lower)
    ]
    return tuple(sorted(found, key=lambda other: -other.cobb_deg))


def _tangent_lines(vertebrae: Vertebrae) -> FloatArray:
    """(n, 2, 2) normals of the smoothed line through the centres, as wide as the bodies."""
    points, tangents = smooth_centers(vertebrae.centers)
    across = np.stack([tangents[:, 1], -tangents[:, 0]], axis=1) * vertebrae.widths[:, None] / 2
    return np.stack([points - across, points + across], axis=1)
