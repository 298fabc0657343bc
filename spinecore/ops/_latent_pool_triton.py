"""The Triton kernels of latent attention pooling, imported when they are about to run."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor

from spinecore.ops import _device, _latent_absorbed


def _kernels() -> Any:
    return importlib.import_module("spinecore.kernels.latent_pool")


def attend(x: Tensor, queries: Tensor, rows: int, mask: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Scores (B, N, Q), norms (2, B, Q), means (B, Q, D)."""
    with _device.stream_of(x):
        return tuple(_kernels().latent_pool_triton(x, queries, rows, mask, bias))


def differentiate(
    x: Tensor,
    queries: Tensor,
    _rows: int,
    mask: Tensor,
    scores: Tensor,
    norms: Tensor,
    d_means: Tensor,
    delta: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of x, of the scores and of the queries."""
    with _device.stream_of(x):
        return tuple(_kernels().latent_pool_triton_backward(x, queries, mask, scores, norms, d_means, delta))


forward = _latent_absorbed.forward_by(attend)
backward = _latent_absorbed.backward_by(attend, differentiate)
