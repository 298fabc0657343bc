"""Covariance penalty in Triton: the twin of csrc/cuda/covariance_decorrelation.cu.

Means, variances of the Gram form and the penalties themselves are small and left to torch, where Inductor
may fuse them; the products are `_products.multiply`, centred on the way. The operators are
`torch.ops.spinecore.covariance_triton` and `..._triton_backward`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _products
from ._products import Factor

_NAME = "covariance_decorrelation"


def _divisor(z: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return torch.full((), float(max(z.shape[0] - 1, 1)), dtype=torch.float32, device=z.device)
    return (weights.sum() - 1).clamp_min(1)


def means(z: Tensor, weights: Tensor | None = None) -> Tensor:
    """(2, D): the mean of the columns and what float32 leaves of it."""
    exact = z.double() if weights is None else z.double().masked_fill((weights == 0)[:, None], 0.0)
    count = z.shape[0] if weights is None else weights.sum(dtype=torch.float64).clamp_min(1)
    mean = exact.sum(0) / count
    high = mean.float()
    return torch.stack((high, (mean - high).float()))


def forward(
    z: Tensor, weights: Tensor | None, gamma: float, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """off_diagonal, hinge, the covariance or Gram matrix, the moments. z contiguous, weights of 1 and 0."""
    rows, width = z.shape
    gram = 2 * rows <= width
    side = rows if gram else width
    mean, divisor = means(z, weights), _divisor(z, weights)
    kept = z.new_empty((side, side), dtype=torch.float32)
    factor = Factor(z, not gram, mean, weights)
    squares = _products.kept(_NAME, factor, factor, 1 / divisor, kept, symmetric=True, with_diagonal=gram)
    if gram:
        centred = z.float() - mean[0] - mean[1]
        if weights is not None:
            centred = centred.masked_fill((weights == 0)[:, None], 0.0)
        variance = centred.square().sum(0) / divisor
        squares = squares - variance.double().square().sum()
    else:
        variance = kept.diagonal()
    off_diagonal = (squares / width).clamp_min(0).float()
    hinge = torch.relu(gamma - torch.sqrt(variance + eps)).mean()
    return off_diagonal, hinge, kept, torch.cat((mean, variance[None]))


def backward(
    z: Tensor,
    weights: Tensor | None,
    d_off: Tensor,
    d_hinge: Tensor,
    kept: Tensor,
    moments: Tensor,
    gamma: float,
    eps: float,
) -> Tensor:
    """Gradient of z."""
    rows, width = z.shape
    gram, variance = 2 * rows <= width, moments[2]
    both, square = 2 / _divisor(z, weights), 2 * d_off / width
    deviation = torch.sqrt(variance + eps)
    slopes = torch.where(deviation < gamma, -0.5 / (deviation * width), 0.0) * d_hinge
    if gram:
        slopes = slopes - variance * square
    dz = torch.empty_like(z)
    features = Factor(z, gram, moments[:2], weights)
    pair = (Factor(kept, True), features) if gram else (features, Factor(kept, True))
    _products.gradient(_NAME, *pair, square * both, dz, slopes * both, with_diagonal=gram)
    return dz


covariance_triton = torch.library.triton_op(
    "spinecore::covariance_triton",
    forward,
    mutates_args=(),
    schema="(Tensor z, Tensor? weights, float gamma, float eps) -> (Tensor, Tensor, Tensor, Tensor)",
)
covariance_triton_backward = torch.library.triton_op(
    "spinecore::covariance_triton_backward",
    backward,
    mutates_args=(),
    schema="(Tensor z, Tensor? weights, Tensor d_off, Tensor d_hinge, Tensor kept, Tensor moments, "
    "float gamma, float eps) -> Tensor",
)
