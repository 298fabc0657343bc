"""Which modality drove a prediction: gates, what leaving one out changes, and the shares of shared and
private factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spinecore.metrics import bootstrap_interval

from .network import DSRSDNet, Prediction
from .samples import Samples

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Drivers:
    """What stands behind the predictions of N samples.

    Attributes:
        probability: (N, C) of the outcomes, or (N, 2) of no and yes at the last step.
        shown: (N,) class the rest speaks of: the second of two, else the likeliest.
        gates: (N, M) at the last step.
        drop: (N, M) probability of `shown` minus what it is without that modality; NaN where it is
            absent or alone.
        shared, private: (N,) parts that add up to the probability of `shown` minus what it is with the
            average factors of all samples and this sample's gates.

    """

    modalities: tuple[str, ...]
    probability: Matrix
    shown: NDArray[np.int64]
    gates: Matrix
    drop: Matrix
    shared: Matrix
    private: Matrix


def _probability(outcome: Tensor, steps: Tensor, last: Tensor) -> Tensor:
    """(N, C) of the outcome; without one of "no" and "yes" at the last step."""
    if outcome.shape[1]:
        return outcome.double().softmax(-1)
    yes = steps[torch.arange(len(last)), last].double().sigmoid()
    return torch.stack((1 - yes, yes), 1)


def explain(model: DSRSDNet, samples: Samples, batch: int = 512) -> Drivers:
    """Predict samples and say what drove each prediction.

    The split of a prediction in shared and private part is the Shapley value of two players; in the absence
    of one its factors are the average over the samples (our choice).
    """
    model.eval()
    count = len(samples.modalities)
    parts = [samples.batch(np.arange(i, min(i + batch, len(samples)))) for i in range(0, len(samples), batch)]
    with torch.no_grad():
        found = [model(s.present, s.valid, *s.inputs) for s in parts]
        full = [_probability(o.outcome, o.steps, s.last) for s, o in zip(parts, found, strict=True)]
        probability = torch.cat(full)
        shown = (
            probability.argmax(1)
            if probability.shape[1] > 2
            else torch.ones(len(probability), dtype=torch.long)
        )
        own = probability.gather(1, shown[:, None])[:, 0]
        drop = torch.full((len(samples), count), torch.nan, dtype=torch.float64)
        for m in range(count):
            without = torch.cat([_without(model, s, o, m) for s, o in zip(parts, found, strict=True)])
            can = samples.present[:, m] & (samples.present.sum(1) > 1)
            drop[can, m] = own[can] - without.gather(1, shown[:, None])[can, 0]
        gates = torch.cat([o.gates[torch.arange(len(s)), s.last] for s, o in zip(parts, found, strict=True)])
        shared, private = _split(model, parts, found, shown)
    return Drivers(
        tuple(m.name for m in samples.modalities),
        probability.numpy(),
        shown.numpy(),
        gates.double().numpy(),
        drop.numpy(),
        shared.numpy(),
        private.numpy(),
    )


def _without(model: DSRSDNet, samples: Samples, out: Prediction, m: int) -> Tensor:
    """Probabilities when one modality is absent: the factors of the others do not change, the gates do."""
    present = samples.present.clone()
    present[:, m] = False
    s, p = out.shared.clone(), out.private.clone()
    s[:, :, m], p[:, :, m] = 0.0, 0.0
    got = model.predict(s, p, present, samples.valid)
    return _probability(got.outcome, got.steps, samples.last)


def _split(
    model: DSRSDNet, parts: list[Samples], found: list[Prediction], shown: Tensor
) -> tuple[Tensor, Tensor]:
    """Shapley parts of the shared and of the private half of the fused features."""
    here = torch.cat([s.present for s in parts])
    rows = [torch.arange(len(s)) for s in parts]
    s = torch.cat([o.shared[r, x.last] for r, x, o in zip(rows, parts, found, strict=True)])
    p = torch.cat([o.private[r, x.last] for r, x, o in zip(rows, parts, found, strict=True)])
    gates = torch.cat([o.gates[r, x.last] for r, x, o in zip(rows, parts, found, strict=True)])
    count = here.sum(0).clamp_min(1)[:, None]
    average_s, average_p = (x.sum(0) / count for x in (s, p))  # the absent are zero
    step = torch.ones(len(here), 1, dtype=torch.bool)

    def chance(shared: Tensor, private: Tensor) -> Tensor:
        got = model.predict(
            shared.expand_as(s)[:, None], private.expand_as(p)[:, None], here, step, gates[:, None]
        )
        last = torch.zeros(len(here), dtype=torch.long)
        return _probability(got.outcome, got.steps, last).gather(1, shown[:, None])[:, 0]

    both, none, only_s, only_p = (
        chance(s, p),
        chance(average_s, average_p),
        chance(s, average_p),
        chance(average_s, p),
    )
    return ((only_s - none) + (both - only_p)) / 2, ((only_p - none) + (both - only_s)) / 2


@dataclass(frozen=True)
class Row:
    """One group's mean of one figure, with a 95 % interval over people."""

    group: str
    count: int
    figure: str
    modality: str
    mean: float
    low: float
    high: float


def aggregate(drivers: Drivers, labels: list[str], people: NDArray[np.int64]) -> list[Row]:
    """Mean gate, size of the drop-one effect and shared share, by label and over all, with intervals over
    people.
    """
    at = np.array(labels)
    groups = ["all", *sorted(set(labels))] if len(set(labels)) > 1 else ["all"]
    rows: list[Row] = []
    total = np.abs(drivers.shared) + np.abs(drivers.private)
    share = np.where(total > 0, np.abs(drivers.shared) / np.where(total > 0, total, 1), np.nan)
    for group in groups:
        inside = np.ones(len(at), dtype=bool) if group == "all" else at == group
        figures = [("shared share of the effect", "", share)]
        for m, name in enumerate(drivers.modalities):
            figures += [("gate", name, drivers.gates[:, m]), ("drop-one effect", name, drivers.drop[:, m])]
            figures += [("size of the drop-one effect", name, np.abs(drivers.drop[:, m]))]
        for figure, name, values in figures:
            kept = inside & np.isfinite(values)
            if kept.any():
                found = bootstrap_interval(values[kept], people[kept])
                rows.append(Row(group, int(kept.sum()), figure, name, *found))
    return rows
