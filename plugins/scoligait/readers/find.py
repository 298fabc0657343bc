"""Which files are recordings, and whose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import GaitError

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
SUFFIXES = (".csv", ".json", ".npz", ".c3d", ".trc", ".bvh", *VIDEO_SUFFIXES)
TRIAL = re.compile(r"[_\- ](?:clip|trial|walk|take|cam|run|rec|rep|pass|seq|video)[_\- ]?\d+$", re.IGNORECASE)
OURS = ("run.json", "screening.csv", "features.csv", "clips.csv")


@dataclass(frozen=True)
class Recording:
    """A file (or an OpenPose folder), and the subject its name or folder tells."""

    path: Path
    name: str
    subject: str


def find_recordings(paths: Sequence[Path], exclude: Path | None = None) -> list[Recording]:
    """Every recording under `paths`, sorted; of several folders with the folder's name before it.

    In a given folder a subfolder's name is the subject, else what `subject_of` finds in the file's name.
    """
    for path in map(Path, paths):
        if not path.exists():
            raise GaitError(f"{path}: no such file or folder")
    roots = [(path if path.is_dir() else path.parent).resolve() for path in map(Path, paths)]
    several = len(set(roots)) > 1
    found: dict[Path, Recording] = {}
    for path, root in zip(map(Path, paths), roots, strict=True):
        before = f"{root.name}/" if several else ""
        if path.is_file():
            recording = Recording(path, before + path.name, subject_of(Path(path.name)))
            found.setdefault(path.resolve(), recording)
            continue
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            inside = exclude is not None and exclude.resolve() in file.resolve().parents
            if hidden or inside or file.suffix.lower() not in SUFFIXES or file.name in OURS:
                continue
            if file.name.endswith("_keypoints.json"):
                file = file.parent
            relative = file.relative_to(path)
            name = before + relative.as_posix()
            if not relative.parts:  # a given folder of OpenPose
                relative = Path(root.name)
                name = root.name
            found.setdefault(file.resolve(), Recording(file, name, subject_of(relative)))
    return sorted(found.values(), key=lambda r: r.name)


def subject_of(relative: Path) -> str:
    """The first folder of a recording's path below its folder; else the file's name without the number of a
    trial: `anna_trial2.csv` is Anna's. A number alone (`patient_02.csv`) tells one person from another.
    """
    if len(relative.parts) > 1:
        return relative.parts[0]
    name = relative.stem if relative.suffix.lower() in SUFFIXES else relative.name
    return TRIAL.split(name)[0] or name
