"""What a study consists of: samples, splits, methods and figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spinecore.metrics import accuracy, brier_score, calibration_error, macro_f1, roc_auc

from ..config import DSRSDConfig
from ..samples import Index, Samples
from ..training import FitOptions, Scores


class Split(NamedTuple):
    """Indices of one run; no person is in two of them."""

    train: Index
    validation: Index
    test: Index


@dataclass(frozen=True)
class Study:
    """One data set as it is judged.

    Attributes:
        name: of the study.
        samples: all of them.
        config: of the model; its modalities are those of the samples.
        options: of training, the same for every network.
        splits: seed -> the runs whose test parts are pooled before figures are taken.
        prepare: (samples, split, seed) -> samples whose columns about other people come from the split's
            training part.
        part: name and (N,) mask of samples whose AUC is given apart.
        notes: counts and choices, for the report.
        linear: add logistic regression to the scikit-learn baselines.
        start: options of networks that start from logistic regressions; None: there are none.
        mixed: also judge the mean of the model and gradient boosting.
        transfer: the test people are of a domain (presentation, site, year) that training does not see.

    """

    name: str
    samples: Samples
    config: DSRSDConfig
    options: FitOptions
    splits: Callable[[int], list[Split]]
    prepare: Callable[[Samples, Split, int], Samples] | None = None
    part: tuple[str, NDArray[np.bool_]] | None = None
    notes: tuple[str, ...] = field(default=())
    linear: bool = False
    start: FitOptions | None = None
    mixed: bool = False
    transfer: bool = False

    def __post_init__(self) -> None:
        if self.config.modalities != self.samples.modalities:
            raise ValueError(f"study {self.name}: configuration and samples name different modalities")


def check_split(samples: Samples, split: Split) -> None:
    """Refuse a split in which a person is on two sides."""
    groups = [set(samples.group[np.asarray(part)].tolist()) for part in split]
    for a, b, names in (
        (0, 1, "training and validation"),
        (0, 2, "training and test"),
        (1, 2, "validation and test"),
    ):
        common = groups[a] & groups[b]
        if common:
            raise ValueError(
                f"{len(common)} people are in {names}, for example number {min(common)}; split by person"
            )


def figures(samples: Samples, scores: Scores) -> dict[str, float]:
    """AUC, accuracy, macro F1, Brier and calibration; of two classes those of the second one."""
    found: dict[str, float] = {}
    if scores.steps.shape[1]:
        truth = samples.steps.numpy()
        known = truth >= 0
        found |= _binary("next ", truth[known], scores.steps[known])
    if scores.outcome.shape[1]:
        truth = samples.outcome.numpy()
        known = truth >= 0
        t, p = truth[known], scores.outcome[known]
        if p.shape[1] == 2:
            found |= _binary("", t, p[:, 1])
        else:
            found |= {"accuracy": accuracy(t, p.argmax(1)), "macro F1": macro_f1(t, p.argmax(1))}
    return found


def _binary(
    prefix: str, truth: Index, probability: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> dict[str, float]:
    return {
        f"{prefix}AUC": roc_auc(truth, probability),
        f"{prefix}accuracy": accuracy(truth, probability > 0.5),
        f"{prefix}macro F1": macro_f1(truth, probability > 0.5),
        f"{prefix}Brier": brier_score(truth, probability),
        f"{prefix}ECE": calibration_error(truth, probability),
    }
