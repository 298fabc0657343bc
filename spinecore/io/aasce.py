"""The AASCE folder (SpineWeb-16, MICCAI 2019): images/, filenames.csv, landmarks.csv, angles.csv.

``landmarks.csv`` has 136 columns: 68 x / width, then 68 y / height; 17 vertebrae T1..L5, each with its
corners TL, TR, BL, BR. ``angles.csv`` has three Cobb angles in degrees. About one film in twenty lists its
vertebrae or corners out of order; :mod:`spinecore.spine.order` detects and repairs them.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinecore.io.errors import UsageError

VERTEBRAE = 17
VALIDATION_FRACTION = 0.19  # of the films; training and evaluation share this split
LANDMARK_COLUMNS = 2 * 4 * VERTEBRAE
_SERIES = re.compile(r"(.*?\d{4}-(?:coronal)?\d+)")

SAME_FILM = (
    ("10-Jan-2017-238 A AP", "10-Jan-2017-239 A AP"),
    ("10-Jan-2017-238 B AP", "10-Jan-2017-239 B AP"),
    ("10-Jan-2017-238 C AP", "10-Jan-2017-239 C AP"),
    ("10-Jan-2017-238 D AP", "10-Jan-2017-239 D AP"),
    ("20-Jul-2016-coronal10", "20-Jul-2016-coronal3"),
    ("20-Jul-2016-1 A AP", "20-Jul-2016-coronal4"),
    ("20-Jul-2016-coronal12", "25-Jul-2016-48 A AP"),
    ("20-Jul-2016-16 C AP", "20-Jul-2016-coronal15"),
    ("20-Jul-2016-5 A AP", "20-Jul-2016-coronal8"),
    ("22-Nov-2016-153 A AP", "26-Jul-2016-78 A AP"),
    ("22-Nov-2016-153 B AP", "26-Jul-2016-78 B AP"),
    ("20-Jul-2016-coronal9", "24-Jul-2016-35 D AP"),
    ("22-Nov-2016-141 A AP", "26-Jul-2016-77 A AP"),
    ("22-Nov-2016-141 B AP", "26-Jul-2016-77 C AP"),
    ("20-Jul-2016-12 A AP", "26-Jul-2016-85 A AP"),
    ("22-Nov-2016-141 D AP", "26-Jul-2016-77 D AP"),
    ("26-Jul-2016-79 C AP", "29-Dec-2016-157 A AP"),
    ("20-Jul-2016-20 C AP", "21-Jul-2016-20 F AP"),
)
"""Names of the public set, less prefix and ending, that show one film twice, cropped and marked anew (found
by comparing pictures and corners). The names do not tell, so a split by series can tear such a pair apart."""


@dataclass(frozen=True)
class AasceSet:
    """One AASCE-format folder, in the order of ``filenames.csv`` (n films)."""

    folder: Path
    names: tuple[str, ...]
    paths: tuple[Path, ...]
    corners: NDArray[np.float64]  # (n, 17, 4, 2) original pixels, repaired
    angles: NDArray[np.float64]  # (n, 3) degrees, as listed in angles.csv
    sizes: NDArray[np.int64]  # (n, 2) width, height
    flawed: NDArray[np.bool_]  # (n,) listed with misordered vertebrae or crossed corners
    unrepairable: NDArray[np.bool_]  # (n,) flawed, and still crossed after the repair: leave it out

    def __len__(self) -> int:
        return len(self.names)


def load_aasce(folder: str | Path) -> AasceSet:
    """Read an AASCE-format folder and repair the order of its corners.

    Only image headers are read. Raises :class:`UsageError` naming the file, the line and the remedy.
    """
    from spinecore.spine.order import repair_order

    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; give the folder that holds images/ and landmarks.csv")
    names = read_names(root / "filenames.csv")
    listed = read_numbers(root / "landmarks.csv", columns=LANDMARK_COLUMNS)
    angles = read_numbers(root / "angles.csv", columns=3)
    for file, rows in (("landmarks.csv", listed), ("angles.csv", angles)):
        if len(rows) != len(names):
            raise UsageError(f"{root / file}: {len(rows)} rows for {len(names)} names in filenames.csv")
    paths = tuple(root / "images" / name for name in names)
    sizes = np.array([image_size(path) for path in paths], dtype=np.int64).reshape(-1, 2)
    corners = landmarks_to_corners(listed, sizes)
    flawed = np.zeros(len(names), dtype=bool)
    unrepairable = np.zeros(len(names), dtype=bool)
    for row in range(len(names)):
        corners[row], report = repair_order(corners[row])
        flawed[row] = not report.ok
        unrepairable[row] = not report.usable
    return AasceSet(root, tuple(names), paths, corners, angles, sizes, flawed, unrepairable)


def read_names(path: Path) -> list[str]:
    """Film names, one a line; empty lines are ignored, equal names refused."""
    _require(path)
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not names:
        raise UsageError(f"{path}: is empty; expected one film name a line")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"{path}: lists {doubled[0]!r} more than once")
    return names


def read_numbers(path: Path, columns: int) -> NDArray[np.float64]:
    """A headerless CSV of ``columns`` finite numbers a line, as an (n, columns) array."""
    _require(path)
    rows: list[list[float]] = []
    with path.open(newline="", encoding="utf-8-sig") as stream:
        for number, fields in enumerate(csv.reader(stream), start=1):
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != columns:
                raise UsageError(f"{path}: line {number} has {len(fields)} columns, expected {columns}")
            try:
                rows.append([float(field) for field in fields])
            except ValueError as error:
                raise UsageError(f"{path}: line {number}: {error}") from None
    values = np.array(rows, dtype=np.float64).reshape(-1, columns)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        raise UsageError(f"{path}: data row {bad[0] + 1} holds a value that is not finite")
    return values


def landmarks_to_corners(rows: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 136) fractions and (n, 2) width, height -> (n, 17, 4, 2) corners in pixels."""
    half = LANDMARK_COLUMNS // 2
    points = np.stack([rows[:, :half] * sizes[:, :1], rows[:, half:] * sizes[:, 1:]], axis=-1)
    return points.reshape(-1, VERTEBRAE, 4, 2)


