"""Which files are recordings, and whose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import GaitError

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
SUFFIXES = (".csv", ".json", ".npz", ".c3d", ".trc", ".bvh", *VIDEO_SUFFIXES)
OURS = ("run.json", "screening.csv", "features.csv", "clips.csv")


@dataclass(frozen=True)
class Recording:
    """A file (or an OpenPose folder), and the subject its name or folder tells."""

    path: Path
    name: str
    subject: str


def find_recordings(paths: Sequence[Path], exclude: Path | None = None) -> list[Recording]:
    """Every recording under `paths`, sorted.

    In a given folder a subfolder's name is the subject; beside that the file's name up to the first of
    `_clip`, `_trial`, `_walk` or `-` and a number: `anna_trial2.csv` is Anna's.
    """
    found: dict[Path, Recording] = {}
    for given in paths:
        path = Path(given)
        if not path.exists():
            raise GaitError(f"{path}: no such file or folder")
        if path.is_file():
            found.setdefault(path.resolve(), Recording(path, path.name, subject_of(path.stem)))
            continue
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            inside = exclude is not None and exclude.resolve() in file.resolve().parents
            if hidden or inside or file.suffix.lower() not in SUFFIXES or file.name in OURS:
                continue
            if file.name.endswith("_keypoints.json"):
                file = file.parent
            relative = file.relative_to(path)
            folder = relative.parts[0] if len(relative.parts) > 1 else ""
            name = relative.as_posix() if relative.parts else path.name
            subject = folder or subject_of(file.stem if file.is_file() else file.name or path.name)
            found.setdefault(file.resolve(), Recording(file, name, subject))
    return sorted(found.values(), key=lambda r: r.name)


def subject_of(stem: str) -> str:
    """The part of a name before a clip, trial or walk number."""
    return (
        re.split(r"[_\- ](?:clip|trial|walk|take|cam|run|rec)?[_\- ]?\d+$", stem, flags=re.IGNORECASE)[0]
        or stem
    )
