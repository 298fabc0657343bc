"""Covariance decorrelation of one batch of features (VICReg's variance and covariance terms).

    C = (z - mean)^T (z - mean) / (B - 1)
    off_diagonal = sum_{i != j} C_ij^2 / D;   hinge = mean_j relu(gamma - sqrt(C_jj + eps))

``cross_covariance_penalty`` and ``orthogonality_penalty``, between two batches, are in
:mod:`spinecore.ops.cross_decorrelation`.
"""

# ruff: noqa: ARG001 - the parts of one operator share one argument list
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spinecore import backends
from spinecore.backends import Kernel
from spinecore.ops import _covariance_cuda, _covariance_native, _covariance_triton
from spinecore.ops._shared import accumulation_dtype, check_float, check_shape, fail, fail_dtype
from spinecore.ops._spec import Cost, OpSpec, Sample, register

_NAME = "covariance_penalty"


def covariance_penalty(
    z: Tensor,
    mask: Tensor | None = None,
    gamma: float = 1.0,
    eps: float = 1e-4,
    *,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """How far a batch of features is from being decorrelated, and how many of its dimensions have collapsed.

    Args:
        z: (B, D).
        mask: (B,) bool, True = the row counts; B is then the number of rows that count.
        gamma: The standard deviation the hinge asks for.
        eps: Added to the variance under the root.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        off_diagonal and hinge, two scalars; float32 for half-precision z. With fewer than two rows there is
        no covariance: C is zero, off_diagonal 0, hinge relu(gamma - sqrt(eps)), both without gradient.

    Source: Bardes, Ponce, LeCun 2022 (VICReg), eq. 1 to 4.

    """
    off_diagonal, hinge = _FORWARD(z, mask, gamma, eps, backend)[:2]
    return off_diagonal, hinge


def check_features(op: str, argument: str, z: Tensor) -> None:
    """A (B, D) floating-point matrix with D >= 1."""
    if z.dim() != 2 or z.shape[1] < 1:
        fail(
            op,
            argument,
            f"of shape {tuple(z.shape)}",
            "(B, D) with D >= 1",
            "Flatten time into the batch with reshape(-1, D).",
        )
    check_float(op, argument, z)


def _check(z: Tensor, mask: Tensor | None, gamma: float, eps: float) -> None:
    check_features(_NAME, "z", z)
    if mask is not None:
        check_shape(_NAME, "mask", mask, (z.shape[0],), "(B,)")
        if mask.dtype is not torch.bool:
            fail_dtype(
                _NAME,
                "mask",
                mask.dtype,
                "torch.bool with True = the row counts",
                "Convert mask with .bool().",
            )
    if eps <= 0:
        fail(_NAME, "eps", str(eps), "a number > 0", "1e-4 is usual.")


def _centred(z: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Any]:
    """Rows minus their mean (rows that do not count are zero), the mean and the divisor max(B - 1, 1)."""
    z = z.to(accumulation_dtype(z.dtype))
    if mask is None:
        mean = z.sum(0) / max(z.shape[0], 1)
        return z - mean, mean, max(z.shape[0] - 1, 1)
    keep = mask[:, None]
    z = z.masked_fill(~keep, 0.0)
    count = mask.sum()
    mean = z.sum(0) / count.clamp_min(1)
    return (z - mean).masked_fill(~keep, 0.0), mean, (count - 1).clamp_min(1)


def _keeps_gram(z: Tensor) -> bool:
    """With few rows the Gram matrix (B, B) says all that the covariance (D, D) says."""
    return 2 * z.shape[0] <= z.shape[1]


def _reference(
    z: Tensor, mask: Tensor | None, gamma: float, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """off_diagonal, hinge, and what the backward reads: the covariance (D, D), or the Gram matrix (B, B) of
    the centred rows, over the same divisor; (3, D): the mean, what its dtype leaves of it (a backend may keep
    it to centre exactly), the variance.
    """
    centred, mean, divisor = _centred(z, mask)
    if _keeps_gram(z):
        kept = centred @ centred.T / divisor
        variance = centred.square().sum(0) / divisor
    else:
        kept = centred.T @ centred / divisor
        variance = kept.diagonal()
    off_diagonal = (kept.square().sum() - variance.square().sum()) / z.shape[1]
    hinge = torch.relu(gamma - torch.sqrt(variance + eps)).mean()
    return (
        off_diagonal.clamp_min(0),
        hinge,
        kept.contiguous(),
        torch.stack((mean, torch.zeros_like(mean), variance)),
    )


def _fake(z: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype = accumulation_dtype(z.dtype)
    rows, width = z.shape
    # No branch on the sizes: one graph, compiled or exported, serves both forms. Adding 0 of the other size
    # makes both symbols where one is.
    side = torch.sym_ite(2 * rows <= width, rows + 0 * width, width + 0 * rows)  # type: ignore[no-untyped-call]
    return (
        z.new_empty((), dtype=dtype),
        z.new_empty((), dtype=dtype),
        z.new_empty((side, side), dtype=dtype),
        z.new_empty((3, width), dtype=dtype),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    z, mask, ctx.gamma, ctx.eps = inputs
    ctx.save_for_backward(z, mask, output[2], output[3])


def _backward(ctx: Any, d_off: Tensor | None, d_hinge: Tensor | None) -> tuple[Tensor | None, ...]:
    z, mask, kept, moments = ctx.saved_tensors
    if d_off is None:
        d_off = kept.new_zeros(())
    if d_hinge is None:
        d_hinge = kept.new_zeros(())
    return (
        _BACKWARD(z, mask, d_off, d_hinge, kept, moments, ctx.gamma, ctx.eps, ctx.backend),
        None,
        None,
        None,
    )


def _backward_reference(
    z: Tensor,
    mask: Tensor | None,
    d_off: Tensor,
    d_hinge: Tensor,
    kept: Tensor,
    moments: Tensor,
    gamma: float,
    eps: float,
) -> Tensor:
    """Dz = centred (dC + dC^T) / divisor; the columns of ``centred`` sum to zero, so the mean adds nothing.
    centred C = Gram centred, which has the diagonal of C in it.
    """
    centred, _, divisor = _centred(z, mask)
    width, variance = z.shape[1], moments[2]
    deviation = torch.sqrt(variance + eps)
    slope = torch.where(deviation < gamma, -0.5 / (deviation * width), 0.0) * d_hinge
    gradient = kept * (2 * d_off / width)
    if _keeps_gram(z):
        dz = gradient @ centred + centred * (slope - variance * (2 * d_off / width))
    else:
        gradient.diagonal().copy_(slope)
        dz = centred @ gradient
    dz = dz * 2 / divisor  # with a mask an integer tensor, of which 2 / divisor would be float32
    result: Tensor = dz.to(z.dtype).contiguous()
    return result


def _backward_fake(z: Tensor, *_: Any) -> Tensor:
    return z.new_empty(z.shape)


def _call(z: Tensor, *_: Any) -> backends.Call:
    return backends.call_of(_NAME, z)


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)

    def make(rows: int, width: int, spread: float, mean: float, mask: str = "") -> Sample:
        z = torch.randn((rows, width), generator=generator, dtype=torch.float64) * spread + mean
        keep: Tensor | None = None
        if mask:
            keep = torch.arange(rows) % 3 != 1 if mask == "some" else torch.zeros(rows, dtype=torch.bool)
        return Sample(
            f"B={rows} D={width} spread={spread} mean={mean} mask={mask or None}",
            (z.to(dtype), keep, 1.0, 1e-4),
        )

    yield make(9, 4, 0.7, 0.0)
    yield make(7, 6, 2.0, 3.0, mask="some")
    yield make(3, 8, 0.5, -1.0)
    yield make(5, 13, 1.5, 1.0, mask="some")
    yield make(1, 3, 1.0, 0.0)
    yield make(4, 3, 1.0, 0.0, mask="none")
    yield make(0, 3, 1.0, 0.0)


def _cost(z: Tensor, *_: Any) -> Cost:
    rows, width = z.shape
    return Cost(rows * width * width, z.numel() * z.element_size())


SPEC = OpSpec(
    name=_NAME,
    function=covariance_penalty,
    schema=(
        "(Tensor z, Tensor? mask=None, float gamma=1.0, float eps=0.0001, str? backend=None) "
        "-> (Tensor, Tensor, Tensor, Tensor)"
    ),
    reference=_reference,
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    backward_schema=(
        "(Tensor z, Tensor? mask, Tensor d_off_diagonal, Tensor d_hinge, Tensor kept, "
        "Tensor moments, float gamma, float eps, str? backend=None) -> Tensor"
    ),
    backward_reference=_backward_reference,
    backward_fake=_backward_fake,
    call=_call,
    autocast={"z": "float32"},
    samples=_samples,
    cost=_cost,
    equations=(
        "C = cov(z); off_diagonal = sum_{i != j} C_ij^2 / D; hinge = mean_j relu(gamma - sqrt(C_jj + eps))"
    ),
    source="Bardes, Ponce, LeCun 2022 (VICReg)",
    differentiable=2,
    kernels={
        "cuda": Kernel(_covariance_cuda.forward, _covariance_cuda.can_run),
        "triton": Kernel(_covariance_triton.forward, _covariance_triton.can_run),
        "cpu": Kernel(_covariance_native.forward, _covariance_native.can_run, _covariance_native.worthwhile),
    },
    backward_kernels={
        "cuda": Kernel(_covariance_cuda.backward, _covariance_cuda.can_run),
        "triton": Kernel(_covariance_triton.backward, _covariance_triton.can_run),
        "cpu": Kernel(_covariance_native.backward, _covariance_native.can_run, _covariance_native.worthwhile),
    },
)
_FORWARD, _BACKWARD = register(SPEC)
