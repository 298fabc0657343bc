"""Labelled walks to train on: a folder with labels.csv, or simulated people."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import GaitError
from .joints import JOINTS
from .pose import Walk, clips
from .readers import read_recording
from .readers.find import SUFFIXES, subject_of
from .simulator import POSITIVE, draw_camera, draw_walker, simulate

LABELS = {"0": 0, "1": 1, "negative": 0, "positive": 1, "no": 0, "yes": 1}
SIMULATED_SUBJECTS = 500
CLIPS_OF_A_SUBJECT = 2
DEMO_SEED = 20_000
"""Of walkers to screen, far from the seeds of training."""


@dataclass(frozen=True)
class Labelled:
    """Clips with their label (0 or 1), severity (NaN unknown), subject's name, and other columns."""

    clips: list[Walk] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    severity: list[float] = field(default_factory=list)
    walk: list[int] = field(default_factory=list)
    extra: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def subject(self) -> list[int]:
        """Numbers of the subjects, in order of appearance."""
        numbers: dict[str, int] = {}
        return [numbers.setdefault(c.subject, len(numbers)) for c in self.clips]


def simulated(subjects: int, seed: int) -> Labelled:
    """People of the simulator, half of them affected, two clips each by their own camera."""
    draw = np.random.default_rng(seed)
    found = Labelled()
    for s in range(subjects):
        walker = draw_walker(draw)
        camera = draw_camera(draw)
        for _ in range(CLIPS_OF_A_SUBJECT):
            walk = simulate(walker, camera, draw, name=f"simulated {s}")
            found.clips.append(walk)
            found.label.append(int(walker.severity >= POSITIVE))
            found.severity.append(walker.severity)
            found.walk.append(s)
    return found


def write_simulated(folder: Path, count: int, seed: int = DEMO_SEED) -> Path:
    """Walks of `count` simulated people of rising severity as pose CSV, and truth.txt with what is behind
    them.
    """
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("walker-*.csv"):
        old.unlink()
    truth = []
    for number in range(1, count + 1):
        severity = (number - 0.5) / count
        walker, camera = draw_walker(draw, severity), draw_camera(draw)
        name = f"walker-{chr(96 + number) if number <= 26 else 'n' + str(number)}"
        truth.append(f"{name}: severity {severity:.2f}, {walker}")
        for trial in (1, 2):
            walk = simulate(walker, camera, draw)
            write_poses(folder / f"{name}_trial{trial}.csv", walk)
    (folder / "truth.txt").write_text("\n".join(truth) + "\n", encoding="utf-8")
    return folder


def write_poses(path: Path, walk: Walk) -> None:
    """A walk as CSV with named columns, as `read_recording` reads it back."""
    header = ["rate", *(f"{j}_{k}" for j in JOINTS for k in ("x", "y", "confidence"))]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for points, sure in zip(walk.joints, walk.confidence, strict=True):
            cells = [f"{walk.rate:g}"]
            for (x, y), c in zip(points, sure, strict=True):
                cells += [
                    f"{x:.3f}" if np.isfinite(x) else "",
                    f"{y:.3f}" if np.isfinite(y) else "",
                    f"{c:.3f}",
                ]
            writer.writerow(cells)


def labelled(folder: Path, table: Path | None = None) -> Labelled:
    """Recordings of `folder` that `labels.csv` there (or `table`) names.

    Columns: `file` (below the folder), `label` (0, 1, negative, positive); optional `subject` (default:
    `subject_of` the file), `severity` (0 to 1), and any others, such as `age` and `sex`, for the baselines.

    Raises:
        GaitError: the table, the line and what is wrong; without `subject`, names that differ by a number
            alone, which may be one person's.

    """
    path = table or folder / "labels.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as e:
        raise GaitError(
            f"{path}: cannot be read ({e}); a table with the columns file and label is needed"
        ) from e
    if not rows or "file" not in rows[0] or "label" not in rows[0]:
        raise GaitError(
            f"{path}: needs the columns file and label; it holds {', '.join(rows[0] if rows else ())}"
        )
    others = [c for c in rows[0] if c not in ("file", "label", "subject", "severity", "rate")]
    if "subject" not in rows[0]:
        _check_names(path, [subject_of(Path(row["file"])) for row in rows])
    found = Labelled(extra={c: [] for c in others})
    for line, row in enumerate(rows, start=2):
        label = LABELS.get((row["label"] or "").strip().lower())
        if label is None:
            raise GaitError(f"{path}, line {line}: label {row['label']!r}; use 0, 1, negative or positive")
        try:
            severity = float(row.get("severity") or "nan")
            rate = float(row["rate"]) if row.get("rate") else None
        except ValueError as e:
            raise GaitError(f"{path}, line {line}: {e}; severity and rate are numbers or empty") from None
        if severity < 0 or severity > 1:
            raise GaitError(f"{path}, line {line}: severity is {severity:g}; it lies in 0..1")
        file = folder / row["file"]
        if not file.exists():
            raise GaitError(f"{path}, line {line}: {file} does not exist ({', '.join(SUFFIXES)} are read)")
        subject = (row.get("subject") or "").strip() or subject_of(Path(row["file"]))
        for walk in read_recording(file, subject, rate=rate):
            number = len(set(found.walk))
            for clip in clips(walk):
                found.clips.append(clip)
                found.label.append(label)
                found.severity.append(severity)
                found.walk.append(number)
                for c in others:
                    found.extra[c].append(row[c])
    return found


def _check_names(path: Path, subjects: list[str]) -> None:
    first: dict[str, str] = {}
    for subject in subjects:
        name = subject.rstrip("0123456789").rstrip("_- ")
        other = first.setdefault(name, subject)
        if name and other != subject:
            raise GaitError(
                f"{path}: {other} and {subject} may be one person or two; add a column subject, so that "
                "nobody lies on both sides of a split"
            )


def as_columns(extra: dict[str, list[Any]]) -> dict[str, Any]:
    """Numbers where every value is one, words elsewhere."""
    found = {}
    for name, values in extra.items():
        try:
            found[name] = np.array([float(v) for v in values])
        except (TypeError, ValueError):
            found[name] = np.array([str(v) for v in values])
    return found
