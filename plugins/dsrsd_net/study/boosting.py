"""scikit-learn beside the networks: gradient boosting and logistic regression on the same columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TableError
from ..samples import Index, Samples
from ..training import Scores

Matrix = NDArray[np.float64]


def sklearn_modules() -> Any:
    """scikit-learn with what the baselines use, or an error that names the extra."""
    try:
        import sklearn.ensemble
        import sklearn.linear_model
        import sklearn.pipeline
        import sklearn.preprocessing
    except ImportError as e:
        raise TableError(
            "this baseline needs scikit-learn; install the extra: spinecore-torch[multimodal]"
        ) from e
    return sklearn


def flat_columns(samples: Samples) -> tuple[Matrix, list[int]]:
    """All modalities side by side, steps in a row, absent ones NaN; and which columns are codes."""
    blocks: list[Matrix] = []
    codes: list[int] = []
    width = 0
    for m, (modality, x) in enumerate(zip(samples.modalities, samples.inputs, strict=True)):
        values = x.numpy().astype(np.float64)
        values[~samples.present[:, m].numpy()] = np.nan
        each = values.shape[-1]
        if modality.stepwise:
            values = np.where(samples.valid.numpy()[..., None], values, np.nan).reshape(len(values), -1)
        if modality.kind != "text":
            codes += [width + c for c in range(values.shape[1]) if c % each >= modality.numeric]
        blocks.append(values)
        width += values.shape[1]
    return np.concatenate(blocks, 1), codes


def step_columns(samples: Samples) -> tuple[Matrix, list[int]]:
    """One row a known answer: each modality's columns at that step."""
    known = samples.steps.numpy() >= 0
    steps = known.shape[1]
    blocks: list[Matrix] = []
    codes: list[int] = []
    width = 0
    for m, (modality, x) in enumerate(zip(samples.modalities, samples.inputs, strict=True)):
        values = x.numpy()
        if not modality.stepwise:
            values = np.repeat(values[:, None], steps, 1)
        rows = values[known].astype(np.float64)
        rows[~np.repeat(samples.present[:, m].numpy()[:, None], steps, 1)[known]] = np.nan
        if modality.kind != "text":
            codes += list(range(width + modality.numeric, width + rows.shape[1]))
        blocks.append(rows)
        width += rows.shape[1]
    return np.concatenate(blocks, 1), codes


def logistic(samples: Samples, train: Index, validation: Index, test: Index) -> Scores:
    """Outcome probabilities of `test` from logistic regression; its strength is chosen on `validation`."""
    sk = sklearn_modules()
    x, y = np.nan_to_num(flat_columns(samples)[0]), samples.outcome.numpy()
    best, kept = -1.0, None
    for strength in (0.001, 0.01, 0.1, 1.0):
        model = sk.pipeline.make_pipeline(
            sk.preprocessing.StandardScaler(), sk.linear_model.LogisticRegression(C=strength, max_iter=1000)
        )
        right = float(model.fit(x[train], y[train]).score(x[validation], y[validation]))
        if right > best:
            best, kept = right, model
    assert kept is not None
    outcome = np.zeros((len(test), int(y.max()) + 1))
    outcome[:, kept.classes_] = kept.predict_proba(x[test])
    return Scores(outcome, np.zeros((len(test), 0)))


def boosted(samples: Samples, train: Index, test: Index, seed: int) -> Scores:
    """Outcome and step probabilities of `test` from gradient boosting fitted on `train`."""
    outcome = np.zeros((len(test), 0))
    steps = np.zeros((len(test), 0))
    if (samples.outcome >= 0).any():
        x, codes = flat_columns(samples)
        y = samples.outcome.numpy()
        fitted = _fit(x[train][y[train] >= 0], y[train][y[train] >= 0], codes, seed)
        outcome = np.zeros((len(test), int(y.max()) + 1))
        outcome[:, fitted.classes_] = fitted.predict_proba(x[test])
    if (samples.steps >= 0).any():
        seen, asked = samples.take(train), samples.take(test)
        x, codes = step_columns(seen)
        fitted = _fit(x, seen.steps.numpy()[seen.steps.numpy() >= 0], codes, seed)
        steps = np.zeros(asked.steps.shape)
        steps[asked.steps.numpy() >= 0] = fitted.predict_proba(step_columns(asked)[0])[:, 1]
    return Scores(outcome, steps)


def _fit(x: Matrix, y: NDArray[np.int64], codes: list[int], seed: int) -> Any:
    sk = sklearn_modules()
    # A column that is empty in training cannot be binned (scikit-learn 1.9): an empty one stays so as zeros.
    empty = ~np.isfinite(x).any(0)
    x = np.where(empty, 0.0, x)
    # Codes of many values are left as numbers: scikit-learn takes at most 255 categories.
    few = [c for c in codes if np.nanmax(x[:, c], initial=0) < 255]
    booster = sk.ensemble.HistGradientBoostingClassifier(
        learning_rate=0.06, max_iter=300, max_leaf_nodes=15, l2_regularization=1.0, early_stopping=True,
        categorical_features=few or None, random_state=seed,
    )  # fmt: skip
    return booster.fit(x, y)
