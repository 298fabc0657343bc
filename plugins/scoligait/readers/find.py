"""Which files are recordings, and whose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import GaitError

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
SUFFIXES = (".csv", ".json", ".npz", ".c3d", ".trc", ".bvh", *VIDEO_SUFFIXES)
TRIAL = re.compile(r"[_\- ](?:clip|trial|walk|take|cam|run|rec|rep|pass|seq|video)[_\- ]?\d+$", re.IGNORECASE)
RESULTS = ("json", "maps", "simulated", "run.json", "screening.csv", "clips.csv")
OURS = ("run.json", "screening.csv", "features.csv", "clips.csv")


@dataclass(frozen=True)
class Recording:
    """A file (or an OpenPose folder), and the subject its name or folder tells."""

    path: Path
    name: str
    subject: str


def find_recordings(paths: Sequence[Path], exclude: Path | None = None) -> list[Recording]:
    """Every recording under `paths`, sorted; of several folders with the folder's name before it. A subject
    found in several of them is one in each.

    In a given folder a subfolder's name is the subject, else what `subject_of` finds in the file's name.
    """
    for path in map(Path, paths):
        if not path.exists():
            raise GaitError(f"{path}: no such file or folder")
    roots = [(path if path.is_dir() else path.parent).resolve() for path in map(Path, paths)]
    several = len(set(roots)) > 1
    found: dict[Path, Recording] = {}
    root_of: dict[Path, Path] = {}
    for path, root in zip(map(Path, paths), roots, strict=True):
        before = f"{root.name}/" if several else ""
        if path.is_file():
            recording = Recording(path, before + path.name, subject_of(Path(path.name)))
            found.setdefault(path.resolve(), recording)
            root_of.setdefault(path.resolve(), root)
            continue
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            other = file.suffix.lower() not in SUFFIXES or file.name in OURS
            if hidden or other or _is_result(file, path, exclude):
                continue
            if file.name.endswith("_keypoints.json"):
                file = file.parent
            relative = file.relative_to(path)
            name = before + relative.as_posix()
            if not relative.parts:  # a given folder of OpenPose
                relative = Path(root.name)
                name = root.name
            found.setdefault(file.resolve(), Recording(file, name, subject_of(relative)))
            root_of.setdefault(file.resolve(), root)
    homes: dict[str, set[Path]] = {}
    for place, recording in found.items():
        homes.setdefault(recording.subject, set()).add(root_of[place])
    recordings = [
        replace(r, subject=f"{root_of[place].name}/{r.subject}") if len(homes[r.subject]) > 1 else r
        for place, r in found.items()
    ]
    return sorted(recordings, key=lambda r: r.name)


def _is_result(file: Path, root: Path, out: Path | None) -> bool:
    """Whether a run of screening wrote it: into `out`, or into a folder that holds the run's record."""
    for folder in file.parents:
        below = file.relative_to(folder).parts[0]
        if below in RESULTS and (
            (out is not None and folder.resolve() == out.resolve())
            or '"spinecore.screening-run/' in _start(folder / "run.json")
        ):
            return True
        if folder == root:
            return False
    return False


def _start(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as stream:
            return stream.read(200)
    except (OSError, UnicodeDecodeError):
        return ""


def subject_of(relative: Path) -> str:
    """The first folder of a recording's path below its folder; else the file's name without the number of a
    trial: `anna_trial2.csv` is Anna's. A number alone (`patient_02.csv`) tells one person from another.
    """
    if len(relative.parts) > 1:
        return relative.parts[0]
    name = relative.stem if relative.suffix.lower() in SUFFIXES else relative.name
    return TRIAL.split(name)[0] or name
