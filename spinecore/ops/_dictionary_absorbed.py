"""What the GPU implementations of latent dictionary pooling share: the absorbed projections.

    entries = scale (dictionary wk) wq^T of every head, (heads R, D)      P = softmax(x entries^T)
    y = concat_heads((mean of P over the tokens) (dictionary wv)) wo

What touches the tokens is a kernel's; these products of small matrices are torch's, in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spinecore.ops._attention import heads_first, heads_last
from spinecore.ops._latent_absorbed import Differentiate, Parameters, parameters


def _parameters(dictionary: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, heads: int) -> Parameters:
    """Entries are made as the queries of attention pooling are, with keys and queries exchanged."""
    return parameters(dictionary, wk, wq, wv, wo, heads)


def _share(x: Tensor, mask: Tensor | None) -> Tensor:
    """(B, N): one over the number of tokens that count for such a token, else zero."""
    if mask is None:
        return torch.full(x.shape[:2], 1.0 / x.shape[1], dtype=torch.float32, device=x.device)
    kept = mask.to(torch.float32)
    return kept / kept.sum(1, keepdim=True).clamp_min(1)


Weigh = Callable[..., Tensor]


def _answers(weigh: Weigh, p: Parameters, x: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """P, its mean (heads, B, R), the values (heads, R, d) and their means, the pooled answers (B, D)."""
    weights = weigh(x, p.queries, p.heads, share)
    mean = torch.bmm(share[:, None], weights)[:, 0]
    by_head = mean.view(x.shape[0], p.heads, -1).transpose(0, 1)
    values = heads_first(p.latents @ p.wv, p.heads)
    return weights, by_head, values, heads_last((by_head @ values).transpose(0, 1)[:, :, None])[:, 0]


def forward_by(weigh: Weigh) -> Callable[..., Tensor]:
    """The operator's forward on somebody's kernel: the pooled vectors (B, D)."""

    def forward(x: Tensor, *given: Any) -> Tensor:
        *parameters_and_heads, mask = given
        return _forward(weigh, x, tuple(parameters_and_heads), mask)

    return forward


def backward_by(weigh: Weigh, differentiate: Differentiate) -> Callable[..., tuple[Tensor, ...]]:
    """The operator's backward on somebody's kernels: gradients of x, dictionary, wq, wk, wv, wo."""

    def backward(x: Tensor, dy: Tensor, *given: Any) -> tuple[Tensor, ...]:
        *parameters_and_heads, mask = given
        return _backward(weigh, differentiate, x, dy, tuple(parameters_and_heads), mask)

    return backward


def _forward(weigh: Weigh, x: Tensor, given: tuple[Any, ...], mask: Tensor | None) -> Tensor:
    """As the operator; ``weigh(x, entries, heads, share)`` gives P (B, N, heads R)."""
    p = _parameters(*given)
    *_, answers = _answers(weigh, p, x.contiguous(), _share(x, mask))
    return (answers @ p.wo).to(x.dtype).contiguous()


def _backward(
    weigh: Weigh,
    differentiate: Differentiate,
    x: Tensor,
    dy: Tensor,
    given: tuple[Any, ...],
    mask: Tensor | None,
) -> tuple[Tensor, ...]:
    """As the operator; ``differentiate(x, entries, heads, share, P, d_mean)`` gives dx, d_scores,
    d_entries.
    """
    p = _parameters(*given)
    x, share, batch = x.contiguous(), _share(x, mask), x.shape[0]
    weights, mean, values, answers = _answers(weigh, p, x, share)
    grads = dy.to(torch.float32)
    d_answers = (grads @ p.wo.T).view(batch, p.heads, -1).transpose(0, 1)  # (heads, B, d)
    d_values = heads_last(mean.transpose(1, 2) @ d_answers)
    d_mean = (d_answers @ values.transpose(1, 2)).transpose(0, 1).flatten(1).contiguous()
    dx, _, d_entries = differentiate(x, p.queries, p.heads, share, weights, d_mean)
    # Through entries = scale (dictionary wk) wq^T; p holds wk in the place of wq.
    d_absorbed = d_entries.view(p.heads, -1, x.shape[2]) * p.scale
    d_keys = heads_last(d_absorbed @ p.split(p.wk))
    d_wq = heads_last(d_absorbed.transpose(1, 2) @ p.split(p.latents @ p.wq))
    gradients = (
        d_keys @ p.wq.T + d_values @ p.wv.T,
        d_wq,
        p.latents.T @ d_keys,
        p.latents.T @ d_values,
        answers.T @ grads,
    )
    return dx, *(gradient.contiguous() for gradient in gradients)
