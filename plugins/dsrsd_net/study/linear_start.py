"""Networks that start from logistic regressions, several of them averaged: few people, many columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config import DSRSDConfig
from ..network import DSRSDNet, Prediction
from ..samples import Index, Samples, split_groups
from ..training import FitOptions, Scores, fit, score
from .boosting import logistic, sklearn_modules

MEMBERS = 3
START = f"dsrsd_net on logistic answers, mean of {MEMBERS}"
SHARE = 0.15
STRENGTHS = (0.001, 0.003, 0.01, 0.03)
"""C of the regressions to choose from."""
TEMPER = 4.0
"""How much more a modality's gate weighs at first for each nat that its regression is better by."""


class LinearStartNet(DSRSDNet):
    """DSRSD-Net whose modalities begin with what logistic regressions on their columns say. Our choice.

    The regressions are fixed; each modality's answer is its regression's plus that of its own head, and the
    heads begin at zero. Shapes as in `DSRSDNet`; modalities are vectors of numbers, none of them missing.
    """

    def __init__(self, config: DSRSDConfig) -> None:
        super().__init__(config)
        sizes = [m.numeric for m in config.modalities]
        self.starts = nn.ModuleList(nn.Linear(size, config.outcomes) for size in sizes).requires_grad_(False)

    def begin(self, samples: Samples, train: Index, validation: Index) -> None:
        """Fit the regressions on `train`, their strength on `validation`; gates favour the better one."""
        for m, start in enumerate(self.starts):
            weight, bias, loss = _regression(samples, m, train, validation)
            assert isinstance(start, nn.Linear)
            start.weight.copy_(weight)
            start.bias.copy_(bias)
            gate = self.fusion.scores[m][2]  # type: ignore[index]
            nn.init.zeros_(gate.weight)
            nn.init.constant_(gate.bias, -TEMPER * loss)
        for head in (self.head, *self.stream_heads):
            nn.init.zeros_(head.outcome.weight)
            nn.init.zeros_(head.outcome.bias)

    def forward(self, present: Tensor, valid: Tensor, *inputs: Tensor) -> Prediction:
        """Predictions of `DSRSDNet` with the regressions' answers added, by the gates."""
        out = super().forward(present, valid, *inputs)
        linear = torch.stack([start(x) for start, x in zip(self.starts, inputs, strict=True)], 1)
        linear = linear.masked_fill(~present[..., None], 0.0)
        rows = torch.arange(len(present))
        at = out.gates[rows, (valid.sum(1) - 1).clamp_min(0)]
        return out._replace(
            outcome=out.outcome + (at[..., None] * linear).sum(1),
            stream_outcome=out.stream_outcome + linear,
        )


def _regression(
    samples: Samples, modality: int, train: Index, validation: Index
) -> tuple[Tensor, Tensor, float]:
    """Weights (C, F) and bias (C,) on raw columns, and the least log loss on `validation`."""
    sk: Any = sklearn_modules()
    x, y = samples.inputs[modality].double().numpy(), samples.outcome.numpy()
    scale = sk.preprocessing.StandardScaler().fit(x[train])
    best: tuple[float, Any] | None = None
    for strength in STRENGTHS:
        model = sk.linear_model.LogisticRegression(C=strength, max_iter=1000)
        model.fit(scale.transform(x[train]), y[train])
        p = model.predict_proba(scale.transform(x[validation]))
        loss = float(-np.log(p[np.arange(len(p)), y[validation]] + 1e-9).mean())
        if best is None or loss < best[0]:
            best = loss, model
    assert best is not None
    weight, bias = best[1].coef_ / scale.scale_, best[1].intercept_
    if len(weight) == 1:  # of two classes scikit-learn keeps the difference
        weight, bias = np.concatenate((-weight, weight)) / 2, np.concatenate((-bias, bias)) / 2
    bias = bias - weight @ scale.mean_
    return torch.from_numpy(weight), torch.from_numpy(bias), best[0]


def members(samples: Samples, train: Index, validation: Index, seed: int) -> list[tuple[Index, Index]]:
    """Training and stopping parts of each member: another share of the same people stops each."""
    people = np.concatenate((train, validation))
    return [split_groups(samples.group, SHARE, seed + 1000 * i, people) for i in range(MEMBERS)]


def averaged_start(
    config: DSRSDConfig,
    options: FitOptions,
    samples: Samples,
    train: Index,
    validation: Index,
    test: Index,
    seed: int,
) -> Scores:
    """Mean outcome probabilities of `MEMBERS` networks on `test`."""
    found = []
    for i, (own, held) in enumerate(members(samples, train, validation, seed)):
        torch.manual_seed(seed + 1000 * i)
        model = LinearStartNet(config)
        model.begin(samples, own, held)
        fit(model, samples, own, held, options, seed + 1000 * i)
        found.append(score(model, samples.take(test)).outcome)
    return Scores(np.mean(found, 0), np.zeros((len(test), 0)))


def averaged_logistic(samples: Samples, train: Index, validation: Index, test: Index, seed: int) -> Scores:
    """The same mean of logistic regressions, so that the average is no advantage of the network."""
    found = [logistic(samples, a, b, test).outcome for a, b in members(samples, train, validation, seed)]
    return Scores(np.mean(found, 0), np.zeros((len(test), 0)))
