"""The orthogonality penalty of a batch that is spread over a process group, and rows gathered from it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from spinecore import ops

_NORM_EPS = 1e-6  # that of ops.orthogonality_penalty


def gathered_rows(x: Tensor, process_group: dist.ProcessGroup) -> Tensor:
    """Rows of all processes, in the order of their ranks: (B_r, ...) -> (sum of B_r, ...).

    For a loss that every process computes over all rows, alike: the gradient of x is its own rows' part. The
    processes may hold different numbers of rows.
    """
    gathered: Tensor = _Gather.apply(x, process_group)  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        size, rank = dist.get_world_size(group), dist.get_rank(group)
        counts = x.new_zeros(size, dtype=torch.long)
        counts[rank] = len(x)
        dist.all_reduce(counts, group=group)
        rows = [int(n) for n in counts]
        # Flags travel as bytes, and equal shapes: the backends ask for both.
        padded = x.new_zeros((max(rows), *x.shape[1:]))
        padded[: len(x)] = x
        wire = padded.to(torch.uint8) if x.dtype is torch.bool else padded
        parts = [torch.empty_like(wire) for _ in rows]
        dist.all_gather(parts, wire.contiguous(), group=group)
        ctx.begin, ctx.rows = sum(rows[:rank]), rows[rank]
        whole = torch.cat([part[:n] for part, n in zip(parts, rows, strict=True)]).to(x.dtype)
        if not x.dtype.is_floating_point:
            ctx.mark_non_differentiable(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad[ctx.begin : ctx.begin + ctx.rows], None


class _Sum(torch.autograd.Function):
    """Sum over processes; what each makes of it differs, so gradients are summed too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        total = x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone()
        dist.all_reduce(grad, group=ctx.group)
        return grad, None


class _Product(torch.autograd.Function):
    """Mean square of a^T b over the rows of all processes, with one (Da, Db) a process and no second."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, group: dist.ProcessGroup) -> Tensor:
        product = a.t() @ b
        dist.all_reduce(product, group=group)
        ctx.save_for_backward(a, b, product)
        mean: Tensor = torch.linalg.vector_norm(product).square() / product.numel()
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b, product = ctx.saved_tensors
        scale = 2 * grad / product.numel()
        return (b @ product.t()) * scale, (a @ product) * scale, None


def distributed_orthogonality_penalty(a: Tensor, b: Tensor, *, process_group: dist.ProcessGroup) -> Tensor:
    """``spinecore.ops.orthogonality_penalty`` of the rows of all processes together.

    The means (Da + Db,) and the product (Da, Db) are reduced; the batch is never gathered, and each process
    holds one (Da, Db) and no second.

    Args:
        a: (B, Da), the rows of this process; the processes may hold different numbers.
        b: (B, Db), paired with a.
        process_group: All its members call this with the same Da and Db.

    Returns:
        The penalty of all rows, the same in every process. The gradients are those of these rows in the
        concatenated batch, as in :func:`distributed_covariance_penalty`.

    """
    ops.OPS["orthogonality_penalty"].check(a, b)
    dtype = a.dtype if a.dtype is torch.float64 else torch.float32
    both = torch.cat((a, b), 1).to(dtype)
    count = both.new_full((1,), len(both))
    dist.all_reduce(count, group=process_group)
    total: Tensor = _Sum.apply(both.sum(0), process_group)  # type: ignore[no-untyped-call]
    centred = both - total / count.clamp_min(1)
    left, right = centred[:, : a.shape[1]], centred[:, a.shape[1] :]
    product: Tensor = _Product.apply(_unit(left), _unit(right), process_group)  # type: ignore[no-untyped-call]
    return product


def _unit(rows: Tensor) -> Tensor:
    """Rows over (norm + eps); a zero row passes no gradient through its norm."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / (norms + _NORM_EPS)
