"""Standing and bending films of one patient together: residual angles, flexibility, type of the curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spinecore.io.atomic import write_csv
from spinecore.io.positions import BENT_TO, STANDING, FilmPosition
from spinecore.measure.result import FilmResult
from spinecore.spine import Curve, CurveType, Flexibility, curve_type, flexibility
from spinecore.spine.curve_type import curve_region
from spinecore.spine.vertebrae import Vertebrae

PATIENT_COLUMNS = (
    "patient",
    "standing_film",
    "bending_films",
    "definition",
    "major_region",
    "lenke_type",
    "possible_types",
    "needs",
    "reason",
)
FLEXIBILITY_COLUMNS = (
    "patient",
    "curve",
    "definition",
    "cobb_deg",
    "upper_level",
    "lower_level",
    "apex_level",
    "region",
    "convexity",
    "bending_film",
    "bending_side",
    "towards_convexity",
    "residual_deg",
    "flexibility_percent",
    "reason",
)
TABLES = ("patients.csv", "flexibility.csv")


@dataclass(frozen=True, eq=False)
class BentCurve:
    """One standing curve on one bending film; ``reason`` says why ``bend`` is None."""

    number: int  # of the curve on the standing film, from 1, the major one first
    curve: Curve
    film: str
    bend: Flexibility | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class PatientResult:
    """What a patient's films give together; ``reason`` says what is missing or doubtful."""

    patient: str
    standing: str = ""
    bending: tuple[str, ...] = ()
    definition: str = ""
    curves: tuple[Curve, ...] = ()
    bent: tuple[BentCurve, ...] = ()
    type: CurveType | None = None
    reason: str = ""

    def towards_convexity(self, number: int) -> BentCurve | None:
        """The film bent towards the convexity of a curve that leaves the least of it."""
        found = [
            (bent.bend.residual_deg, place)
            for place, bent in enumerate(self.bent)
            if bent.number == number and bent.bend is not None and bent.bend.towards_convexity
        ]
        return self.bent[min(found)[1]] if found else None


def measure_patients(
    positions: Mapping[str, FilmPosition], results: Iterable[FilmResult]
) -> list[PatientResult]:
    """One result a patient, in order of names. ``positions``: by film; films without one are passed over."""
    films: dict[str, list[FilmResult]] = {}
    for result in results:
        if result.film in positions:
            films.setdefault(positions[result.film].patient, []).append(result)
    return [_patient(name, films[name], positions) for name in sorted(films)]


def _patient(name: str, films: list[FilmResult], positions: Mapping[str, FilmPosition]) -> PatientResult:
    bending = [film for film in films if positions[film.film].position != STANDING]
    standing = next((film for film in films if positions[film.film].position == STANDING), None)
    found = PatientResult(name, bending=tuple(film.film for film in bending))
    if standing is None:
        return dataclasses.replace(found, reason="no standing film in this run")
    found = dataclasses.replace(found, standing=standing.film)
    if reason := _unusable(standing):
        return dataclasses.replace(found, reason=reason)
    curves = standing.primary_curves
    bent = tuple(
        _bent(number, curve, standing, film, positions[film.film].position)
        for number, curve in enumerate(curves, start=1)
        for film in bending
    )
    found = dataclasses.replace(found, definition=standing.primary, curves=curves, bent=bent)
    best = {number: found.towards_convexity(number + 1) for number in range(len(curves))}
    residuals = {n: b.bend.residual_deg for n, b in best.items() if b is not None and b.bend is not None}
    reason = _one_sided(bent, positions)
    if "major-spans-curves" in standing.flags:
        return dataclasses.replace(
            found, reason=f"{standing.film}: its largest angle spans curves to both sides"
        )
    return dataclasses.replace(found, type=curve_type(curves, residuals), reason=reason)


def _unusable(film: FilmResult) -> str:
    if not film.measured:
        return f"{film.film}: {film.reason}"
    return f"{film.film}: doubtful, a spine could not be followed" if film.doubtful else ""


def _bent(number: int, curve: Curve, standing: FilmResult, film: FilmResult, position: str) -> BentCurve:
    reason, bend = _unusable(film), None
    sides = standing.image_right_is, film.image_right_is
    if not reason and None not in sides and sides[0] != sides[1]:
        reason = f"{film.film}: image right is {sides[1]}, on the standing film {sides[0]}; mirror one"
    if not reason:
        try:
            bend = flexibility(curve, _upright(film), position if position in BENT_TO else None)
        except ValueError as error:
            reason = f"{film.film}: {error}"
    return BentCurve(number, curve, film.film, bend, reason)


def _upright(film: FilmResult) -> Vertebrae:
    """Corners in square pixels: angles are only true there."""
    if film.vertebrae is None:
        raise ValueError("vertebrae are needed and the film has none (masks give none)")
    return dataclasses.replace(film.vertebrae, corners=film.vertebrae.corners * (1.0, film.pixel_aspect))


def _one_sided(bent: tuple[BentCurve, ...], positions: Mapping[str, FilmPosition]) -> str:
    """Films whose side was left to the lean, all to one side: one of them may lean the other way."""
    unnamed = [b for b in bent if positions[b.film].position not in BENT_TO]
    sides = {b.film: b.bend.bending_side for b in unnamed if b.bend is not None}
    if len(sides) < 2 or len(set(sides.values())) > 1:
        return ""
    films, side = " and ".join(sides), next(iter(sides.values()))
    return f"{films} all lean to {side}; if that is wrong, list them as image-left or image-right"


def write_patients(out: Path, patients: list[PatientResult]) -> None:
    """Write patients.csv and flexibility.csv."""
    write_csv(out / TABLES[0], PATIENT_COLUMNS, map(_patient_row, patients))
    write_csv(out / TABLES[1], FLEXIBILITY_COLUMNS, (row for p in patients for row in _bent_rows(p)))


def remove_patients(out: Path) -> None:
    """Remove the tables of an earlier run."""
    for name in TABLES:
        (out / name).unlink(missing_ok=True)


def _patient_row(found: PatientResult) -> tuple[object, ...]:
    kind = found.type or CurveType("", (), (), ())
    return (
        found.patient,
        found.standing,
        ";".join(found.bending),
        found.definition,
        kind.major,
        ";".join(map(str, kind.coronal)),
        ";".join(map(str, kind.possible)),
        "; ".join(kind.needs),
        " ".join(found.reason.split()),
    )


def _bent_rows(found: PatientResult) -> Iterator[tuple[object, ...]]:
    for bent in found.bent:
        curve, bend = bent.curve, bent.bend
        figures: tuple[object, ...] = ("", "", "", "")
        if bend is not None:
            towards = "yes" if bend.towards_convexity else "no"
            figures = (
                bend.bending_side,
                towards,
                f"{bend.residual_deg:.3f}",
                f"{bend.flexibility_percent:.1f}",
            )
        yield (
            found.patient,
            bent.number,
            curve.definition,
            f"{curve.cobb_deg:.3f}",
            curve.upper_level,
            curve.lower_level,
            curve.apex_level,
            curve_region(curve),
            curve.convexity,
            bent.film,
            *figures,
            " ".join(bent.reason.split()),
        )
