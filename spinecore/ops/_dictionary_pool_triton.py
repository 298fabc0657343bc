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


forward = _dictionary_absorbed.forward_by(weigh)
backward = _dictionary_absorbed.backward_by(weigh, differentiate)