def corners_to_landmarks(corners: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """(17, 4, 2) corners in pixels -> one landmarks.csv row of 136 fractions."""
    points = corners.reshape(-1, 2)
    return np.concatenate([points[:, 0] / width, points[:, 1] / height])


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header alone."""
    from PIL import Image, UnidentifiedImageError

    _require(path)
    try:
        with Image.open(path) as image:
            return image.size
    except (UnidentifiedImageError, OSError) as error:
        raise UsageError(f"{path}: not a readable image ({error})") from None


def series_stem(name: str) -> str:
    """The date-and-number part of a film name, so that one day's films of one patient stay together.

    ``x-02-Jan-2017-162 B AP.jpg`` -> ``x-02-Jan-2017-162``; a name without that pattern is its own series.
    """
    match = _SERIES.match(name)
    return match.group(1) if match else name.rsplit(".", 1)[0]


def split_by_series(
    names: Sequence[str], validation_fraction: float = 0.19, salt: str = ""
) -> NDArray[np.bool_]:
    """True for validation films: whole series, in the order of MD5(salt + stem), until the share is met.

    The split depends on names only, so it is the same on every machine and can be named in a model card.
    """
    if not 0.0 < validation_fraction < 1.0:
        raise UsageError(f"validation_fraction is {validation_fraction}; it must lie between 0 and 1")
    stems = np.array([series_stem(name) for name in names])
    order = sorted(
        set(stems.tolist()),
        key=lambda stem: hashlib.md5((salt + stem).encode(), usedforsecurity=False).hexdigest(),
    )
    chosen = np.zeros(len(names), dtype=bool)
    target = validation_fraction * len(names)
    for stem in order:
        if chosen.sum() >= target:
            break
        chosen |= stems == stem
    return chosen


def twin_in_training(names: Sequence[str], held_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True for held-out films that the training part holds under another name: they cannot judge a model."""

    def find(part: str) -> int | None:
        return next((i for i, name in enumerate(names) if name.rsplit(".", 1)[0].endswith(f"-{part}")), None)

    twins = np.zeros(len(names), dtype=bool)
    for pair in SAME_FILM:
        a, b = (find(part) for part in pair)
        if a is not None and b is not None and held_out[a] != held_out[b]:
            twins[a if held_out[a] else b] = True
    return twins


def _require(path: Path) -> None:
    if not path.is_file():
        raise UsageError(
            f"{path}: no such file; an AASCE folder holds images/ and filenames, landmarks, angles .csv"
        )
