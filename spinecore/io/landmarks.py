"""Corners marked by people or by an earlier run: vertebrae.csv, or landmarks.csv of an AASCE folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from spinecore.io.aasce import LANDMARK_COLUMNS, landmarks_to_corners, read_names, read_numbers
from spinecore.io.errors import FilmError, UsageError
from spinecore.io.find import film_stem
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


class LandmarkTable:
    """All films of one landmark file, found by relative path.

    An entry with another extension, or without folders, serves too where exactly one film of ``run`` (the
    names of all films to be measured) would use it: two patients' films often have the same name.
    """

    def __init__(self, path: Path, films: dict[str, MarkedFilm], run: Sequence[str] = ()) -> None:
        self.path = path
        self._films = films
        self._by_name = _index(films, lambda film: PurePosixPath(film).name)
        self._by_stem = _index(films, film_stem)
        self._users: dict[str, list[str]] = {}
        for film in run:
            if len(entries := self._entries(film)) == 1:
                self._users.setdefault(entries[0], []).append(film)

    def __len__(self) -> int:
        return len(self._films)

    def find(self, film: str) -> MarkedFilm:
        """Corners of ``film``.

        Raises :class:`FilmError` when the file lists none, or when another entry or film could be meant.
        """
        if film in self._films:
            return self._films[film]
        entries = self._entries(film)
        if len(entries) > 1:
            raise FilmError(
                f"{self.path.name} lists {' and '.join(entries)}, any of which could mean {film}; "
                "list it there by its path"
            )
        users = self._users.get(entries[0], []) if entries else []
        if film not in users:
            raise FilmError(self._absent(film))
        if others := [user for user in users if user != film]:
            more = f" or {len(others) - 1} more" if len(others) > 1 else ""
            raise FilmError(
                f"{self.path.name} lists {entries[0]}, which could mean {film} or {others[0]}{more}; "
                "list each film there by its path"
            )
        return self._films[entries[0]]

    def _entries(self, film: str) -> list[str]:
        """Entries that may mean ``film``: its path or that without extension, else its name alone."""
        for key in (film, PurePosixPath(film).name):  # a key without folders finds entries without folders
            if key in self._films:
                return [key]
            if same := self._by_stem.get(film_stem(key)):
                return same
        return []

    def _absent(self, film: str) -> str:
        reason = f"{self.path.name} lists no landmarks for this film"
        if elsewhere := self._by_name.get(PurePosixPath(film).name):
            reason += (
                f"; {elsewhere[0]} there is another path than {film}: measure the folder where listed paths "
                "begin, or change them"
            )
        return reason


def read_landmarks(path: str | Path, run: Sequence[str] = ()) -> LandmarkTable:
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
        return LandmarkTable(file, _read_vertebrae(file), run)
    if len(first) == LANDMARK_COLUMNS:
        return LandmarkTable(file, _read_aasce(file), run)
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


def _index(films: dict[str, MarkedFilm], key: Callable[[str], str]) -> dict[str, list[str]]:
    index: dict[str, list[str]] = {}
    for film in films:
        index.setdefault(key(film), []).append(film)
    return index
