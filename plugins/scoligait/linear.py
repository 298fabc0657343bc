"""A logistic regression on cells of the map, fitted before the network and then fixed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ScoliGaitConfig

ITERATIONS = 200


class LinearMap(nn.Module):
    """Standardised map (B, T, columns) to logits (B, K) of the classes.

    Takes every frame of `config.linear_columns` as a number of its own, standardised again. Few people and
    curves of normalised time are the case for it: the network then learns what it leaves over.
    """

    mean: Tensor
    spread: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.columns, self.share = list(config.linear_columns), config.linear_share
        cells = config.frames * len(self.columns)
        self.register_buffer("mean", torch.zeros(cells))
        self.register_buffer("spread", torch.ones(cells))
        self.register_buffer("weight", torch.zeros(config.outcomes, cells))
        self.register_buffer("bias", torch.zeros(config.outcomes))

    def cells(self, standard: Tensor, valid: Tensor) -> Tensor:
        """(B, T x columns); frames past the end are 0, the mean of their column."""
        return (standard[..., self.columns] * valid[..., None]).flatten(1)

    def forward(self, standard: Tensor, valid: Tensor) -> Tensor:
        """Logits."""
        return F.linear((self.cells(standard, valid) - self.mean) / self.spread, self.weight, self.bias)

    def fit(self, standard: Tensor, valid: Tensor, outcome: Tensor, weights: Tensor) -> None:
        """Least class-weighted cross-entropy: its sum times `linear_share`, plus half the squared weights."""
        x = self.cells(standard, valid).double()
        spread = x.std(0, correction=0)
        mean, spread = x.mean(0), torch.where(spread > 1e-6, spread, torch.ones_like(spread))
        x = (x - mean) / spread
        weight = torch.zeros(self.weight.shape, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(self.bias.shape, dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            solver.zero_grad()
            each = F.cross_entropy(F.linear(x, weight, bias), outcome, weights.double(), reduction="none")
            found = self.share * each.sum() + weight.square().sum() / 2
            found.backward()  # type: ignore[no-untyped-call]
            return found

        solver.step(loss)  # type: ignore[no-untyped-call]
        for own, found in (
            (self.mean, mean),
            (self.spread, spread),
            (self.weight, weight),
            (self.bias, bias),
        ):
            own.copy_(found.detach())
