"""One door to all readers: by the file's extension."""

from __future__ import annotations

from pathlib import Path

from ..errors import GaitError
from ..pose import Walk
from .arrays import read_npz
from .bvh import read_bvh
from .estimators import read_json, read_openpose_folder
from .find import SUFFIXES, VIDEO_SUFFIXES
from .mocap import read_c3d, read_trc
from .table import read_csv
from .video import PoseEstimator, read_video


def read_recording(
    path: Path,
    subject: str | None = None,
    *,
    rate: float | None = None,
    estimator: PoseEstimator | None = None,
) -> list[Walk]:
    """Walks of a file or OpenPose folder; a CSV may hold those of several subjects.

    Args:
        path: of a kind in `SUFFIXES`, or a folder of OpenPose frames.
        subject: whose it is, where the file does not say; default: the file's name.
        rate: frames a second, for files that state none.
        estimator: of poses, for video.

    Raises:
        GaitError: the file, what is wrong with it, what to do.

    """
    try:
        return _read(path, subject or path.stem, rate, estimator)
    except GaitError as error:
        raise named(path, error) from error


def named(path: Path, error: GaitError) -> GaitError:
    """The error with the file before it, where it does not begin with it."""
    return error if str(error).startswith(str(path)) else GaitError(f"{path}: {error}")


def _read(path: Path, who: str, rate: float | None, estimator: PoseEstimator | None) -> list[Walk]:
    suffix = path.suffix.lower()
    if path.is_dir():
        return [read_openpose_folder(path, who, rate)]
    if suffix == ".csv":
        return read_csv(path, who, rate)
    if suffix == ".json":
        return [read_json(path, who, rate)]
    if suffix == ".npz":
        return [read_npz(path, who, rate)]
    if suffix == ".c3d":
        return [read_c3d(path, who)]
    if suffix == ".trc":
        return [read_trc(path, who)]
    if suffix == ".bvh":
        return [read_bvh(path, who)]
    if suffix in VIDEO_SUFFIXES:
        return [read_video(path, who, estimator)]
    raise GaitError(
        f"{path}: {suffix or 'a file without extension'} is unknown; {', '.join(SUFFIXES)} are read"
    )
