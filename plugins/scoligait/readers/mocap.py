"""C3D through ezc3d, and TRC."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..errors import GaitError
from ..pose import Walk
from .markers import walk_in_space


def read_c3d(path: Path, subject: str) -> Walk:
    """The points of a C3D file."""
    try:
        import ezc3d
    except ImportError as e:
        raise GaitError(
            f"{path}: reading C3D needs ezc3d; install it with pip install 'spinecore-torch[mocap]'"
        ) from e
    try:
        content = ezc3d.c3d(str(path))
        points = content["data"]["points"]
        parameters = content["parameters"]["POINT"]
        names = [str(n) for n in parameters["LABELS"]["value"]]
        rate = float(parameters["RATE"]["value"][0])
    except (OSError, RuntimeError, ValueError, KeyError, IndexError) as e:
        raise GaitError(f"{path}: not a readable C3D file ({e}); export it again") from e
    return walk_in_space(
        points[:3, : len(names)].transpose(2, 1, 0).astype(float), names, rate, path.stem, subject
    )


def read_trc(path: Path, subject: str) -> Walk:
    """A tab-separated TRC file (Motion Analysis, OpenSim): five header lines, then frame, time, x, y, z,
    ...
    """
    try:
        rows = list(
            csv.reader(path.read_text(encoding="utf-8", errors="replace").splitlines(), delimiter="\t")
        )
    except OSError as e:
        raise GaitError(f"{path}: cannot be read: {e.strerror}") from e
    if len(rows) < 6 or not rows[0] or not rows[0][0].startswith("PathFileType"):
        raise GaitError(f"{path}: not a TRC file (the first line must begin with PathFileType)")
    head = dict(zip(rows[1], rows[2], strict=False))
    try:
        rate = float(head["DataRate"])
    except (KeyError, ValueError):
        raise GaitError(f"{path}: line 3 has no DataRate; it holds {rows[2]}") from None
    names = [n.strip() for n in rows[3][2:] if n.strip()]
    frames = []
    for number, row in enumerate(rows[5:], start=6):
        if not row or not row[0].strip():
            continue
        cells = (row[2:] + [""] * (3 * len(names)))[: 3 * len(names)]
        try:
            frames.append([float(c) if c.strip() else np.nan for c in cells])
        except ValueError as e:
            raise GaitError(f"{path}, line {number}: {e}; coordinates must be numbers") from None
    if not frames:
        raise GaitError(f"{path}: has no frames")
    points = np.array(frames).reshape(len(frames), len(names), 3)
    return walk_in_space(points, names, rate, path.stem, subject)
