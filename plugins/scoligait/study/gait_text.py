"""Motion-captured walks of two actors, descriptions by many people, share of limping (`gait_text_3d`)."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..augment import varied
from ..config import ScoliGaitConfig
from ..errors import GaitError
from ..pose import Walk, clips, mirrored
from ..readers.markers import walk_in_space
from ..samples import Clips, clip_arrays, stack_clips
from ..space import seen_from
from ..text.encoders import hashed

Array = NDArray[np.float64]
RATE = 100 / 3
STRIDE = 48
SEEN_FROM_DEG = 45.0
"""Ahead and to the left, where both sway and stride show; training sees 20 degrees more and less. Our
choice.
"""
VARIANTS = 6
"""Of each walk for training: other bodies, sides and speeds, every other one in the mirror."""
TEXTS = 8
CLASSES = ("no limp", "partly", "limp")


class GaitText:
    """The set, read once; `clips(seed)` gives it with that seed's people who describe."""

    def __init__(self, folder: Path, config: ScoliGaitConfig) -> None:
        self.config = config
        self.motions = _motions(folder)
        self.texts = _texts(folder)
        path = folder / "joint_positions_33hz.npz"
        draw = np.random.default_rng(0)
        arrays, self.motion, self.judged = [], [], []
        for m, (row, points, names) in enumerate(_points(path, self.motions)):
            whole = walk_in_space(points, names, RATE, row["motion"], row["actor"])
            for walk, judged in _views(whole, draw):
                arrays.append(clip_arrays(walk, config))
                self.motion.append(m)
                self.judged.append(judged)
        self.arrays = arrays
        self.actor = np.array([row["actor"] for row in self.motions])

    def clips(self, train_actor: str, seed: int) -> tuple[Clips, NDArray[np.intp], NDArray[np.intp]]:
        """Clips, those of the training actor, and the judged ones of the other.

        Half of the describing people, drawn by `seed`, describe the training actor, the others the one that
        is judged: neither the walker nor the words are known. All clips of a motion have the same first text.
        """
        people = sorted({who for pairs in self.texts.values() for who, _ in pairs})
        draw = np.random.default_rng(seed)
        ours = set(draw.permutation(people)[: len(people) // 2].tolist())
        rows = []
        for m, row in enumerate(self.motions):
            inside = self.actor[m] == train_actor
            own = [text for who, text in self.texts[row["motion"]] if (who in ours) == inside]
            chosen = [own[i] for i in draw.permutation(len(own))[:TEXTS]]
            chosen += [chosen[i % len(chosen)] for i in range(TEXTS - len(chosen))]
            rows.append(hashed(chosen, self.config.vocabulary, self.config.text_length))
        limp = np.array([float(row["limp"]) for row in self.motions])
        found = stack_clips(
            self.arrays,
            np.stack([rows[m] for m in self.motion]),
            outcome=[0 if limp[m] == 0 else 2 if limp[m] == 1 else 1 for m in self.motion],
            severity=[limp[m] for m in self.motion],
            subject=[int(self.actor[m] != self.actor[0]) for m in self.motion],
            walk=self.motion,
        )
        actor = self.actor[self.motion]
        judged = np.array(self.judged)
        return found, np.flatnonzero(actor == train_actor), np.flatnonzero((actor != train_actor) & judged)


def _views(whole: Walk, draw: np.random.Generator) -> list[tuple[Walk, bool]]:
    """Clips from one side, which are judged (True), and variants of the walk for training."""
    assert whole.world is not None
    side = replace(whole, joints=seen_from(whole.world, SEEN_FROM_DEG))
    found = [(clip, True) for clip in clips(side, stride=STRIDE)]
    for number in range(VARIANTS):
        other = varied(whole, draw, (SEEN_FROM_DEG - 20, SEEN_FROM_DEG + 20))
        found += [(mirrored(c) if number % 2 else c, False) for c in clips(other, stride=STRIDE)]
    return found


def _points(path: Path, motions: list[dict[str, str]]) -> Iterator[tuple[dict[str, str], Array, list[str]]]:
    """Each motion with its markers (T, M, 3) and their names.

    Raises:
        GaitError: no such file, or a motion that it lacks.

    """
    try:
        with np.load(path, allow_pickle=False) as data:
            names = [str(n) for n in data["joints"]]
            for row in motions:
                yield row, data[row["motion"]].astype(float), names
    except (KeyError, ValueError, OSError, BadZipFile) as e:
        raise GaitError(f"{path}: {e}; give the folder of gait_text_3d as it was published") from e


def _motions(folder: Path) -> list[dict[str, str]]:
    path = folder / "motions.csv"
    if not path.is_file():
        raise GaitError(f"{path}: no such file; give the folder of gait_text_3d")
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _texts(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Motion -> (annotator, words)."""
    path = folder / "annotations_anonymised.csv.gz"
    if not path.is_file():
        raise GaitError(f"{path}: no such file; give the folder of gait_text_3d")
    found: dict[str, list[tuple[str, str]]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            words = " ".join(row[k] for k in ("verb", "mod1", "mod2", "mod3") if row[k])
            if words:
                found.setdefault(row["motion"], []).append((row["annotator"], words))
    return found
