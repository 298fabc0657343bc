"""NPZ: arrays by name."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import GaitError
from ..joints import JOINTS
from ..pose import RATE, Walk
from .estimators import stated_rate
from .markers import walk_in_space

POSE_KEYS = ("joints", "keypoints", "poses", "kpts")


def read_npz(path: Path, subject: str, rate: float | None) -> Walk:
    """`joints` (T, 17, 2), or (T, 17, 3) with confidence, or (T, M, 3) in space with `names` (M,).

    Optional: `confidence` (T, 17), `rate`, `subject`, `silhouettes` or `frames` (T, H, W) in 0..1 or 0..255.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {k: file[k] for k in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as e:
        raise GaitError(f"{path}: not a readable NPZ of plain arrays ({e})") from e
    key = next((k for k in POSE_KEYS if k in data), None)
    if key is None:
        raise GaitError(
            f"{path}: has no array {' or '.join(POSE_KEYS)}; it holds {', '.join(data) or 'nothing'}"
        )
    try:
        points = np.asarray(data[key], dtype=float)
    except ValueError as e:
        raise GaitError(f"{path}: {key} holds no numbers ({e})") from e
    own = data.get("rate", data.get("fps"))
    for name in ("confidence", "silhouettes", "frames"):
        if name in data and data[name].dtype.kind not in "biuf":
            raise GaitError(f"{path}: {name} holds no numbers but {data[name].dtype}")
    flags: tuple[str, ...] = ()
    if own is not None and own.size:
        rate = stated_rate(path, np.ravel(own)[0], rate)
    if not rate:
        rate, flags = RATE, (f"frame rate unknown: {RATE:g} Hz assumed",)
    if "subject" in data and data["subject"].size:
        subject = str(np.ravel(data["subject"])[0])
    if "names" in data:
        data["names"] = np.ravel(data["names"])
        if points.ndim != 3 or points.shape[1:] != (len(data["names"]), 3):
            raise GaitError(
                f"{path}: {key} has shape {points.shape}; (T, {len(data['names'])}, 3) fits the names"
            )
        walk = walk_in_space(points, [str(n) for n in data["names"]], rate, path.stem, subject)
        return replace(walk, flags=(*walk.flags, *flags))
    if points.ndim != 3 or points.shape[1] != len(JOINTS) or points.shape[2] not in (2, 3):
        raise GaitError(
            f"{path}: {key} has shape {points.shape}; (T, 17, 2 or 3) is needed, or names beside it"
        )
    sure = np.isfinite(points).all(-1).astype(float)
    if points.shape[2] == 3:
        sure *= np.clip(np.nan_to_num(points[..., 2]), 0, 1)
    if "confidence" in data:
        sure = np.asarray(data["confidence"], dtype=float)
    pictures = data.get("silhouettes", data.get("frames"))
    if pictures is not None:
        if pictures.ndim != 3 or len(pictures) != len(points):
            raise GaitError(
                f"{path}: pictures have shape {pictures.shape}; ({len(points)}, H, W) fits the joints"
            )
        scale = 255.0 if pictures.dtype == np.uint8 else 1.0
        pictures = pictures.astype(np.float32) / scale
    return Walk(points[..., :2], sure, rate, path.stem, subject, pictures=pictures, flags=flags)
