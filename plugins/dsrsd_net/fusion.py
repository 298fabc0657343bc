"""Gated fusion with a presence mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def masked_softmax(scores: Tensor, present: Tensor) -> Tensor:
    """Softmax over the last dimension among what is present; all zero where nothing is."""
    scores = scores.masked_fill(~present, -torch.inf)
    least = torch.where(present.any(-1, keepdim=True), scores.amax(-1, keepdim=True), 0.0)
    powers = torch.where(present, (scores - least).exp(), 0.0)
    return powers / powers.sum(-1, keepdim=True).clamp_min(1e-12)


class GatedFusion(nn.Module):
    """q = concat(sum_m g_m s^m, g_1 p^1, ..., g_M p^M), g the masked softmax of a small network over [s; p].

    Each modality has its own network, since factors of different encoders are not comparable. Our choice.
    """

    def __init__(self, factors: int, count: int) -> None:
        super().__init__()
        self.scores = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * factors, factors // 2 + 1), nn.Tanh(), nn.Linear(factors // 2 + 1, 1))
            for _ in range(count)
        )

    def forward(self, shared: Tensor, private: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, M, k) twice and (B, T, M) bool -> q (B, T, k (M + 1)) and gates (B, T, M)."""
        both = torch.cat((shared, private), -1)
        scores = torch.cat([net(both[..., m, :]) for m, net in enumerate(self.scores)], -1)
        gates = masked_softmax(scores, present)
        return fuse(shared, private, gates), gates


def fuse(shared: Tensor, private: Tensor, gates: Tensor) -> Tensor:
    """The fused features for given gates; a gate of zero removes its modality altogether."""
    weight = gates[..., None]
    return torch.cat(((weight * shared).sum(-2), (weight * private).flatten(-2)), -1)
