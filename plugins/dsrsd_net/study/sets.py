"""The studies by name: data set, split, sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import DSRSDConfig
from ..data.assistments import load_assistments
from ..data.digits import WEAK, load_digits
from ..data.gait import load_gait
from ..data.oulad import load_oulad, still_registered
from ..data.practice import fill_ease
from ..errors import TableError
from ..samples import Samples, group_folds, split_groups
from ..training import FitOptions
from .protocol import Split, Study

LIGHT: dict[str, Any] = {"align": 0.02, "decorrelation": 0.01, "variance": 0.01, "orthogonality": 0.02}
"""Weights of the losses beside the task; a tenth or so of the defaults did better inside training people."""


ITEMS = 5000
"""More items than these are not given codes of their own."""


def cross_validation(
    samples: Samples, folds: int, share: float, *, balanced: bool = False
) -> Callable[[int], list[Split]]:
    """Seed -> folds by person, with a share of each training part's people for early stopping."""

    def splits(seed: int) -> list[Split]:
        found = []
        for train, test in group_folds(samples.group, folds, seed, samples.outcome if balanced else None):
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
        DSRSDConfig(modalities=samples.modalities, outcomes=len(samples.outcomes), **LIGHT),
        FitOptions(epochs=60, batch=128, lr=2e-3, weight_decay=1e-2, patience=12),
        cross_validation(samples, 5, 0.15),
        notes=(
            f"{len(samples)} numerals, five folds",
            "the best single view of logistic regression has 0.816",
        ),
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
            modalities=samples.modalities,
            outcomes=len(samples.outcomes),
            width=64,
            factors=32,
            layers=0,
            dropout=0.3,
            input_dropout=0.2,
            stream_task=1.0,
            **LIGHT,
        ),
        FitOptions(epochs=150, batch=128, lr=4e-3, weight_decay=0.05, patience=40),
        cross_validation(samples, 5, 0.15, balanced=True),
        notes=(f"{len(samples)} trials of {people} people, five folds by person",),
        linear=True,
        start=FitOptions(epochs=60, batch=128, lr=5e-4, weight_decay=0.05, patience=40),
    )


def _oulad(
    folder: Path,
    name: str,
    splits: Callable[[Samples], Callable[[int], list[Split]]],
    note: str,
    *,
    mixed: bool = False,
    transfer: bool = False,
) -> Study:
    samples = load_oulad(folder)
    absent = int((~samples.present[:, 1]).sum())
    people = len(np.unique(samples.group.numpy()))
    return Study(
        name,
        samples,
        DSRSDConfig(
            modalities=samples.modalities,
            next_step=True,
            width=64,
            factors=32,
            dropout=0.2,
            next_step_weight=0.5,
            modality_dropout=0.1,
        ),
        FitOptions(epochs=25, batch=256, lr=2e-3, weight_decay=1e-2, patience=5),
        splits(samples),
        part=("registered", still_registered(folder, samples, 56)),
        notes=(
            f"{len(samples)} enrolments of {people} students",
            "outcome: fails or withdraws, seen from week 8; registered: who had not unregistered by then",
            "next: passes the next assessment, seen from weeks 2, 4, 6 and 8",
            f"{absent} enrolments without clicks: none by week 2, or a student with several enrolments",
            note,
        ),
        mixed=mixed,
        transfer=transfer,
    )


def oulad(folder: Path) -> Study:
    """Random fifth of the students."""

    def splits(samples: Samples) -> Callable[[int], list[Split]]:
        def of(seed: int) -> list[Split]:
            rest, test = split_groups(samples.group, 0.2, seed)
            train, held = split_groups(samples.group, 0.12, seed, rest)
            return [Split(train, held, test)]

        return of

    return _oulad(
        folder,
        "OULAD week 8, random fifth of the students",
        splits,
        "test: a fifth of the students",
        mixed=True,
    )


