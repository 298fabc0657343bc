"""The page's tables of patients: type of the curve, and flexibility of each curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spinecore.measure.patients import PatientResult
from spinecore.report import theme
from spinecore.spine.curve_type import STRUCTURAL_DEG

DASH = "\u2013"


REGION_WORDS = {"MT": "main thoracic", "TL/L": "thoracolumbar or lumbar"}


def patient_tables(patients: Sequence[PatientResult]) -> list[dict[str, Any]]:
    """One row a patient, then one row a curve."""
    definition = next((found.definition for found in patients if found.definition), "")
    types = {
        "title": "Patients",
        "note": (
            f"Type after Lenke by coronal films, in the definition {definition}: a minor curve that keeps "
            f"{STRUCTURAL_DEG:g}\u00b0 on bending towards its convexity is structural. They do not show "
            "kyphosis, so other types stay possible."
        ),
        "columns": ["Patient", "Major curve", "Type", "Still possible", "What would decide"],
        "text": (0, 1, 2, 3, 4),
        "rows": [_type_row(found) for found in patients],
    }
    curves = {
        "title": "Standing and bending",
        "note": (
            "Residual angle between the end vertebrae of the standing film, on the film bent towards the "
            "convexity; flexibility = (standing - residual) / standing."
        ),
        "columns": ["Patient", "Curve", "Convex to", "Standing", "Residual", "Flexibility", "Bending film"],
        "text": (0, 1, 2, 6),
        "rows": [row for found in patients for row in _curve_rows(found)],
    }
    return [types, curves] if curves["rows"] else [types]


def _type_row(found: PatientResult) -> list[str]:
    kind = found.type
    if kind is None:
        return [found.patient, DASH, DASH, DASH, found.reason]
    words = "; ".join([*kind.needs, *([found.reason] if found.reason else [])])
    return [
        found.patient,
        REGION_WORDS.get(kind.major) or ("below 10\u00b0" if found.curves and not kind.needs else DASH),
        " or ".join(map(str, kind.coronal)) or DASH,
        ", ".join(map(str, kind.possible)) or DASH,
        words or DASH,
    ]


def _curve_rows(found: PatientResult) -> list[list[str]]:
    rows = []
    for number, curve in enumerate(found.curves, start=1):
        best = found.towards_convexity(number)
        bend = None if best is None else best.bend
        reasons = [bent.reason for bent in found.bent if bent.number == number and bent.reason]
        rows.append(
            [
                found.patient if number == 1 else "",
                f"{curve.upper_level}{DASH}{curve.lower_level}" if curve.upper_level else "levels unknown",
                curve.convexity.replace("-", " "),
                theme.degrees(curve.cobb_deg),
                DASH if bend is None else f"{bend.residual_deg:.1f}\u00b0",
                DASH if bend is None else f"{bend.flexibility_percent:.0f}\u00a0%",
                best.film if best is not None else "; ".join(reasons) or f"none bent to {curve.convexity}",
            ]
        )
    return rows
