"""Which films belong to one patient, and how the patient stood on them: a table the user writes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spinecore.io.errors import UsageError
from spinecore.io.film_table import FilmTable

STANDING, BENDING = "standing", "bending"
BENT_TO = ("image-left", "image-right")
POSITIONS = (STANDING, BENDING, *BENT_TO)
POSITION_COLUMNS = ("film", "patient", "position")


@dataclass(frozen=True)
class FilmPosition:
    """patient: any name; two visits of one patient are two names. position: one of :data:`POSITIONS`.

    "bending" leaves it to the film to which side of the image the patient bends.
    """

    patient: str
    position: str


def read_positions(path: str | Path, run: Sequence[str] = ()) -> FilmTable[FilmPosition]:
    """Read a table with the columns film, patient, position, separated by commas or semicolons.

    ``run``: as in :class:`FilmTable`.

    Raises :class:`UsageError` naming the file, the line and the remedy.
    """
    file = Path(path)
    films: dict[str, FilmPosition] = {}
    standing: dict[str, str] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            head = stream.readline()
            names = next(csv.reader([head.lower()], delimiter=_delimiter(head), skipinitialspace=True), [])
            reader = csv.DictReader(
                stream, [name.strip() for name in names], delimiter=_delimiter(head), skipinitialspace=True
            )
            missing = [name for name in POSITION_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(
                    f"{file}: column {missing[0]} is missing; expected {', '.join(POSITION_COLUMNS)}"
                )
            for row in reader:
                where = f"{file}: line {reader.line_num + 1}"
                if not any((row[name] or "").strip() for name in POSITION_COLUMNS):
                    continue
                film, entry = _entry(where, row)
                if film in films:
                    raise UsageError(f"{where}: {film} is listed more than once")
                if entry.position == STANDING and standing.setdefault(entry.patient, film) != film:
                    raise UsageError(
                        f"{where}: {entry.patient} has two standing films, "
                        f"{standing[entry.patient]} and {film}; give each visit a name of its own"
                    )
                films[film] = entry
    except OSError as error:
        raise UsageError(f"{file}: cannot be opened: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file}: is not text; expected a CSV of {', '.join(POSITION_COLUMNS)}") from None
    if not films:
        raise UsageError(f"{file}: lists no film")
    return FilmTable(file, "position", films, run)


def _delimiter(head: str) -> str:
    """Spreadsheets of some languages separate with semicolons."""
    return ";" if head.count(";") > head.count(",") else ","


def _entry(where: str, row: dict[str, str]) -> tuple[str, FilmPosition]:
    film, patient, position = ((row[name] or "").strip() for name in POSITION_COLUMNS)
    if not film or not patient:
        raise UsageError(f"{where}: {'film' if not film else 'patient'} is empty")
    position = position.lower().replace(" ", "-").replace("_", "-")
    if position in POSITIONS:
        return film, FilmPosition(patient, position)
    remedy = f"choose one of {', '.join(POSITIONS)}"
    if "left" in position or "right" in position:
        remedy += "; a film does not say which of its sides is the patient's"
    raise UsageError(f"{where}: position {position!r} is unknown; {remedy}")
