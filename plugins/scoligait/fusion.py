"""Tokens of all modalities to one vector: four forms behind one interface."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spinecore.nn import LatentAttentionPool, LatentDictionaryPool

from .config import ScoliGaitConfig
from .encoders import Block


class LatentFusion(nn.Module):
    """B: r latents query the tokens; residual MLP and norm; their mean (PMA with our operator).

    A bias of minus the logarithm of a modality's tokens gives every modality the same weight before
    anything is learned (our choice): one token of text is not lost among a hundred of map and video.
    """

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.latents = config.latents
        self.pool = LatentAttentionPool(config.width, config.latents, config.heads)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.hidden = nn.Linear(config.width, config.mlp * config.width)
        self.back = nn.Linear(config.mlp * config.width, config.width)

    def forward(self, tokens: list[Tensor], keeps: list[Tensor]) -> Tensor:
        """(B, D)."""
        bias = torch.cat([equal_mass(k, tokens[0].dtype) for k in keeps], 1)
        pooled = self.pool(
            torch.cat(tokens, 1), torch.cat(keeps, 1), bias[:, None].expand(-1, self.latents, -1)
        )
        h = self.norm1(pooled)
        y: Tensor = self.norm2(h + self.back(F.gelu(self.hidden(h)))).mean(1)
        return y


class DictionaryFusion(nn.Module):
    """A: every token queries a dictionary, the masked mean of the answers, then an MLP.

    NV-Embed has the MLP before the mean; the fused operator averages, so that it comes after it here.
    """

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.balanced = config.balanced
        self.pool = LatentDictionaryPool(config.width, config.entries, config.heads)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.hidden = nn.Linear(config.width, config.mlp * config.width)
        self.back = nn.Linear(config.mlp * config.width, config.width)

    def forward(self, tokens: list[Tensor], keeps: list[Tensor]) -> Tensor:
        """(B, D)."""
        if self.balanced:
            there = torch.stack([k.any(1) for k in keeps], 1)
            # An absent modality is pooled whole and then has no share: no set of tokens is empty.
            parts = [
                self.pool(t, k | ~there[:, [i]]) for i, (t, k) in enumerate(zip(tokens, keeps, strict=True))
            ]
            pooled = masked_mean(torch.stack(parts, 1), there)
        else:
            pooled = self.pool(torch.cat(tokens, 1), torch.cat(keeps, 1))
        h = self.norm1(pooled)
        y: Tensor = self.norm2(h + self.back(F.gelu(self.hidden(h))))
        return y


class AttentionFusion(nn.Module):
    """One transformer layer over all tokens, then their masked mean: our form of the paper's "Cat+Att"."""

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.balanced = config.balanced
        self.block = Block(config.width, config.heads, config.mlp, config.dropout)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: list[Tensor], keeps: list[Tensor]) -> Tensor:
        """(B, D)."""
        keep = torch.cat(keeps, 1)
        mixed = self.block(torch.cat(tokens, 1), keep)
        if self.balanced:
            sizes = [t.shape[1] for t in tokens]
            parts = [masked_mean(x, k) for x, k in zip(mixed.split(sizes, 1), keeps, strict=True)]
            mean = masked_mean(torch.stack(parts, 1), torch.stack([k.any(1) for k in keeps], 1))
        else:
            mean = masked_mean(mixed, keep)
        y: Tensor = self.norm(mean)
        return y


class ConcatFusion(nn.Module):
    """Means of the modalities side by side, zeros for an absent one, and a linear map: our "Concat"."""

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.out = nn.Linear(len(config.modalities) * config.width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: list[Tensor], keeps: list[Tensor]) -> Tensor:
        """(B, D)."""
        means = [masked_mean(t, k) for t, k in zip(tokens, keeps, strict=True)]
        y: Tensor = self.norm(self.out(torch.cat(means, 1)))
        return y


def equal_mass(keep: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, N) minus the logarithm of how many tokens of (B, N) count."""
    count = keep.sum(1, keepdim=True).clamp(min=1).to(dtype)
    return -count.log().expand(-1, keep.shape[1])


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
