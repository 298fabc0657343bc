"""Tokens of all modalities to one vector: four forms behind one interface."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spinecore.nn import LatentAttentionPool, LatentDictionaryPool

from .config import ScoliGaitConfig
from .encoders import Block


class LatentFusion(nn.Module):
    """B: r latents query the tokens; residual MLP and norm; their mean (PMA with our operator)."""

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.pool = LatentAttentionPool(config.width, config.latents, config.heads)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.hidden = nn.Linear(config.width, config.mlp * config.width)
        self.back = nn.Linear(config.mlp * config.width, config.width)

    def forward(self, tokens: list[Tensor], keeps: list[Tensor]) -> Tensor:
        """(B, D)."""
        pooled = self.pool(torch.cat(tokens, 1), torch.cat(keeps, 1))
        h = self.norm1(pooled)
        y: Tensor = self.norm2(h + self.back(F.gelu(self.hidden(h)))).mean(1)
        return y


class DictionaryFusion(nn.Module):
    """A: every token queries a dictionary, the masked mean of the answers, then an MLP.

    NV-Embed has the MLP before the mean; the fused operator averages, so that it comes after it here.
    """

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.pool = LatentDictionaryPool(config.width, config.entries, config.heads)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.hidden = nn.Linear(config.width, config.mlp * config.width)
        self.back = nn.Linear(config.mlp * config.width, config.width)

    def forward(self, tokens: list[Tensor], keeps: list[Tensor]) -> Tensor:
        """(B, D)."""
        h = self.norm1(self.pool(torch.cat(tokens, 1), torch.cat(keeps, 1)))
        y: Tensor = self.norm2(h + self.back(F.gelu(self.hidden(h))))
        return y


class AttentionFusion(nn.Module):
    """One transformer layer over all tokens, then their masked mean ("Cat+Att")."""

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.block = Block(config.width, config.heads, config.mlp, config.dropout)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: list[Tensor], keeps: list[Tensor]) -> Tensor:
        """(B, D)."""
        keep = torch.cat(keeps, 1)
        y: Tensor = self.norm(masked_mean(self.block(torch.cat(tokens, 1), keep), keep))
        return y


class ConcatFusion(nn.Module):
    """Means of the modalities side by side, zeros for an absent one, and a linear map ("Concat")."""

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.out = nn.Linear(len(config.modalities) * config.width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: list[Tensor], keeps: list[Tensor]) -> Tensor:
        """(B, D)."""
        means = [masked_mean(t, k) for t, k in zip(tokens, keeps, strict=True)]
        y: Tensor = self.norm(self.out(torch.cat(means, 1)))
        return y


def masked_mean(x: Tensor, keep: Tensor) -> Tensor:
    """Mean of (B, N, D) over the tokens that count; 0 where none does."""
    share = keep.to(x.dtype)[..., None]
    return (x * share).sum(1) / share.sum(1).clamp(min=1)


FORMS = {
    "latent": LatentFusion,
    "dictionary": DictionaryFusion,
    "attention": AttentionFusion,
    "concat": ConcatFusion,
}
