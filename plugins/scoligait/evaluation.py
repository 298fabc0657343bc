"""Figures of a screening model as they should be read: macro F1, balanced accuracy, AUROC, recall of the
positives, with intervals over people, beside predictors that see no gait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinecore.metrics import Estimate, accuracy, macro_f1, roc_auc

Array = NDArray[np.float64]
REPEATS = 1000


def balanced_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean recall over the classes of `truth`."""
    t, p = np.asarray(truth), np.asarray(predicted)
    return float(np.mean([np.mean(p[t == c] == c) for c in np.unique(t)]))


def screening_figures(truth: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> dict[str, float]:
    """Of two classes: truth (N,) 0 or 1 and the probability of 1."""
    t, p = np.asarray(truth).astype(int), np.asarray(probability, dtype=float)
    said = (p >= threshold).astype(int)
    return {
        "macro F1": macro_f1(t, said),
        "balanced accuracy": balanced_accuracy(t, said),
        "AUROC": roc_auc(t, p),
        "positive recall": float(np.mean(said[t == 1])) if (t == 1).any() else float("nan"),
        "accuracy": accuracy(t, said),
    }


def class_figures(truth: ArrayLike, probability: ArrayLike) -> dict[str, float]:
    """Of several classes: truth (N,) and probabilities (N, K)."""
    t, p = np.asarray(truth), np.asarray(probability, dtype=float)
    said = p.argmax(1)
    return {
        "macro F1": macro_f1(t, said),
        "balanced accuracy": balanced_accuracy(t, said),
        "accuracy": accuracy(t, said),
    }


def clustered_interval(
    figure: Callable[[NDArray[Any]], float], subject: ArrayLike, *, repeats: int = REPEATS, seed: int = 0
) -> Estimate:
    """95 % percentile interval of `figure(rows)` under a bootstrap that draws whole people.

    Draws for which the figure does not exist (one class only) are left out.
    """
    who = np.asarray(subject)
    people = [np.flatnonzero(who == s) for s in np.unique(who)]
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(repeats):
        rows = np.concatenate([people[i] for i in draw.integers(0, len(people), len(people))])
        value = figure(rows)
        if np.isfinite(value):
            found.append(value)
    low, high = np.percentile(found, [2.5, 97.5]) if found else (np.nan, np.nan)
    return Estimate(figure(np.arange(len(who))), float(low), float(high))


def screening_table(
    truth: ArrayLike, probability: ArrayLike, subject: ArrayLike, *, repeats: int = REPEATS
) -> dict[str, Estimate]:
    """`screening_figures` with intervals over people."""
    t, p = np.asarray(truth).astype(int), np.asarray(probability, dtype=float)
    return {
        name: clustered_interval(
            lambda rows, name=name: screening_figures(t[rows], p[rows])[name],  # type: ignore[misc]
            subject,
            repeats=repeats,
        )
        for name in screening_figures(t, p)
    }


def blind_predictors(
    truth: ArrayLike, train: ArrayLike, test: ArrayLike, columns: dict[str, NDArray[Any]]
) -> dict[str, Array]:
    """Probabilities (len(test),) of predictors that see no gait, fitted on `train`: "majority", and
    "<column> only" for each of `columns` (N,), such as age and sex: words by their rate of positives, numbers
    by the rate among the nearest tenth of the training rows.
    """
    t = np.asarray(truth, dtype=float)
    seen, asked = np.asarray(train), np.asarray(test)
    rate = float(t[seen].mean())
    found = {"majority": np.full(len(asked), rate)}
    for name, values in columns.items():
        own, theirs = values[seen], values[asked]
        if np.issubdtype(values.dtype, np.number):
            near = max(5, len(seen) // 10)
            order = np.argsort(np.abs(theirs[:, None].astype(float) - own[None].astype(float)), axis=1)
            found[f"{name} only"] = t[seen][order[:, :near]].mean(1)
        else:
            rates = {v: float(t[seen][own == v].mean()) for v in np.unique(own)}
            found[f"{name} only"] = np.array([rates.get(v, rate) for v in theirs])
    return found
