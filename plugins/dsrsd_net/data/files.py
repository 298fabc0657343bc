"""CSV files, plain or gzip, with errors that name the file and the remedy."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import TableError


class Columns(dict[str, list[str]]):
    """Columns of a file by name, with its path for errors."""

    def __init__(self, path: Path, columns: dict[str, list[str]]) -> None:
        super().__init__(columns)
        self.path = path


def find(folder: Path, name: str) -> Path:
    """The file or its gzip, whichever is there."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise TableError(
        f"{folder / name}: no such file, nor {name}.gz; give the folder that holds the official files"
    )


def open_text(path: Path) -> IO[str]:
    """A text stream over a plain or gzip file."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def read_columns(folder: Path, name: str, needed: tuple[str, ...]) -> Columns:
    """Columns of a CSV with a header line; missing ones are an error."""
    path = find(folder, name)
    with open_text(path) as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        missing = [c for c in needed if c not in header]
        if missing:
            raise TableError(
                f"{path}: has no column {', '.join(missing)}; it holds {', '.join(header) or 'nothing'}"
            )
        body = list(rows)
    for line, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise TableError(
                f"{path}, line {line}: {len(row)} fields instead of {len(header)}; repair that line"
            )
    return Columns(path, {c: [row[i] for row in body] for i, c in enumerate(header)})


def numbers(columns: Columns, name: str) -> NDArray[np.float64]:
    """Numbers of a column (rows,); an empty field or "?" is NaN.

    Raises:
        TableError: file, line and value of a field that is no number.

    """
    found = np.empty(len(columns[name]))
    for i, text in enumerate(columns[name]):
        try:
            found[i] = float(text) if text not in ("", "?") else np.nan
        except ValueError:
            raise TableError(
                f"{columns.path}, line {i + 2}: {name} is {text!r}, not a number; repair that line"
            ) from None
    return found


def read_matrix(folder: Path, name: str) -> NDArray[np.float64]:
    """All numbers of a CSV, with or without a header line (names, or the columns' numbers)."""
    path = find(folder, name)
    with open_text(path) as stream:
        rows = [row for row in csv.reader(stream) if row]
    if rows and _is_header(rows[0]):
        rows = rows[1:]
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError as e:
        raise TableError(f"{path}: holds something that is no number ({e}); every field must be one") from e
    if values.ndim != 2 or values.shape[1] < 2:
        raise TableError(f"{path}: holds {len(rows)} rows of numbers; copy the file again")
    return values


def _is_header(row: list[str]) -> bool:
    """Names, or the columns' numbers (0, 1, 2, ... before the class), as some copies of mfeat have."""
    try:
        values = [float(v) for v in row]
    except ValueError:
        return True
    return len(values) > 2 and values[:-1] == [float(i) for i in range(len(values) - 1)]
