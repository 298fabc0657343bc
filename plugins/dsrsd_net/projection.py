"""Residual projection: an encoding into a shared factor and what that factor cannot say, the private one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Streams(NamedTuple):
    """Shared and private s, p (..., k), reconstruction and residual (..., d), whose sum is the encoding."""

    shared: Tensor
    private: Tensor
    reconstruction: Tensor
    residual: Tensor


class ResidualProjection(nn.Module):
    """s = P h, reconstruction = Q s, residual r = h - Q s, p = R r.

    "residual projection" is the abstract's term, this form ours. With ``hard`` the rows of P are orthonormal
    (QR of a free matrix) and Q is P transposed, so that P r = 0: no linear map finds the shared factor in
    the residual.

    Shapes: (..., d) -> Streams.
    """

    def __init__(self, width: int, factors: int, *, hard: bool) -> None:
        super().__init__()
        self.hard = hard
        self.down = nn.Parameter(torch.randn(factors, width) / width**0.5)
        self.up = None if hard else nn.Parameter(self.down.detach().t().clone())
        self.private = nn.Linear(width, factors)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """P (k, d) and Q (d, k)."""
        if self.up is not None:
            return self.down, self.up
        basis, triangle = torch.linalg.qr(self.down.t())
        # Signs that follow the free matrix, so that its small changes are small changes of P.
        basis = basis * torch.where(triangle.diagonal() < 0, -1.0, 1.0).to(basis.dtype)
        return basis.t(), basis

    def forward(self, h: Tensor) -> Streams:
        """Split the encodings."""
        p, q = self.matrices()
        shared = h @ p.t()
        reconstruction = shared @ q.t()
        residual = h - reconstruction
        return Streams(shared, self.private(residual), reconstruction, residual)
