"""Attention of tokens to a dictionary in Triton: the twin of csrc/cuda/dictionary_pool.cu.

The products are `_products.multiply`; the softmax of every token and head is torch's, for Inductor to fuse.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _products
from ._products import Factor

_NAME = "dictionary_pool"


def _one(like: Tensor) -> Tensor:
    return torch.ones((), dtype=torch.float32, device=like.device)


def _tokens(x: Tensor, along: bool, share: Tensor) -> Factor:
    """Tokens that count nothing are zeros, whatever they hold."""
    return Factor(x.flatten(0, 1), along, weights=(share != 0).to(torch.float32).flatten())


def weigh(x: Tensor, entries: Tensor, heads: int, share: Tensor) -> Tensor:
    """P (B, N, E)."""
    scores = x.new_empty((x.shape[0] * x.shape[1], entries.shape[0]), dtype=torch.float32)
    _products.gradient(_NAME, _tokens(x, False, share), Factor(entries, False), _one(x), scores)
    return torch.softmax(scores.view(*x.shape[:2], heads, -1), 3).flatten(2)


def differentiate(
    x: Tensor, entries: Tensor, heads: int, share: Tensor, weights: Tensor, d_mean: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, of the scores and of the entries."""
    own = weights.view(*x.shape[:2], heads, -1)
    gradient = d_mean.view(x.shape[0], 1, heads, -1)
    d_scores = own * (gradient - (own * gradient).sum(3, keepdim=True)) * share[:, :, None, None]
    flat = d_scores.view(-1, entries.shape[0])
    dx, d_entries = torch.empty_like(x), torch.empty_like(entries)
    _products.gradient(_NAME, Factor(flat, False), Factor(entries, True), _one(x), dx.view(-1, x.shape[2]))
    _products.gradient(_NAME, Factor(flat, True), _tokens(x, True, share), _one(x), d_entries)
    return dx, d_scores.flatten(2), d_entries


dictionary_pool_triton = torch.library.triton_op(
    "spinecore::dictionary_pool_triton",
    weigh,
    mutates_args=(),
    schema="(Tensor x, Tensor entries, int heads, Tensor share) -> Tensor",
)
dictionary_pool_triton_backward = torch.library.triton_op(
    "spinecore::dictionary_pool_triton_backward",
    differentiate,
    mutates_args=(),
    schema="(Tensor x, Tensor entries, int heads, Tensor share, Tensor weights, Tensor d_mean)"
    " -> (Tensor, Tensor, Tensor)",
)
