"""JSON of pose estimators: OpenPose, AlphaPose and COCO results, MediaPipe, and our own plain form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GaitError
from ..joints import JOINTS
from ..pose import RATE, Walk

Array = NDArray[np.float64]

STRAY, STRAY_A_FRAME = 0.5, 0.1
"""Body heights that a person may be from where it was last seen, and how many more for each frame since; our
choice.
"""
OPENPOSE_25 = (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11)
OPENPOSE_18 = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
MEDIAPIPE_33 = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Where the COCO joints lie in each estimator's own order."""


def read_json(path: Path, subject: str, rate: float | None) -> Walk:
    """A whole recording in one file: AlphaPose or COCO results, MediaPipe frames, or
    `{"rate": 30, "joints": [[[x, y, confidence] x 17] x frames]}`.
    """
    content = _load(path)
    if isinstance(content, dict) and "people" in content:
        raise GaitError(
            f"{path}: one frame of OpenPose; give the folder that holds all *_keypoints.json files"
        )
    flags: list[str] = []
    if isinstance(content, dict):
        rate = stated_rate(path, content.get("rate") or content.get("fps"), rate)
        subject = str(content.get("subject", subject))
    if isinstance(content, dict) and "joints" in content:
        points = _numbers(path, content["joints"])
    elif (found := _results(content)) is not None:
        points = _by_image(path, found, flags)
    else:
        points = _mediapipe(path, content, flags)
    return _walk(path, points, rate, subject, path.stem, flags)


def stated_rate(path: Path, stated: Any, given: float | None) -> float | None:
    """The file's own frame rate, else the given one."""
    if stated is None:
        return given
    try:
        return float(stated)
    except (TypeError, ValueError):
        raise GaitError(f"{path}: the rate is {stated!r}; frames a second are a number") from None


def read_openpose_folder(folder: Path, subject: str, rate: float | None) -> Walk:
    """A folder of `*_keypoints.json`, one frame a file, in the order of the names; BODY_25 or COCO 18."""
    frames: list[list[Array]] = []
    for file in sorted(folder.glob("*_keypoints.json")):
        content = _load(file)
        try:
            people = [np.array(p["pose_keypoints_2d"], dtype=float).reshape(-1, 3) for p in content["people"]]
        except (TypeError, KeyError, ValueError) as e:
            raise GaitError(f"{file}: not a frame of OpenPose ({type(e).__name__}: {e})") from e
        kept = []
        for person in people:
            order = {25: OPENPOSE_25, 18: OPENPOSE_18}.get(len(person))
            if order is None:
                raise GaitError(f"{file}: {len(person)} keypoints a person; BODY_25 or COCO 18 is needed")
            kept.append(person[list(order)])
        frames.append(kept)
    if not frames:
        raise GaitError(f"{folder}: holds no *_keypoints.json")
    flags: list[str] = []
    return _walk(folder, _followed(frames, flags), rate, subject, folder.name, flags)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as e:
        raise GaitError(f"{path}: not readable JSON ({e})") from e


def _results(content: Any) -> list[dict[str, Any]] | None:
    found = content.get("annotations") if isinstance(content, dict) else content
    if isinstance(found, list) and found and isinstance(found[0], dict) and "keypoints" in found[0]:
        return found
    return None


def _by_image(path: Path, results: Sequence[dict[str, Any]], flags: list[str]) -> Array:
    images: dict[Any, list[Array]] = {}
    for number, entry in enumerate(results, start=1):
        try:
            points = np.array(entry["keypoints"], dtype=float).reshape(-1, 3)
            image = entry["image_id"]
        except (KeyError, TypeError, ValueError) as e:
            raise GaitError(
                f"{path}, entry {number}: {type(e).__name__}: {e}; image_id and keypoints are needed"
            ) from e
        if len(points) not in (17, 26, 136, 133):  # larger sets of these tools begin with the COCO joints
            raise GaitError(f"{path}, entry {number}: {len(points)} keypoints; 17, 26, 133 or 136 are known")
        points = points[:17]
        if (
            "annotations" in path.stem or points[:, 2].max() > 1.5
        ):  # COCO ground truth: 0, 1 hidden, 2 visible
            points[:, 2] = np.minimum(points[:, 2], 2) / 2
        images.setdefault(image, []).append(points)
    numbers = {image: _number(image) for image in images}
    if all(n is not None for n in numbers.values()):
        first, last = min(numbers.values()), max(numbers.values())  # type: ignore[type-var]
        if last - first < 20 * len(images):  # type: ignore[operator]
            by_number = {n: images[image] for image, n in numbers.items()}
            # An image without a person is a frame all the same.
            return _followed([by_number.get(n, []) for n in range(first, last + 1)], flags)  # type: ignore[arg-type, operator]
    return _followed([images[image] for image in sorted(images, key=str)], flags)


