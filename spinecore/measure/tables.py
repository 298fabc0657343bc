"""The five tables of a run, each streamed film by film and written atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from spinecore.io.atomic import write_csv
from spinecore.io.landmarks import VERTEBRAE_COLUMNS
from spinecore.measure.result import FilmResult, translations

FILM_COLUMNS = ("film", "width", "height", "status", "reason", "quality_flags", "seconds")
CURVE_COLUMNS = (
    "film",
    "curve",
    "definition",
    "cobb_deg",
    "upper_level",
    "lower_level",
    "apex_level",
    "convexity",
    "severity",
    "confidence",
)
AASCE_COLUMNS = ("film", "a1", "a2", "a3")
TRANSLATION_COLUMNS = (
    "film",
    "measure",
    "level",
    "upper_reference",
    "lower_reference",
    "px",
    "percent_of_width",
    "mm",
    "spacing_source",
)
Row = tuple[object, ...]


def write_tables(out: Path, results: Callable[[], Iterable[FilmResult]]) -> None:
    """Write films, curves, vertebrae, aasce and translation.csv; ``results`` is walked once a table."""
    tables: tuple[tuple[str, tuple[str, ...], Callable[[FilmResult], Iterator[Row]]], ...] = (
        ("films.csv", FILM_COLUMNS, film_rows),
        ("curves.csv", CURVE_COLUMNS, curve_rows),
        ("vertebrae.csv", VERTEBRAE_COLUMNS, vertebra_rows),
        ("aasce.csv", AASCE_COLUMNS, aasce_rows),
        ("translation.csv", TRANSLATION_COLUMNS, translation_rows),
    )
    for name, columns, rows_of in tables:
        write_csv(out / name, columns, (row for result in results() for row in rows_of(result)))


def film_rows(result: FilmResult) -> Iterator[Row]:
    """One row; width and height are empty for a film that could not be read."""
    size = (result.width or "", result.height or "")
    reason = " ".join(result.reason.split())
    yield (result.film, *size, result.status, reason, ";".join(result.flags), f"{result.seconds:.3f}")


def curve_rows(result: FilmResult) -> Iterator[Row]:
    """One row a curve and definition; curve 1 is the major one."""
    for definition in result.definitions:
        for number, curve in enumerate(result.curves.get(definition, ()), start=1):
            yield (
                result.film,
                number,
                definition,
                f"{curve.cobb_deg:.3f}",
                curve.upper_level,
                curve.lower_level,
                curve.apex_level,
                curve.convexity,
                curve.severity,
                f"{curve.confidence:.3f}",
            )


def vertebra_rows(result: FilmResult) -> Iterator[Row]:
    """One row a vertebra, top to bottom, corners in original film pixels."""
    if result.vertebrae is None:
        return
    found = result.vertebrae
    for level, confidence, corners in zip(found.levels, found.confidence, found.corners, strict=True):
        yield (result.film, level, f"{confidence:.3f}", *(f"{value:.3f}" for value in corners.ravel()))


def aasce_rows(result: FilmResult) -> Iterator[Row]:
    """One row for a film with all of T1..L5, none otherwise: the rule is defined for them only."""
    if result.aasce is not None:
        yield (result.film, *(f"{angle:.3f}" for angle in result.aasce))


def translation_rows(result: FilmResult) -> Iterator[Row]:
    """One row for the trunk and two an apex, positive to image right; mm where the file states a spacing.

    Surrogates for what C7 and the sacrum would give: see :mod:`spinecore.spine.translation`.
    """
    for measure, level, references, px, percent in _translations(result):
        # spacing_mm lies between rows; these distances run across.
        mm = "" if result.spacing_mm is None else f"{px * result.spacing_mm / result.pixel_aspect:.2f}"
        yield (
            result.film,
            measure,
            level,
            *references,
            f"{px:.2f}",
            f"{percent:.1f}",
            mm,
            result.spacing_source,
        )


def _translations(result: FilmResult) -> Iterator[tuple[str, str, tuple[str, str], float, float]]:
    if (found := translations(result)) is None:
        return
    trunk, apices = found
    references = trunk.upper_reference, trunk.lower_reference
    yield "trunk_shift", trunk.upper_reference, references, trunk.px, trunk.percent
    for apex in apices:
        yield "apex_to_chord", apex.apex_level, references, apex.to_chord_px, apex.to_chord_percent
        below = apex.to_lower_vertical_px, apex.to_lower_vertical_percent
        yield "apex_to_lower_vertical", apex.apex_level, references, *below