def oulad_time(folder: Path) -> Study:
    """Trained on earlier presentations, judged on the last one; students of both are left out of training."""

    def splits(samples: Samples) -> Callable[[int], list[Split]]:
        final = samples.domain == samples.domain.max()
        test = np.flatnonzero(final.numpy())
        again = np.isin(samples.group.numpy(), samples.group[final].numpy())
        rest = np.flatnonzero(~final.numpy() & ~again)
        if len(samples.domains) < 2:
            raise TableError(
                f"{folder}: holds the presentation {', '.join(samples.domains)} alone; two are needed"
            )

        def of(seed: int) -> list[Split]:
            train, held = split_groups(samples.group, 0.12, seed, rest)
            return [Split(train, held, test)]

        return of

    return _oulad(
        folder,
        "OULAD week 8, out of time",
        splits,
        "test: the last presentation; its students are not in training",
        transfer=True,
    )


def _ease(samples: Samples, split: Split, seed: int) -> Samples:
    """Shares of right answers on item and skill, of the training students."""
    names = [m.name for m in samples.modalities]
    at = names.index("practice")
    codes = samples.inputs[names.index("responses")].numpy().astype(np.int64)
    filled = fill_ease(
        samples.inputs[at].numpy(),
        codes[..., 1],
        codes[..., 0],
        samples.steps.numpy(),
        samples.group.numpy(),
        np.concatenate((split.train, split.validation)),
        seed=seed,
    )
    inputs = list(samples.inputs)
    inputs[at] = torch.from_numpy(filled)
    return without_items(replace(samples, inputs=tuple(inputs)))


def without_items(samples: Samples) -> Samples:
    """Samples without the codes of items where these are too many to be learnt one by one (`ITEMS`).

    What is known of an item is then its ease in practice. Inside training people this gained a point of AUC
    on 2009, whose items have a dozen answers each and are otherwise learnt by heart.
    """
    inputs, modalities = list(samples.inputs), list(samples.modalities)
    for m, modality in enumerate(modalities):
        if modality.kind == "text" or len(modality.categories) < 2 or modality.categories[1] <= ITEMS:
            continue
        drop = modality.numeric + 1
        inputs[m] = torch.cat((inputs[m][..., :drop], inputs[m][..., drop + 1 :]), -1)
        codes = (modality.categories[0], *modality.categories[2:])
        modalities[m] = replace(modality, categories=codes)
    return replace(samples, inputs=tuple(inputs), modalities=tuple(modalities))


def assistments(folder: Path, *, limit: int | None = None) -> Study:
    """Next answer, each of the four folds judged once by models trained on the other three."""
    samples = load_assistments(folder, limit=limit)

    def splits(seed: int) -> list[Split]:
        found = []
        for fold in np.unique(samples.domain.numpy()):
            rest = np.flatnonzero(samples.domain.numpy() != fold)
            train, held = split_groups(samples.group, 0.1, seed, rest)
            found.append(Split(train, held, np.flatnonzero(samples.domain.numpy() == fold)))
        return found

    answers, people = int((samples.steps >= 0).sum()), len(np.unique(samples.group.numpy()))
    return Study(
        f"{folder.name}: next answer",
        samples,
        DSRSDConfig(
            modalities=samples.modalities,
            outcomes=0,
            next_step=True,
            width=64,
            factors=32,
            dropout=0.2,
            modality_dropout=0.02,
            **LIGHT,
        ),
        FitOptions(epochs=10, batch=64, lr=3e-3, weight_decay=1e-2, patience=2),
        splits,
        prepare=_ease,
        notes=(f"{answers} answers of {people} students, four student-disjoint folds",),
    )


STUDIES: dict[str, Callable[[Path], Study]] = {
    "mfeat": digits,
    "gait_grf": gait,
    "oulad": oulad,
    "oulad_time": oulad_time,
    "assist2009_pid": assistments,
    "assist2015": assistments,
    "assist2017_pid": assistments,
}
