"""Poses in CSV: named columns, or 34 or 51 numbers a line."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import GaitError
from ..joints import INDEX, JOINTS
from ..pose import RATE, Walk

Array = NDArray[np.float64]

SCORES = ("confidence", "score", "likelihood", "visibility", "c", "v", "conf")
PARTS = ("person", "sequence", "clip")
"""Columns that tell one walk from another; `person` also one walker of the file from another."""


def read_csv(path: Path, subject: str, rate: float | None) -> list[Walk]:
    """Walks of a CSV file, one for each value of the columns `subject`, `person`, `sequence` and `clip`, in
    the order of the file. Numbers of persons are the file's own: they stand behind its subject.

    Columns `left_hip_x`, `left_hip_y` and, optionally, `left_hip_confidence` (score, likelihood,
    visibility) for
    COCO names in any order; or no header and 34 (x, y) or 51 (x, y, confidence) numbers in COCO order. A
    column `rate` or `fps` overrides `rate`. An empty field is a missing joint.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError) as e:
        raise GaitError(f"{path}: cannot be read as text ({e}); save it as UTF-8 CSV") from e
    if not rows:
        raise GaitError(f"{path}: is empty")
    if _is_numeric(rows[0]):
        return [_plain(path, rows, subject, rate)]
    header = [re.sub(r"[^a-z0-9]+", "_", cell.strip().lower()).strip("_") for cell in rows[0]]
    places = {name: i for i, name in enumerate(header)}
    joints = [j for j in JOINTS if f"{j}_x" in places and f"{j}_y" in places]
    if not joints:
        raise GaitError(
            f"{path}: no columns like left_hip_x and left_hip_y; it holds {', '.join(header[:8])}. "
            "Use COCO names, or "
            "34 or 51 numbers a line without a header"
        )
    parts = [places[k] for k in PARTS if k in places]
    person = places.get("person")
    people = {row[person].strip() for row in rows[1:] if person is not None and len(row) == len(header)}
    groups: dict[tuple[str, ...], list[tuple[int, list[str]]]] = {}
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise GaitError(f"{path}, line {line}: {len(row)} fields; the header has {len(header)}")
        who = row[places["subject"]].strip() if "subject" in places else ""
        who = who or subject
        if person is not None and len(people) > 1:
            who += f" person {row[person].strip()}"
        groups.setdefault((who, *(row[at].strip() for at in parts)), []).append((line, row))
    walks = []
    for (name, *others), lines in groups.items():
        points = np.full((len(lines), 17, 2), np.nan)
        sure = np.zeros((len(lines), 17))
        for joint in joints:
            j = INDEX[joint]
            score = next((places[f"{joint}_{s}"] for s in SCORES if f"{joint}_{s}" in places), None)
            for d, axis in enumerate("xy"):
                points[:, j, d] = _column(path, lines, places[f"{joint}_{axis}"], header)
            sure[:, j] = 1.0 if score is None else np.nan_to_num(_column(path, lines, score, header))
        sure[~np.isfinite(points).all(-1)] = 0.0
        at = places.get("rate", places.get("fps"))
        stated = np.empty(0) if at is None else _column(path, lines, at, header)
        stated = stated[np.isfinite(stated)]
        own = float(stated[0]) if len(stated) else None
        label = path.stem if len(groups) == 1 else " ".join((path.stem, name, *others))
        walks.append(_finished(points, sure, own or rate, label, name))
    return walks


def _finished(points: Array, sure: Array, rate: float | None, name: str, subject: str) -> Walk:
    flags = () if rate else (f"frame rate unknown: {RATE:g} Hz assumed",)
    return Walk(points, sure, rate or RATE, name, subject, flags=flags)


def _is_numeric(row: list[str]) -> bool:
    try:
        [float(cell) for cell in row if cell.strip()]
    except ValueError:
        return False
    return True


def _plain(path: Path, rows: list[list[str]], subject: str, rate: float | None) -> Walk:
    width = len(rows[0])
    if width not in (34, 51):
        raise GaitError(
            f"{path}: {width} numbers a line without a header; 34 (x, y) or 51 (x, y, confidence) fit"
        )
    lines = list(enumerate(rows, start=1))
    for line, row in lines:
        if len(row) != width:
            raise GaitError(f"{path}, line {line}: {len(row)} fields; the first line has {width}")
    values = np.stack([_column(path, lines, i, [str(i + 1) for i in range(width)]) for i in range(width)], 1)
    values = values.reshape(len(rows), 17, -1)
    sure = np.nan_to_num(values[..., 2]) if width == 51 else np.isfinite(values).all(-1).astype(float)
    return _finished(values[..., :2], sure, rate, path.stem, subject)


def _column(path: Path, lines: list[tuple[int, list[str]]], at: int, header: list[str]) -> Array:
    found = np.empty(len(lines))
    for i, (line, row) in enumerate(lines):
        cell = row[at].strip()
        try:
            found[i] = float(cell) if cell else np.nan
        except ValueError:
            raise GaitError(
                f"{path}, line {line}, column {header[at]}: {cell!r} is no number; leave a missing "
                "joint empty"
            ) from None
    return np.where(np.isfinite(found), found, np.nan)
