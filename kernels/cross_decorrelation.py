"""Penalties between two batches in Triton: the twin of csrc/cuda/cross_decorrelation.cu.

Means and norms of rows are left to torch, where Inductor may fuse them; the products are
`_products.multiply`, centred and normalised on the way. The operators are
`torch.ops.spinecore.cross_triton` and `..._triton_backward`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _products
from ._products import Factor
from .covariance_decorrelation import means

_NAME = "cross_decorrelation"
_NORM_EPS = 1e-6


def _weights(norms: Tensor) -> Tensor:
    return 1 / (norms + _NORM_EPS)


def _scalar(value: float, like: Tensor) -> Tensor:
    return torch.full((), value, dtype=torch.float32, device=like.device)


def forward(a: Tensor, b: Tensor, normalise: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The penalty, the product or both Gram matrices, the statistics. a and b contiguous."""
    (rows, width_a), width_b = a.shape, b.shape[1]
    gram = rows * (width_a + width_b) <= width_a * width_b
    mean_a, mean_b = means(a), means(b)
    statistics, weights = [mean_a.flatten(), mean_b.flatten()], []
    if normalise:
        norms = [
            torch.linalg.vector_norm(z.float() - m[0] - m[1], dim=1) for z, m in ((a, mean_a), (b, mean_b))
        ]
        statistics += norms
        weights = [_weights(norm) for norm in norms]
    scale = _scalar(1.0 if normalise else 1.0 / max(rows - 1, 1), a)
    weight_a, weight_b = weights or (None, None)
    left, right = (
        Factor(a, not gram, mean_a, weight_a),
        Factor(b, not gram, mean_b, weight_b),
    )
    if gram:
        of_a, of_b = (a.new_empty((rows, rows), dtype=torch.float32) for _ in range(2))
        _products.kept(_NAME, left, left, scale, of_a, symmetric=True)
        squares = _products.kept(_NAME, right, right, scale, of_b, symmetric=True, partner=of_a)
        kept = torch.cat((of_a, of_b))
    else:
        kept = a.new_empty((width_a, width_b), dtype=torch.float32)
        squares = _products.kept(_NAME, left, right, scale, kept)
    return (squares / (width_a * width_b)).clamp_min(0).float(), kept, torch.cat(statistics)


def _through_norms(gradient: Tensor, z: Tensor, mean: Tensor, norms: Tensor) -> Tensor:
    """As spinecore.ops.cross_decorrelation does it."""
    centred, scale = z.float() - mean[0] - mean[1], _weights(norms)
    along = (gradient * centred).sum(1) * scale.square() / norms.masked_fill(norms == 0, 1.0)
    gradient = gradient * scale[:, None] - centred * along[:, None]
    return (gradient - gradient.mean(0)).to(z.dtype)


def backward(
    a: Tensor, b: Tensor, grad: Tensor, kept: Tensor, statistics: Tensor, normalise: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of a and b."""
    (rows, width_a), width_b = a.shape, b.shape[1]
    gram = rows * (width_a + width_b) <= width_a * width_b
    sizes = [2 * width_a, 2 * width_b, *([rows, rows] if normalise else [])]
    means_a, means_b, *norms = statistics.split(sizes)
    mean_a, mean_b = means_a.view(2, width_a), means_b.view(2, width_b)
    weight_a, weight_b = (_weights(norm) for norm in norms) if normalise else (None, None)
    divisor = 1 if normalise else max(rows - 1, 1)
    scale = 2 * grad / (width_a * width_b * divisor)
    dtype = torch.float32 if normalise else a.dtype
    da, db = (z.new_empty(z.shape, dtype=dtype) for z in (a, b))
    left, right = Factor(a, gram, mean_a, weight_a), Factor(b, gram, mean_b, weight_b)
    if gram:
        of_a, of_b = kept.chunk(2)
        _products.gradient(_NAME, Factor(of_b, True), left, scale, da)
        _products.gradient(_NAME, Factor(of_a, True), right, scale, db)
    else:
        _products.gradient(_NAME, right, Factor(kept, False), scale, da)
        _products.gradient(_NAME, left, Factor(kept, True), scale, db)
    if not normalise:
        return da, db
    return _through_norms(da, a, mean_a, norms[0]), _through_norms(db, b, mean_b, norms[1])


cross_triton = torch.library.triton_op(
    "spinecore::cross_triton",
    forward,
    mutates_args=(),
    schema="(Tensor a, Tensor b, bool normalise) -> (Tensor, Tensor, Tensor)",
)
cross_triton_backward = torch.library.triton_op(
    "spinecore::cross_triton_backward",
    backward,
    mutates_args=(),
    schema="(Tensor a, Tensor b, Tensor grad, Tensor kept, Tensor statistics, bool normalise)"
    " -> (Tensor, Tensor)",
)
