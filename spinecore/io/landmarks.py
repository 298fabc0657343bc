"""Corners marked by people or by an earlier run: vertebrae.csv, or landmarks.csv of an AASCE folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinecore.io.aasce import LANDMARK_COLUMNS, landmarks_to_corners, read_names, read_numbers
from spinecore.io.errors import UsageError
from spinecore.io.film_table import FilmTable
from spinecore.spine.levels import LEVELS

CORNER_COLUMNS = ("tl_x", "tl_y", "tr_x", "tr_y", "bl_x", "bl_y", "br_x", "br_y")
VERTEBRAE_COLUMNS = ("film", "level", "confidence", *CORNER_COLUMNS)


@dataclass(frozen=True)
class MarkedFilm:
    """The corners listed for one film, as listed: neither sorted nor repaired."""

    corners: NDArray[np.float64]  # (n, 4, 2); pixels, or fractions of width and height
    levels: tuple[str, ...] | None  # None: not named in the file
    confidence: NDArray[np.float64]  # (n,)
    fractions: bool = False

    def corners_px(self, width: int, height: int) -> NDArray[np.float64]:
        """(n, 4, 2) corners in pixels of a film of this size."""
        if not self.fractions:
            return self.corners
        return self.corners * np.array([width, height], dtype=np.float64)


def read_landmarks(path: str | Path, run: Sequence[str] = ()) -> FilmTable[MarkedFilm]:
    """Read vertebrae.csv (by its header) or landmarks.csv of an AASCE folder (136 numbers a line).

    ``run`` names all films of the run; without them a film is found by its path alone. Raises
    :class:`UsageError` naming the file, the line and the remedy.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"{file}: no such file; --landmarks takes vertebrae.csv or an AASCE landmarks.csv")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            first = next(csv.reader(stream), [])
    except UnicodeDecodeError:
        raise UsageError(
            f"{file}: is not text; --landmarks takes vertebrae.csv or an AASCE landmarks.csv"
        ) from None
    if "film" in first:
        return FilmTable(file, "landmarks", _read_vertebrae(file), run)
    if len(first) == LANDMARK_COLUMNS:
        return FilmTable(file, "landmarks", _read_aasce(file), run)
    raise UsageError(
        f"{file}: neither vertebrae.csv (header {', '.join(VERTEBRAE_COLUMNS[:4])} ...) "
        f"nor an AASCE landmarks.csv ({LANDMARK_COLUMNS} columns): the first line has {len(first)} columns"
    )


def _read_aasce(file: Path) -> dict[str, MarkedFilm]:
    names_file = file.with_name("filenames.csv")
    if not names_file.is_file():
        raise UsageError(f"{names_file}: missing; an AASCE landmarks.csv needs filenames.csv beside it")
    names = read_names(names_file)
    rows = read_numbers(file, LANDMARK_COLUMNS)
    if len(rows) != len(names):
        raise UsageError(f"{file}: {len(rows)} rows for {len(names)} names in filenames.csv")
    corners = landmarks_to_corners(rows, np.ones((len(rows), 2), dtype=np.int64))
    sure = np.ones(corners.shape[1])
    return {
        name: MarkedFilm(film_corners, None, sure, fractions=True)
        for name, film_corners in zip(names, corners, strict=True)
    }


def _read_vertebrae(file: Path) -> dict[str, MarkedFilm]:
    rows: dict[str, list[tuple[str, float, list[float]]]] = {}
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        needed = [name for name in VERTEBRAE_COLUMNS if name != "confidence"]
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise UsageError(
                f"{file}: column {missing[0]} is missing; expected {', '.join(VERTEBRAE_COLUMNS)}"
            )
        for row in reader:
            try:
                values = [float(row[name]) for name in CORNER_COLUMNS]
                confidence = float(row.get("confidence") or 1.0)
            except (TypeError, ValueError):
                raise UsageError(f"{file}: line {reader.line_num} holds a value that is no number") from None
            if not np.isfinite([*values, confidence]).all() or not 0.0 <= confidence <= 1.0:
                raise UsageError(
                    f"{file}: line {reader.line_num}: corners must be finite, confidence in 0..1"
                )
            rows.setdefault(row["film"], []).append((row["level"], confidence, values))
    if not rows:
        raise UsageError(f"{file}: lists no vertebra")
    return {film: _marked(file, film, entries) for film, entries in rows.items()}


def _marked(file: Path, film: str, entries: list[tuple[str, float, list[float]]]) -> MarkedFilm:
    levels = tuple(level for level, _, _ in entries)
    doubled = sorted({level for level in levels if levels.count(level) > 1})
    if doubled:
        raise UsageError(f"{file}: film {film} lists level {doubled[0]} more than once")
    unknown = [level for level in levels if level not in LEVELS and not level.startswith("V")]
    if unknown:
        raise UsageError(f"{file}: film {film}: level {unknown[0]!r} is neither T1..T12, L1..L5 nor V1..Vn")
    corners = np.array([values for _, _, values in entries], dtype=np.float64).reshape(-1, 4, 2)
    return MarkedFilm(corners, levels, np.array([confidence for _, confidence, _ in entries]))
