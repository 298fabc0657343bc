"""The studies by name: data set, split, sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..config import DSRSDConfig
from ..data.digits import WEAK, load_digits
from ..data.gait import load_gait
from ..samples import Samples, group_folds, split_groups
from ..training import FitOptions
from .protocol import Split, Study


def cross_validation(samples: Samples, folds: int, share: float) -> Callable[[int], list[Split]]:
    """seed -> folds by person, with a share of each training part's people for early stopping."""

    def splits(seed: int) -> list[Split]:
        found = []
        for train, test in group_folds(samples.group, folds, seed):
            rest, held = split_groups(samples.group, share, seed, train)
            found.append(Split(rest, held, test))
        return found

    return splits


def digits(folder: Path) -> Study:
    """The three weak views of the numerals, five folds."""
    samples = load_digits(folder, WEAK)
    return Study(
        "mfeat: three weak views (fou, zer, mor)",
        samples,
        DSRSDConfig(modalities=samples.modalities, outcomes=len(samples.outcomes)),
        FitOptions(epochs=60, batch=128, lr=2e-3, weight_decay=1e-2, patience=12),
        cross_validation(samples, 5, 0.15),
        (f"{len(samples)} numerals, five folds", "the best single view of logistic regression has 0.816"),
        linear=True,
    )


def gait(folder: Path) -> Study:
    """Two feet, four classes, five folds by person."""
    samples = load_gait(folder)
    people = len(np.unique(samples.group.numpy()))
    return Study(
        "gait_grf: affected and unaffected foot",
        samples,
        DSRSDConfig(
            modalities=samples.modalities, outcomes=len(samples.outcomes), width=64, factors=32, layers=0,
            dropout=0.3, input_dropout=0.2,
        ),  # fmt: skip
        FitOptions(epochs=60, batch=128, lr=2e-3, weight_decay=0.05, patience=15),
        cross_validation(samples, 5, 0.15),
        (f"{len(samples)} trials of {people} people, five folds by person",),
        linear=True,
    )


STUDIES: dict[str, Callable[[Path], Study]] = {"mfeat": digits, "gait_grf": gait}
