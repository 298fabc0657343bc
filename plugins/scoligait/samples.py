"""Clips in memory as the network takes them, and splits in which nobody is on two sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import MODALITIES, ScoliGaitConfig
from .errors import GaitError
from .kinematics import knowledge_map
from .pictures import recorded_pictures, skeleton_maps
from .pose import Walk

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Clips:
    """N clips.

    Attributes:
        map: (N, T, columns) with NaN for missing. video: (N, F, C, H, W) uint8. text: (N, P, L) token numbers
            or (N, P, E) vectors: P texts of a clip, of which training draws one and scoring takes the first.
        valid: (N, T), frames inside the walk. present: (N, 3), which of map, video, text there is.
        outcome: (N,) class, -1 unknown. severity: (N,) 0..1, NaN unknown.
        subject, walk: (N,) numbers; nobody straddles a split, scores are means over the clips of a walk.
        names: of the clips. extra: other columns (N,), such as age or sex.

    """

    map: Tensor
    video: Tensor
    text: Tensor
    valid: Tensor
    present: Tensor
    outcome: Tensor
    severity: Tensor
    subject: Tensor
    walk: Tensor
    names: tuple[str, ...] = ()
    extra: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.valid)

    def take(self, index: Index) -> Clips:
        """Clips of these places."""
        at = torch.as_tensor(index, dtype=torch.long)
        rows = [int(i) for i in at]
        return replace(
            self,
            **{k: v[at] for k, v in vars(self).items() if isinstance(v, Tensor)},
            names=tuple(self.names[i] for i in rows) if self.names else (),
            extra={k: v[rows] for k, v in self.extra.items()},
        )

    def inputs(self, config: ScoliGaitConfig, draw: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """`present`, `valid` and the modalities of `config`; a text of each clip drawn, or the first."""
        at = [MODALITIES.index(m) for m in config.modalities]
        rows = torch.arange(len(self))
        pool = self.text.shape[1]
        choice = torch.randint(0, pool, (len(self),), generator=draw) if draw is not None else 0 * rows
        every = {
            "map": lambda: self.map,
            "video": lambda: self.video,
            "text": lambda: self.text[rows, choice],
        }
        return self.present[:, at], self.valid, *(every[m]() for m in config.modalities)


def clip_arrays(walk: Walk, config: ScoliGaitConfig) -> dict[str, NDArray[Any]]:
    """Map (T, 238), video (F, C, H, W) uint8, valid (T,) and present (3,) of one clip; a short one is padded.

    A recording without the pictures that `config` asks for has no video; a text is always there.
    """
    count = len(walk.joints)
    if count > config.frames:
        raise GaitError(f"{walk.name}: a clip of {count} frames; cut it to {config.frames} with `clips`")
    values = np.full((config.frames, config.columns), np.nan, dtype=np.float32)
    values[:count] = knowledge_map(walk.joints, walk.confidence).values
    valid = np.zeros(config.frames, dtype=bool)
    valid[:count] = True
    draw = {"skeleton": skeleton_maps, "recorded": recorded_pictures}[config.pictures]
    size = (config.video_frames, config.video_height, config.video_width)
    there = config.pictures == "skeleton" or walk.pictures is not None
    video = (
        draw(walk, config.frames, *size) if there else np.zeros((size[0], config.video_channels, *size[1:]))
    )
    return {
        "map": values,
        "video": (255 * video + 0.5).astype(np.uint8),
        "valid": valid,
        "present": np.array([True, there, True]),
    }


def stack_clips(
    arrays: Sequence[dict[str, NDArray[Any]]],
    text: NDArray[Any],
    *,
    outcome: Sequence[int] | None = None,
    severity: Sequence[float] | None = None,
    subject: Sequence[int] | None = None,
    walk: Sequence[int] | None = None,
    names: Sequence[str] = (),
) -> Clips:
    """Clips from `clip_arrays` and texts (N, P, L); what is unknown is -1 or NaN, subjects default to 0."""
    count = len(arrays)

    def column(values: Sequence[Any] | None, missing: Any, kind: torch.dtype) -> Tensor:
        return torch.tensor(list(values) if values is not None else [missing] * count, dtype=kind)

    return Clips(
        map=torch.from_numpy(np.stack([a["map"] for a in arrays])),
        video=torch.from_numpy(np.stack([a["video"] for a in arrays])),
        text=torch.from_numpy(text),
        valid=torch.from_numpy(np.stack([a["valid"] for a in arrays])),
        present=torch.from_numpy(np.stack([a["present"] for a in arrays])),
        outcome=column(outcome, -1, torch.long),
        severity=column(severity, float("nan"), torch.float32),
        subject=column(subject, 0, torch.long),
        walk=column(walk, 0, torch.long) if walk is not None else torch.arange(count),
        names=tuple(names),
    )


def check_split(subject: Tensor, *parts: Index) -> None:
    """Refuse parts of a split that share a subject.

    Raises:
        GaitError: how many people are on two sides, and one of them.

    """
    groups = [set(subject[torch.as_tensor(p, dtype=torch.long)].tolist()) for p in parts]
    for i, a in enumerate(groups):
        for b in groups[i + 1 :]:
            if a & b:
                raise GaitError(
                    f"{len(a & b)} subjects are on two sides of the split, for example number {min(a & b)}; "
                    "clips of one person never straddle a split"
                )


def split_subjects(subject: Tensor, share: float, seed: int) -> tuple[Index, Index]:
    """Places of a training part and of a part with `share` of the subjects, at least one."""
    people = np.unique(subject.numpy())
    if len(people) < 2:
        raise GaitError(f"{len(people)} subject; two at least are needed to hold some out")
    order = np.random.default_rng(seed).permutation(people)
    held = order[: max(1, round(share * len(people)))]
    inside = np.isin(subject.numpy(), held)
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def subject_folds(subject: Tensor, outcome: Tensor, folds: int, seed: int) -> list[tuple[Index, Index]]:
    """Train and test places of `folds` parts by subject, each with its share of every class."""
    who, kind = subject.numpy(), outcome.numpy()
    people, first = np.unique(who, return_index=True)
    draw = np.random.default_rng(seed)
    place = np.empty(len(people), dtype=np.intp)
    begin = 0
    for c in np.unique(kind[first]):
        of = np.flatnonzero(kind[first] == c)
        place[draw.permutation(of)] = (begin + np.arange(len(of))) % folds
        begin += len(of)
    found = []
    for f in range(folds):
        inside = np.isin(who, people[place == f])
        found.append((np.flatnonzero(~inside), np.flatnonzero(inside)))
    return found
