"""The studies by name: data set, splits, methods, figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from spinecore.metrics import macro_f1

from ..config import MODALITIES, ScoliGaitConfig
from ..errors import GaitError
from ..evaluation import class_figures, clustered_interval
from ..fitting import FitOptions, by_walk, class_weights, fit, fit_stems, probabilities
from ..network import ScoliGait
from ..samples import Clips, Index, check_split, subject_folds
from .gait_text import CLASSES, GaitText
from .ground_forces import AFFECTED, load_forces
from .protocol import Figures, Study

Array = NDArray[np.float64]

SUBSETS = {"+".join(part): part for n in (3, 2, 1) for part in combinations(MODALITIES, n)}
ALL = "+".join(MODALITIES)
FORMS: dict[str, dict[str, Any]] = {
    "latent": {},
    "dictionary": {"fusion": "dictionary"},
    "attention": {"fusion": "attention"},
    "concat": {"fusion": "concat"},
    "latent, not aligned": {"aligned": False},
}
OWN: dict[str, Any] = {"experts": 1.0, "balanced": True}
"""Every modality also answers for itself, and weighs the same: a weak one should not spoil a strong one."""
METHODS: dict[str, dict[str, Any]] = {
    **{f"{ALL}, {form}": {"modalities": MODALITIES, **changes} for form, changes in FORMS.items()},
    **{f"{name}, latent": {"modalities": part} for name, part in SUBSETS.items() if len(part) == 2},
    **{name: {"modalities": part} for name, part in SUBSETS.items() if len(part) == 1},
    **{
        f"{ALL}, {form}, own answers": {"modalities": MODALITIES, **changes, **OWN}
        for form, changes in FORMS.items()
        if changes.get("aligned", True)
    },
    "video+text, latent, own answers": {"modalities": ("video", "text"), **OWN},
}
TEXT_OPTIONS = FitOptions(epochs=12, batch=32)
FORCE_OPTIONS = FitOptions(epochs=30, batch=32)


def build(config: ScoliGaitConfig, seed: int) -> ScoliGait:
    """A fresh network."""
    torch.manual_seed(seed)
    return ScoliGait(config)


def gait_text(folder: Path) -> Study:
    """Train on one actor, judge the other, both ways."""
    config = ScoliGaitConfig(outcomes=3, map_patch=4, tubelet=4, text_length=64)
    found: list[GaitText] = []

    def judge(method: str, seed: int, folds: int | None, robust: bool) -> dict[str, Figures]:
        if not found:
            found.append(GaitText(folder, config))
        part: dict[str, Any] = METHODS.get(method, {"modalities": ("map",)})
        own = replace(config, **part, modality_dropout=0.3 if len(part["modalities"]) > 1 else 0.0)
        hidden: dict[str, tuple[str, ...]] = {method: ()}
        if robust and len(own.modalities) > 1:
            hidden |= {f"{method}, without {m} when judged": (m,) for m in own.modalities}
        scores: dict[str, list[Array]] = {name: [] for name in hidden}
        truth, severity = [], []
        for actor in ("k", "t")[:folds]:
            clips, train, test = found[0].clips(actor, seed)
            check_split(clips.subject, train, test)
            walk = clips.walk.numpy()[test]
            model = None
            if method != "majority":
                model = build(own, seed)
                fit(model, clips, train, TEXT_OPTIONS, seed)
            for name, without in hidden.items():
                p = np.tile([1.0, 0.0, 0.0], (len(test), 1))
                if model is not None:
                    p = probabilities(model, clips, test, hidden=without)
                score, first = by_walk(p, walk)
                scores[name].append(score)
            truth.append(clips.outcome.numpy()[test][first])
            severity.append(clips.severity.numpy()[test][first])
        weights = np.array(config.severities)
        return {
            name: {
                **class_figures(np.concatenate(truth), np.concatenate(parts)),
                "Spearman with limp fraction": float(
                    np.mean([_spearman(p @ weights, s) for p, s in zip(parts, severity, strict=True)])
                ),
            }
            for name, parts in scores.items()
        }

    return Study(
        "gait_text_3d: limp of one actor, learned from the other",
        (*METHODS, "majority"),
        judge,
        notes=(
            f"124 walks of two actors, both directions pooled; classes {', '.join(CLASSES)}",
            "one description a walk, by people who described none of the training walks",
            "Spearman is within each judged actor, then averaged",
        ),
    )


def _spearman(a: Array, b: Array) -> float:
    return 0.0 if np.ptp(a) == 0 else float(spearmanr(a, b).statistic)


def forces(folder: Path) -> Study:
    """Four classes of ground-reaction forces, five folds by subject."""
    clips, config, flat = load_forces(folder)
    truth = clips.outcome.numpy()
    people = len(np.unique(clips.subject.numpy()))

    def judge(method: str, seed: int, folds: int | None, robust: bool) -> dict[str, Figures]:  # noqa: ARG001
        parts = subject_folds(clips.subject, clips.outcome, 5, seed)[:folds]
        score = []
        for train, test in parts:
            check_split(clips.subject, train, test)
            if method.startswith("logistic"):
                score.append(_logistic(flat[train], truth[train], flat[test]))
                continue
            if method == "majority":
                score.append(
                    np.tile(np.eye(config.outcomes)[np.bincount(truth[train]).argmax()], (len(test), 1))
                )
                continue
            model = build(replace(config, **FORCE_METHODS.get(method, SMALL)), seed)
            if method == LINEAR:
                score.append(_linear(model, clips, train, test))
                continue
            decay = SMALL_DECAY if method == BOTH else FORCE_OPTIONS.weight_decay
            fit(model, clips, train, replace(FORCE_OPTIONS, weight_decay=decay), seed)
            score.append(probabilities(model, clips, test))
        at = np.concatenate([test for _, test in parts])
        p, t = np.concatenate(score), truth[at]
        mean, first = by_walk(p, clips.walk.numpy()[at])
        who = clips.subject.numpy()[at]
        _, low, high = clustered_interval(lambda rows: macro_f1(t[rows], p[rows].argmax(1)), who, repeats=300)
        limits = {"macro F1, 2.5 % over subjects": low, "97.5 %": high}
        person = {f"{k}, mean of a subject's trials": v for k, v in class_figures(t[first], mean).items()}
        return {method: {**class_figures(t, p), **limits, **person}}

    return Study(
        "gait_grf: healthy, hip, knee or ankle from ground-reaction forces",
        (*FORCE_METHODS, LINEAR, "logistic: affected", "majority"),
        judge,
        notes=(
            f"{len(clips)} trials of {people} subjects, five folds by subject",
            "map branch on 30 columns: forces, slopes, differences of the feet, 15 cross-correlations",
            "the linear answer takes forces and slopes of the affected foot",
        ),
    )


LINEAR = "map, linear answer alone"
BOTH = "map, latent, small, with the linear answer"
SMALL: dict[str, Any] = {
    "width": 32,
    "depth": 1,
    "latents": 8,
    "map_patch": 10,
    "experts": 1.0,
    "linear_columns": AFFECTED,
}
SMALL_DECAY = 0.3
FORCE_METHODS: dict[str, dict[str, Any]] = {
    "map, latent": {},
    "map, dictionary": {"fusion": "dictionary"},
    "map, attention": {"fusion": "attention"},
    "map, mean": {"fusion": "concat"},
    BOTH: SMALL,
}


def _linear(model: ScoliGait, clips: Clips, train: Index, test: Index) -> Array:
    seen, asked = clips.take(train), clips.take(test)
    fit_stems(model, seen, class_weights(seen.outcome, model.config.outcomes))
    found: Array = model.linear(model.map.standard(asked.map), asked.valid).double().softmax(-1).numpy()
    return found


def _logistic(train: Array, truth: NDArray[np.int64], test: Array) -> Array:
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as e:
        raise GaitError(
            "the logistic baseline needs scikit-learn; install it with pip install "
            "'spinecore-torch[multimodal]'"
        ) from e
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=1000))
    found: Array = model.fit(train, truth).predict_proba(test)
    return found


STUDIES: dict[str, Callable[[Path], Study]] = {"gait_text_3d": gait_text, "gait_grf": forces}
