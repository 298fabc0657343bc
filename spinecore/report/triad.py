"""Standing and both bending films of one patient in one table, measurement beside truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from spinecore.measure.result import FilmResult
from spinecore.spine.curves import Curve, measure_curves
from spinecore.spine.flexibility import flexibility
from spinecore.spine.vertebrae import Vertebrae

STANDING = "coronal"
BENDING = {"image-right": "right_bending", "image-left": "left_bending"}


def triad_table(truth: Mapping[str, Vertebrae], results: Iterable[FilmResult]) -> dict[str, Any]:
    """The demonstration's table. ``truth``: true vertebrae by position; films are named by position."""
    measured = {
        PurePosixPath(result.stem).name: result.vertebrae
        for result in results
        if result.vertebrae is not None
    }
    found = measure_curves(measured[STANDING]) if STANDING in measured else []
    rows = []
    for curve in measure_curves(truth[STANDING]):
        match = _same_curve(curve, found, truth[STANDING])
        position = BENDING[curve.convexity]
        true_bend = flexibility(curve, truth[position], curve.convexity)
        bend = (
            flexibility(match, measured[position], curve.convexity)
            if match and position in measured
            else None
        )
        rows.append(
            [
                f"convex to {curve.convexity.replace('-', ' ')}",
                _levels(match),
                _levels(curve),
                *_pair(match.cobb_deg if match else None, curve.cobb_deg, "\u00b0"),
                *_pair(bend.residual_deg if bend else None, true_bend.residual_deg, "\u00b0"),
                *_pair(bend.flexibility_percent if bend else None, true_bend.flexibility_percent, "\u00a0%"),
            ]
        )
    return {
        "title": "Standing and bending",
        "note": (
            "Residual angle on the film bent towards the convexity, between the end vertebrae of the "
            "standing film, measured ones for the measurement and true ones for the truth; flexibility = "
            "(standing - residual) / standing. Definition aasce_midbody on both sides. A dash: no curve "
            "of at least 10 degrees was measured there."
        ),
        "columns": [
            "Curve",
            "Levels",
            "truth",
            "Standing",
            "truth",
            "Residual",
            "truth",
            "Flexibility",
            "truth",
        ],
        "text": (0,),
        "rows": rows,
    }


def _levels(curve: Curve | None) -> str:
    return "\u2013" if curve is None else f"{curve.upper_level}\u2013{curve.lower_level}"


def _same_curve(wanted: Curve, found: list[Curve], levels: Vertebrae) -> Curve | None:
    """The measured curve of the same side whose apex lies nearest; None without one within four levels."""
    names = levels.levels

    def distance(curve: Curve) -> int:
        return abs(names.index(curve.apex_level) - names.index(wanted.apex_level))

    same_side = [
        curve for curve in found if curve.convexity == wanted.convexity and curve.apex_level in names
    ]
    nearest = min(same_side, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= 4 else None


def _pair(value: float | None, truth: float, unit: str) -> list[str]:
    shown = (
        "\u2013"
        if value is None
        else f"{value:.0f}{unit}"
        if unit.startswith("\u00a0")
        else f"{value:.1f}{unit}"
    )
    return [shown, f"{truth:.0f}{unit}" if unit.startswith("\u00a0") else f"{truth:.1f}{unit}"]
