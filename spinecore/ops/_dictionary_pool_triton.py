"""The Triton kernels of latent dictionary pooling, imported when they are about to run."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor

from spinecore.ops import _device, _dictionary_absorbed


def _kernels() -> Any:
    return importlib.import_module("spinecore.kernels.dictionary_pool")


def weigh(x: Tensor, entries: Tensor, heads: int, share: Tensor) -> Tensor:
    """P (B, N, E)."""
    with _device.stream_of(x):
        weights: Tensor = _kernels().dictionary_pool_triton(x, entries, heads, share)
    return weights


def differentiate(
    x: Tensor, entries: Tensor, heads: int, share: Tensor, weights: Tensor, d_mean: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of x, of the scores and of the entries."""
    with _device.stream_of(x):
        return tuple(_kernels().dictionary_pool_triton_backward(x, entries, heads, share, weights, d_mean))


def forward(
    x: Tensor,
    dictionary: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None,
) -> Tensor:
    """The pooled vectors (B, D)."""
    return _dictionary_absorbed.forward(weigh, x, (dictionary, wq, wk, wv, wo, heads), mask)


def backward(
    x: Tensor,
    dy: Tensor,
    dictionary: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None,
) -> tuple[Tensor, ...]:
    """Gradients of x, dictionary, wq, wk, wv, wo."""
    given = (dictionary, wq, wk, wv, wo, heads)
    return _dictionary_absorbed.backward(weigh, differentiate, x, dy, given, mask)
