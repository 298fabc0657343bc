"""Decorrelation losses as modules."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn

from spinecore import ops
from spinecore.nn.distributed_decorrelation import distributed_covariance_penalty


class CovarianceLoss(nn.Module):
    """Weighted sum of the off-diagonal covariance and the variance hinge (VICReg).

    Args:
        covariance_weight, variance_weight: Weights of the two terms. The hinge is needed: covariance alone is
            least when features collapse.
        gamma: The standard deviation the hinge asks for.
        eps: Added to the variance under the root.
        backend: Backend asked for by name; None takes the best that can run.
        process_group: The batch is that of all processes of this group
            (:func:`spinecore.nn.distributed_covariance_penalty`, which has no backends); None: of this one.

    Shapes: (B, D), optional mask (B,) -> scalar.

    """

    def __init__(
        self,
        covariance_weight: float = 1.0,
        variance_weight: float = 1.0,
        gamma: float = 1.0,
        eps: float = 1e-4,
        *,
        backend: str | None = None,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        self.covariance_weight, self.variance_weight = covariance_weight, variance_weight
        self.gamma, self.eps, self.backend, self.process_group = gamma, eps, backend, process_group

    def forward(self, z: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of one batch of features."""
        if self.process_group is None:
            off_diagonal, hinge = ops.covariance_penalty(z, mask, self.gamma, self.eps, backend=self.backend)
        else:
            off_diagonal, hinge = distributed_covariance_penalty(
                z, mask, self.gamma, self.eps, process_group=self.process_group
            )
        return self.covariance_weight * off_diagonal + self.variance_weight * hinge


class CrossCovarianceLoss(nn.Module):
    """Mean squared cross-covariance of two paired batches of features: (B, Da), (B, Db) -> scalar."""

    def __init__(self, *, backend: str | None = None) -> None:
        super().__init__()
        self.backend = backend

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The loss of two paired batches."""
        return ops.cross_covariance_penalty(a, b, backend=self.backend)


class OrthogonalityLoss(nn.Module):
    """Difference loss between two paired batches of features (domain separation networks, MISA): (B, Da), (B,
    Db) -> scalar.
    """

    def __init__(self, *, backend: str | None = None) -> None:
        super().__init__()
        self.backend = backend

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The loss of two paired batches."""
        return ops.orthogonality_penalty(a, b, backend=self.backend)
