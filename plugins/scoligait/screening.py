"""From a recording to what a screening page tells of it: score, repeatability, findings, drivers, quality."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .attribution import attribute
from .errors import GaitError
from .joints import INDEX
from .kinematics import COLUMNS
from .network import ScoliGait
from .pose import Walk, clips, quality_flags
from .samples import Clips, clip_arrays, stack_clips
from .text.encoders import Encode
from .text.findings import MEASURES, Reference, findings, measures, running_torso, sentence

Array = NDArray[np.float64]

REPEATS = 12
JITTER = 0.01
"""Torso lengths by which every joint is moved for the repeatability interval; our choice."""
DRIVERS = 8
FAR = 6.0
"""Spreads from the reference beyond which a walk is unlike those the model knows."""


def clip_inputs(
    walks: list[Walk], model: ScoliGait, reference: Reference, encode: Encode
) -> tuple[Clips, list[Any]]:
    """Clips as the model takes them, each with the text of its own findings, and those findings."""
    found = [findings(measures(w), reference) for w in walks]
    tokens = encode([sentence(f) for f in found])
    return stack_clips([clip_arrays(w, model.config) for w in walks], tokens[:, None]), found


def screen_clip(
    clip: Walk, model: ScoliGait, reference: Reference, encode: Encode, seed: int
) -> dict[str, Any]:
    """JSON-ready record of one clip.

    `repeats` are the probabilities of "positive" of the clip and of copies whose every joint is moved by a
    hundredth of the torso: how far they move without any change of the gait. `score` is their mean.
    """
    draw = np.random.default_rng(seed)
    spread = JITTER * float(np.median(running_torso(clip.joints)))
    shaken = [
        replace(clip, joints=clip.joints + draw.normal(0, spread, clip.joints.shape)) for _ in range(REPEATS)
    ]
    batch, found = clip_inputs([clip, *shaken], model, reference, encode)
    inputs = batch.inputs(model.config)
    with torch.no_grad():
        out = model(*inputs)
    score = out.logits.double().softmax(-1)[:, 1].numpy()
    first = batch.take(np.array([0])).inputs(model.config)
    drivers = attribute(model, *first)
    whole = max(float(np.abs(drivers.columns).sum()), 1e-12)
    order = np.argsort(-np.abs(drivers.columns))[:DRIVERS]
    values, z = measures(clip), reference.z(measures(clip))
    flags = list(quality_flags(clip))
    if np.isfinite(z).any() and np.nanmax(np.abs(z)) > FAR:
        worst = MEASURES[int(np.nanargmax(np.abs(z)))]
        flags.append(f"unlike the walks the model knows: {worst.words} at {np.nanmax(np.abs(z)):.0f} spreads")
    if not batch.valid[0].all() and not any(f.startswith("short: ") for f in flags):
        flags.append(f"short: {int(batch.valid[0].sum())} of {batch.valid.shape[1]} frames")
    return {
        "score": float(score.mean()),
        "repeats": score.tolist(),
        "measures": {m.name: _number(v) for m, v in zip(MEASURES, values, strict=True)},
        "z": {m.name: _number(v) for m, v in zip(MEASURES, z, strict=True)},
        "findings": [f.phrase for f in found[0]],
        "drivers": [
            {"column": COLUMNS[i].name, "unit": COLUMNS[i].unit, "part": float(drivers.columns[i]) / whole}
            for i in order
            if drivers.columns[i] != 0
        ],
        "without": drivers.without,
        "pose": mean_pose(clip),
        "flags": list(dict.fromkeys(flags)),
    }


def screen_walk(walk: Walk, model: ScoliGait, reference: Reference, encode: Encode) -> list[dict[str, Any]]:
    """Records of the clips of a walk, in time; a clip that cannot be screened is a flag of the others.

    Raises:
        GaitError: none can.

    """
    found = []
    errors: dict[int, GaitError] = {}
    for number, clip in enumerate(clips(walk, model.config.frames)):
        try:
            record = screen_clip(clip, model, reference, encode, number)
        except GaitError as error:
            errors[number + 1] = error
            continue
        found.append({"subject": walk.subject, "walk": walk.name, "clip": number + 1, **record})
    if errors and not found:
        raise next(iter(errors.values()))
    for record in found[:1]:
        record["flags"] += [f"clip {number} left out: {error}" for number, error in errors.items()]
    return found


def mean_pose(clip: Walk) -> list[list[float | None]]:
    """(17, 2) the middle position of each joint in torso lengths from the pelvis, for the picture."""
    p = clip.joints / running_torso(clip.joints)[:, None, None]
    p = p - (p[:, [INDEX["left_hip"]]] + p[:, [INDEX["right_hip"]]]) / 2
    seen = np.isfinite(p[..., 0]) & np.isfinite(p[..., 1])
    found: list[list[float | None]] = []
    for j in range(p.shape[1]):
        middle = np.median(p[seen[:, j], j], axis=0) if seen[:, j].any() else np.full(2, np.nan)
        found.append([_number(v) for v in middle])
    return found


def summary(records: list[dict[str, Any]], threshold: float, seed: int = 0) -> dict[str, Any]:
    """Of one subject from the records of its clips.

    `score` is the mean over clips; `low` and `high` are the 5th and 95th percentile of that mean when clips
    are drawn again and every joint is moved a little: how well the score repeats, not how often it is right.
    """
    draw = np.random.default_rng(seed)
    repeats = np.array([r["repeats"] for r in records])
    at = draw.integers(0, len(records), (500, len(records)))
    which = draw.integers(0, repeats.shape[1], at.shape)
    low, high = np.percentile(repeats[at, which].mean(1), [5, 95])
    score = float(np.mean([r["score"] for r in records]))
    values = {k: _mean([r["measures"][k] for r in records]) for k in records[0]["measures"]}
    z = {k: _mean([r["z"][k] for r in records]) for k in records[0]["z"]}
    parts: dict[str, list[float]] = {}
    for r in records:
        for d in r["drivers"]:
            parts.setdefault(d["column"], []).append(d["part"])
    drivers = sorted(((k, sum(v) / len(records)) for k, v in parts.items()), key=lambda d: -abs(d[1]))
    without = {k: _mean([r["without"].get(k) for r in records]) for k in records[0]["without"]}
    poses = _one_way([r["pose"] for r in records])
    pose = [[_mean([p[j][d] for p in poses]) for d in range(2)] for j in range(len(poses[0]))]
    flags = list(dict.fromkeys(f for r in records for f in r["flags"]))
    if low < threshold < high:
        flags.insert(0, "the score is near the cut: another clip could fall on the other side")
    return {
        "subject": records[0]["subject"],
        "clips": len(records),
        "score": score,
        "low": float(min(low, score)),
        "high": float(max(high, score)),
        "positive": score >= threshold,
        "measures": values,
        "z": z,
        "drivers": drivers[:DRIVERS],
        "without": without,
        "pose": pose,
        "flags": flags,
    }


def _one_way(poses: list[list[list[float | None]]]) -> list[list[list[float | None]]]:
    """Where some clips are seen from ahead and some from behind, all from ahead: their mean has no width."""

    def width(pose: list[list[float | None]]) -> float:
        left, right = pose[INDEX["left_shoulder"]][0], pose[INDEX["right_shoulder"]][0]
        return 0.0 if left is None or right is None else left - right

    if not any(width(p) > 0 for p in poses):
        return poses
    return [[[None if x is None else -x, y] for x, y in p] if width(p) < 0 else p for p in poses]


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
