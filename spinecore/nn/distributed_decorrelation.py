"""The covariance penalty of a batch that is spread over a process group."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from spinecore import ops


def distributed_covariance_penalty(
    z: Tensor,
    mask: Tensor | None = None,
    gamma: float = 1.0,
    eps: float = 1e-4,
    *,
    process_group: dist.ProcessGroup,
) -> tuple[Tensor, Tensor]:
    """``spinecore.ops.covariance_penalty`` of the rows of all processes together.

    Sums (D,) and (D, D) are reduced; the batch is never gathered, and the processes may hold different
    numbers of rows. Each process holds one (D, D), from the forward to the backward pass, and no second.

    Args:
        z: (B, D), the rows of this process.
        mask: (B,) bool, True = the row counts.
        gamma: The standard deviation the hinge asks for.
        eps: Added to the variance under the root.
        process_group: All its members call this with the same D, gamma and eps.

    Returns:
        off_diagonal and hinge of all rows, the same in every process. The gradient of z is that of these
        rows in the concatenated batch: where gradients are averaged over the processes afterwards, as
        DistributedDataParallel does, multiply the loss by their number.

    """
    ops.OPS["covariance_penalty"].check(z, mask, gamma, eps)
    off_diagonal, hinge = _DistributedCovariance.apply(z, mask, gamma, eps, process_group)  # type: ignore[no-untyped-call]
    return off_diagonal, hinge


def _reduced(tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
    dist.all_reduce(tensor, group=group)
    return tensor


class _DistributedCovariance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, mask: Tensor | None, gamma: float, eps: float, group: dist.ProcessGroup
    ) -> tuple[Tensor, Tensor]:
        ctx.dtype = z.dtype
        z = z.to(torch.float64 if z.dtype is torch.float64 else torch.float32)
        rows, width = z.shape
        count = z.new_full((1,), rows) if mask is None else mask.sum(dtype=z.dtype).view(1)
        if mask is not None:
            z = z.masked_fill(~mask[:, None], 0.0)
        # In double, as the mean may be large beside the deviations.
        sums = _reduced(torch.cat((z.sum(0, dtype=torch.float64), count.double())), group)
        mean, count = sums[:-1] / sums[-1].clamp_min(1), sums[-1]
        centred = (z.double() - mean).to(z.dtype)
        if mask is not None:
            centred = centred.masked_fill(~mask[:, None], 0.0)
        divisor = (count - 1).clamp_min(1).to(z.dtype)
        # One (D, D) a process and never a second: everything below is in place or a sum.
        covariance = _reduced(centred.T @ centred, group).div_(divisor)
        deviation = torch.sqrt(covariance.diagonal() + eps)
        hinge = torch.relu(gamma - deviation).mean()
        covariance.fill_diagonal_(0.0)
        off_diagonal = torch.linalg.vector_norm(covariance).square() / width
        slope = torch.where(deviation < gamma, -0.5 / (deviation * width), 0.0)
        ctx.save_for_backward(centred, covariance, slope, divisor)
        return off_diagonal, hinge

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_off: Tensor, d_hinge: Tensor) -> tuple[Tensor | None, ...]:
        centred, covariance, slope, divisor = ctx.saved_tensors
        gradient = (centred @ covariance) * (2 * d_off / covariance.shape[0])
        gradient += centred * (slope * d_hinge)
        return (gradient * (2 / divisor)).to(ctx.dtype), None, None, None, None
