"""What is known about one film after its measurement, and its JSON form (schema ``spinecore.film/1``)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinecore.measure.options import SCHEMA
from spinecore.spine.curves import SEVERITY_CUT_OFFS_DEG, Alternative, Curve
from spinecore.spine.translation import (
    ApicalTranslation,
    TrunkShift,
    apical_translation,
    coronal_balance,
    trunk_shift,
)
from spinecore.spine.vertebrae import Vertebrae

MEASURED, FAILED = "measured", "failed"
DOUBTFUL_FLAGS = ("spine-doubtful", "vertebrae-incomplete")  # no spine, or one that could not be followed


@dataclass(frozen=True, eq=False)
class FilmResult:
    """One row of films.csv with all that belongs to it; the mask travels beside it, not in the JSON."""

    film: str
    stem: str
    status: str  # "measured" | "failed"
    reason: str = ""
    flags: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    primary: str = "aasce_midbody"
    definitions: tuple[str, ...] = ()  # those listed in curves.csv
    curves: dict[str, tuple[Curve, ...]] = field(
        default_factory=dict
    )  # every definition that could be measured
    vertebrae: Vertebrae | None = None
    aasce: tuple[float, float, float] | None = None
    spacing_mm: float | None = None
    spacing_source: str = "none"
    view: str | None = None
    image_right_is: str | None = None
    pixel_aspect: float = 1.0  # height of a pixel in widths; angles are taken in square pixels
    film_sha256: str = ""
    resume_key: str = ""
    outputs: dict[str, str] = field(default_factory=dict)  # kind -> path relative to OUT
    overlay_scale: float = 0.0  # film pixels to overlay pixels
    overlay_origin: tuple[int, int] = (0, 0)  # where the film's corner lies on the overlay
    mask: NDArray[np.bool_] | None = None

    @property
    def measured(self) -> bool:
        """Whether the film has angles."""
        return self.status == MEASURED

    @property
    def doubtful(self) -> bool:
        """Whether its angles may be those of no spine: they count in no statistics."""
        return any(flag in DOUBTFUL_FLAGS for flag in self.flags)

    @property
    def primary_curves(self) -> tuple[Curve, ...]:
        """Curves in the primary definition, the major one first."""
        return self.curves.get(self.primary, ())

    @property
    def confidence(self) -> float:
        """Confidence of the film: its major curve's, 0 for a failed film or one without a curve."""
        return self.primary_curves[0].confidence if self.primary_curves else 0.0

    @property
    def doubt(self) -> float:
        """Sort key of the report, largest first: failed films, then flags and low confidence."""
        if not self.measured:
            return 10.0
        lowest = 1.0
        if self.vertebrae is not None and len(self.vertebrae):
            lowest = float(self.vertebrae.confidence.min())
        return 1.0 - self.confidence + 0.5 * (1.0 - lowest) + 0.5 * len(self.flags)


def to_json(result: FilmResult) -> dict[str, Any]:
    """The JSON record of a film. Holds no patient identity beyond the film's own file name."""
    record = {
        field_.name: getattr(result, field_.name)
        for field_ in dataclasses.fields(result)
        if field_.name not in ("curves", "vertebrae", "mask")
    }
    record["schema"] = SCHEMA
    record["severity_cut_offs_deg"] = SEVERITY_CUT_OFFS_DEG
    record["curves"] = {
        name: [_curve_json(curve) for curve in found] for name, found in result.curves.items()
    }
    record["vertebrae"] = None if result.vertebrae is None else _vertebrae_json(result.vertebrae)
    record["translation"] = _translation_json(result)
    return {"schema": record.pop("schema"), **record}


def from_json(record: dict[str, Any]) -> FilmResult:
    """Inverse of :func:`to_json`; ValueError for another schema, KeyError or TypeError for a torn record."""
    if record.get("schema") != SCHEMA:
        raise ValueError(f"schema {record.get('schema')!r}, expected {SCHEMA!r}")
    values = {
        field_.name: record[field_.name] for field_ in dataclasses.fields(FilmResult) if field_.name != "mask"
    }
    values["flags"] = tuple(record["flags"])
    values["definitions"] = tuple(record["definitions"])
    values["aasce"] = None if record["aasce"] is None else tuple(record["aasce"])
    values["overlay_origin"] = tuple(record["overlay_origin"])
    values["curves"] = {
        name: tuple(_curve_from(curve) for curve in found) for name, found in record["curves"].items()
    }
    found = record["vertebrae"]
    values["vertebrae"] = None if found is None else _vertebrae_from(found)
    return FilmResult(**values)


def translations(result: FilmResult) -> tuple[TrunkShift, list[ApicalTranslation]] | None:
    """Surrogates of trunk shift, and of the translation of each apex in the primary definition, if any."""
    found = result.vertebrae
    if found is None or len(found) < 2 or found.centers[0, 1] == found.centers[-1, 1]:
        return None
    apices = [curve.apex_level for curve in result.primary_curves if curve.apex_level in found.levels]
    return trunk_shift(found), [apical_translation(found, apex) for apex in apices]


def _translation_json(result: FilmResult) -> dict[str, Any] | None:
    """In pixels and % of a vertebra's width."""
    if (found := translations(result)) is None:
        return None
    return {
        "positive": "image-right",
        "trunk_shift": dataclasses.asdict(found[0]),
        "apical": [dataclasses.asdict(apex) for apex in found[1]],
        "coronal_balance": dataclasses.asdict(coronal_balance(None, None)),
    }


def _curve_json(curve: Curve) -> dict[str, Any]:
    record = {field_.name: getattr(curve, field_.name) for field_ in dataclasses.fields(curve)}
    record["upper_line"] = curve.upper_line.tolist()
    record["lower_line"] = curve.lower_line.tolist()
    record["alternatives"] = [dataclasses.asdict(other) for other in curve.alternatives]
    return record


def _curve_from(record: dict[str, Any]) -> Curve:
    values = dict(record)
    values["upper_line"] = np.array(record["upper_line"], dtype=np.float64)
    values["lower_line"] = np.array(record["lower_line"], dtype=np.float64)
    values["alternatives"] = tuple(Alternative(**other) for other in record["alternatives"])
    return Curve(**values)


def _vertebrae_json(vertebrae: Vertebrae) -> list[dict[str, Any]]:
    return [
        {"level": level, "confidence": float(confidence), "corners": corners.tolist()}
        for level, confidence, corners in zip(
            vertebrae.levels, vertebrae.confidence, vertebrae.corners, strict=True
        )
    ]


def _vertebrae_from(records: list[dict[str, Any]]) -> Vertebrae:
    return Vertebrae(
        np.array([record["corners"] for record in records], dtype=np.float64).reshape(-1, 4, 2),
        tuple(record["level"] for record in records),
        np.array([record["confidence"] for record in records], dtype=np.float64),
    )
