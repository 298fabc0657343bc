"""The methods of a study by name, each from split to test probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..baselines import METHODS, Baseline
from ..errors import TableError
from ..network import DSRSDNet
from ..samples import Samples
from ..training import Scores, fit, score
from .boosting import boosted, logistic
from .linear_start import MEMBERS, START, averaged_logistic, averaged_start
from .protocol import Split, Study

AVERAGED = f"logistic, mean of {MEMBERS}"
WITH_BOOSTING = "dsrsd_net + boosting"
"""Mean probabilities of the two."""
ABLATIONS: dict[str, dict[str, float]] = {
    "no alignment": {"align": 0.0},
    "no decorrelation": {"decorrelation": 0.0},
    "no variance": {"variance": 0.0},
    "no orthogonality": {"orthogonality": 0.0},
    "no modality dropout": {"modality_dropout": 0.0},
    "no stream heads": {"stream_task": 0.0},
    "other projection": {},
}


def method_names(study: Study) -> list[str]:
    """Every method that makes sense: fusion baselines need two modalities."""
    names = [m.name for m in study.samples.modalities]
    several = len(names) > 1
    tools = ["boosting", *(["logistic"] if study.linear else [])]
    alone = [f"{what}: {n}" for what in ("alone", *tools) for n in names]
    if study.start is not None:
        alone += [START, *(f"{AVERAGED}: {n}" for n in names)]
    mixed = [WITH_BOOSTING] if study.mixed else []
    together = [*METHODS, *(f"{t}: all" for t in tools)] if several else []
    return ["dsrsd_net", *mixed, *together, *alone]


def prepared(study: Study, method: str, split: Split, seed: int) -> Samples:
    """The study's samples with the modalities of `method`: "a: b" is tool a on modality b or on all."""
    samples, kind, _, which = study.samples, *method.partition(": ")
    tools = ("boosting", "logistic", AVERAGED, "alone", "dsrsd_net", START)
    if kind not in (*tools, *METHODS) and method not in ABLATIONS:
        raise TableError(f"method {method!r} is unknown; use {', '.join(method_names(study))} or an ablation")
    if study.prepare is not None:
        samples = study.prepare(samples, split, seed)
    if which and which != "all":
        names = [m.name for m in samples.modalities]
        if which not in names:
            raise TableError(f"method {method!r}: no modality {which!r}; there are {', '.join(names)}")
        samples = samples.only([names.index(which)])
    return samples


def train_method(study: Study, method: str, split: Split, seed: int) -> tuple[DSRSDNet | Baseline, Samples]:
    """A trained network and the samples as it sees them."""
    samples = prepared(study, method, split, seed)
    model = _build(study, method, samples, seed)
    fit(model, samples, split.train, split.validation, study.options, seed)
    return model, samples


def run_method(study: Study, method: str, split: Split, seed: int) -> Scores:
    """Train `method` on a split and score the test part."""
    tool = method.partition(": ")[0]
    if tool == "boosting":
        return boosted(prepared(study, method, split, seed), split.train, split.test, seed)
    if tool == "logistic":
        return logistic(prepared(study, method, split, seed), split.train, split.validation, split.test)
    if tool == AVERAGED:
        return averaged_logistic(prepared(study, method, split, seed), *split, seed)
    if tool == START:
        if study.start is None:
            raise TableError(f"{study.name}: has no method {method!r}")
        samples = prepared(study, method, split, seed)
        return averaged_start(study.config, study.start, samples, *split, seed)
    if method == WITH_BOOSTING:
        both = [run_method(study, m, split, seed) for m in ("dsrsd_net", "boosting: all")]
        return Scores(*(np.mean([getattr(s, part) for s in both], 0) for part in ("outcome", "steps")))
    model, samples = train_method(study, method, split, seed)
    return score(model, samples.take(split.test))


def _build(study: Study, method: str, samples: Samples, seed: int) -> DSRSDNet | Baseline:
    torch.manual_seed(seed)
    config = replace(study.config, modalities=samples.modalities)
    if method.startswith("alone"):
        return Baseline(replace(config, modality_dropout=0.0), "early")
    if method in METHODS:
        return Baseline(config, method)
    changes: dict[str, float | str] = dict(ABLATIONS.get(method, {}))
    if method == "other projection":
        changes["projection"] = "soft" if config.projection == "hard" else "hard"
    return DSRSDNet(replace(config, **changes))  # type: ignore[arg-type]