def _number(image: Any) -> int | None:
    digits = "".join(c for c in Path(str(image)).stem if c.isdigit())
    return int(digits) if digits else None


def _mediapipe(path: Path, content: Any, flags: list[str]) -> Array:
    frames = content
    width = height = None
    if isinstance(content, dict):
        frames = content.get("frames", content.get("pose_landmarks"))
        width, height = content.get("width"), content.get("height")
    if not isinstance(frames, list) or not frames:
        raise GaitError(
            f"{path}: no known form; OpenPose folder, AlphaPose or COCO results, MediaPipe frames, or "
            '{"rate": 30, "joints": [...]} are'
        )
    found = np.full((len(frames), 17, 3), np.nan)
    for t, frame in enumerate(frames):
        marks = frame.get("landmarks", frame.get("pose_landmarks")) if isinstance(frame, dict) else frame
        if not marks:
            continue
        if not isinstance(marks, list) or len(marks) != 33:
            count = len(marks) if isinstance(marks, list) else "no list of"
            raise GaitError(f"{path}, frame {t + 1}: {count} landmarks; MediaPipe's pose has 33")
        try:
            for j, at in enumerate(MEDIAPIPE_33):
                mark = marks[at]
                found[t, j] = mark["x"], mark["y"], mark.get("visibility", 1.0)
        except (KeyError, TypeError, AttributeError) as e:
            raise GaitError(
                f"{path}, frame {t + 1}: {type(e).__name__}: {e}; a landmark has x, y, visibility"
            ) from e
    if np.isfinite(found).any() and np.nanmax(np.abs(found[..., :2])) < 4:  # shares of width and height
        if width and height:
            found[..., :2] *= [float(width), float(height)]
        else:
            flags.append(
                "picture size unknown: width and height taken as equal; add width and height to the file"
            )
    return found


def _numbers(path: Path, value: Any) -> Array:
    try:
        found = np.array(
            [[[np.nan if v is None else float(v) for v in joint] for joint in frame] for frame in value],
            dtype=float,
        )
    except (TypeError, ValueError) as e:
        raise GaitError(f"{path}: joints are no array of numbers ({e})") from e
    if found.ndim != 3 or found.shape[1] != 17 or found.shape[2] not in (2, 3):
        raise GaitError(f"{path}: joints have shape {found.shape}; (frames, 17, 2 or 3) is needed")
    if found.shape[2] == 2:
        found = np.concatenate([found, np.isfinite(found).all(-1, keepdims=True)], -1)
    return found


def _followed(frames: list[list[Array]], flags: list[str]) -> Array:
    """One person through frames of several: the tallest of the first frame, then whoever is nearest. Where
    somebody else was ever seen, nobody within `STRAY` of the last place is a frame without the person.
    """
    found = np.full((len(frames), len(JOINTS), 3), np.nan)
    frames = [[p for p in people if (p[:, 2] > 0).sum() >= 4] for people in frames]
    crowded = sum(len(people) > 1 for people in frames)
    last: Array | None = None
    height, missed = 0.0, 0
    for t, people in enumerate(frames):
        missed += 1
        if not people:
            continue
        middles = [np.median(p[p[:, 2] > 0, :2], axis=0) for p in people]
        heights = [float(np.ptp(p[p[:, 2] > 0, 1])) for p in people]
        if last is None:
            chosen = int(np.argmax(heights))
        else:
            away = [float(np.linalg.norm(m - last)) for m in middles]
            chosen = int(np.argmin(away))
            if crowded and away[chosen] > (STRAY + STRAY_A_FRAME * missed) * height:
                continue
        last, height, missed = middles[chosen], heights[chosen], 0
        found[t] = people[chosen]
    if crowded:
        flags.append(f"several people in {crowded} of {len(frames)} frames: is the right one drawn?")
    return found


def _walk(path: Path, points: Array, rate: float | None, subject: str, name: str, flags: list[str]) -> Walk:
    if not rate:
        flags.append(f"frame rate unknown: {RATE:g} Hz assumed")
    sure = np.where(np.isfinite(points).all(-1), np.clip(np.nan_to_num(points[..., 2]), 0, 1), 0.0)
    joints = np.where(sure[..., None] > 0, points[..., :2], np.nan)
    if not (sure > 0).any():
        raise GaitError(f"{path}: no person in any of {len(points)} frames")
    return Walk(joints, sure, float(rate or RATE), name, subject, flags=tuple(flags))
