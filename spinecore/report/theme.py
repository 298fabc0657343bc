"""Colours, fonts and words shared by overlays and pages."""

from __future__ import annotations

from functools import cache

from PIL import ImageFont

from spinecore.measure.film import LOW_CONFIDENCE, SURE
from spinecore.spine.curves import severity_of

Colour = tuple[int, int, int]

PANEL: Colour = (17, 21, 27)
PANEL_EDGE: Colour = (42, 50, 61)
TEXT: Colour = (232, 236, 241)
MUTED: Colour = (150, 161, 175)
HALO: Colour = (8, 10, 13)
WARN: Colour = (244, 190, 90)
OUTLINE: Colour = (118, 205, 232)

CURVE_COLOURS: tuple[Colour, ...] = (
    (255, 176, 67),  # major curve: amber
    (96, 190, 255),  # blue
    (190, 160, 255),  # violet
    (130, 220, 150),  # green
)
STRUCTURE_COLOURS: tuple[Colour, ...] = ((231, 138, 75), (130, 220, 150), (96, 190, 255))
"""Vertebrae, discs, canal."""

CONFIDENCE_COLOURS: tuple[tuple[float, Colour, str], ...] = (
    (SURE, (205, 235, 220), "sure"),
    (LOW_CONFIDENCE, (250, 205, 90), "doubtful"),
    (0.00, (255, 105, 97), "weak"),
)

DEFINITION_WORDS = {
    "srs_endplate": "upper endplate of the upper and lower endplate of the lower end vertebra",
    "aasce_midbody": "mid-lines of the two end vertebrae",
    "centerline_tangent": "tangents of the spine's smoothed middle line",
}
AID_SENTENCE = "A measuring aid, not a diagnosis."


def degrees(value: float) -> str:
    """An angle as it is shown, to 0.1 degrees; never rounded up across a severity cut-off beside its word."""
    rounded = round(value, 1)
    if severity_of(rounded) != severity_of(value) and rounded > value:
        rounded -= 0.1
    return f"{rounded:.1f}\u00b0"


def curve_colour(number: int) -> Colour:
    """Colour of the curve counted from 0, the major one first."""
    return CURVE_COLOURS[min(number, len(CURVE_COLOURS) - 1)]


def confidence_colour(confidence: float) -> Colour:
    """Colour of a vertebra's outline."""
    return next(colour for least, colour, _ in CONFIDENCE_COLOURS if confidence >= least)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font: the same on every machine, nothing to install."""
    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType; reinstall it from PyPI to draw overlays")
    return found
