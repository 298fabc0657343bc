"""Recurrent residual convolution, inference form: batch norm folded into a scale and a shift.

    d   = conv(x, w_in)
    u_0 = relu(scale_0 * d + shift_0)
    u_k = relu(scale_k * (d + conv(u_{k-1}, w_rec)) + shift_k),  k = 1..steps
    y   = x + u_steps        (residual=False: u_steps)

With w_rec is w_in this is R2U-Net's g(x + u) by linearity; separate weights give the formal recurrent
convolution. Nothing but y is kept: the backward computes the intermediates again. To train with batch
statistics use ``recurrent_residual_conv_bn``.
"""

# ruff: noqa: ARG001, D417 - the parts of one operator share one argument list; like arguments are described
# together
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spinecore import backends
from spinecore.backends import Kernel
from spinecore.ops import _recurrence_native, _recurrent_residual_conv_cuda, _recurrent_residual_conv_triton
from spinecore.ops import _recurrent_residual_conv_native as _native_kernel
from spinecore.ops import recurrent_residual_conv_bn as _training
from spinecore.ops._recurrence import (
    Normalisation,
    affine,
    at_step,
    channels_last,
    check_recurrence,
    convolve,
    fold_steps,
    preactivations,
    recurrence_backward,
)
from spinecore.ops._shared import accumulation_dtype, empty_image, output_format
from spinecore.ops._spec import Cost, OpSpec, Sample, register

_NAME = "recurrent_residual_conv"


def recurrent_residual_conv(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    scale: Tensor,
    shift: Tensor,
    steps: int = 2,
    residual: bool = True,
    *,
    backend: str | None = None,
) -> Tensor:
    """Recurrent residual convolution with a fixed affine map after every convolution.

    Args:
        x: (N, C, H, W).
        w_in, w_rec: (C, C, k, k), k odd (3 in the papers), in the dtype of x. They may be the same tensor.
        scale, shift: (C,), or (steps+1, C) for one pair a step; float32 is accepted beside half-precision x.
        steps: Recurrent convolutions after the first. 0 is one fused residual convolution.
        residual: Add x to the result.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        (N, C, H, W), dtype and layout of x.

    Source: Liang and Hu 2015 (recurrent convolution); Alom et al. 2018, R2U-Net (recurrent residual unit).

    """
    y: Tensor = _FORWARD(x, w_in, w_rec, scale, shift, steps, residual, backend)
    return y


def _check(
    x: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int, residual: bool
) -> None:
    check_recurrence(_NAME, x, w_in, w_rec, scale, shift, ("scale", "shift"), steps)


def _reference(
    x: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int, residual: bool
) -> Tensor:
    layout = output_format(x)
    if x.numel() == 0:
        return torch.empty_like(x, memory_format=layout)
    dtype = accumulation_dtype(x.dtype)
    scale, shift = scale.to(dtype), shift.to(dtype)
    x = x.contiguous(memory_format=layout)
    first = convolve(x, w_in)
    activation = affine(first, at_step(scale, 0), at_step(shift, 0)).relu_()
    for step in range(1, steps + 1):
        before = convolve(activation, w_rec).add_(first)
        activation = affine(before, at_step(scale, step), at_step(shift, step)).relu_()
    y = activation.add_(x) if residual else activation
    return y.contiguous(memory_format=layout)


def _fake(x: Tensor, *_: Any) -> Tensor:
    return empty_image(x)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.steps, ctx.residual = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, w_in, w_rec, scale, shift = ctx.saved_tensors
    gradients = _BACKWARD(x, dy, w_in, w_rec, scale, shift, ctx.steps, ctx.residual, ctx.backend)
    return (*gradients, None, None)


def _backward_reference(
    x: Tensor,
    dy: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    scale: Tensor,
    shift: Tensor,
    steps: int,
    residual: bool,
) -> tuple[Tensor, ...]:
    """dx, dw_in, dw_rec, dscale, dshift; the last two in the accumulation dtype."""
    dtype = accumulation_dtype(x.dtype)
    wide, offset = scale.to(dtype), shift.to(dtype)
    if x.numel() == 0:
        zeros = (torch.zeros(w.shape, dtype=w.dtype, device=w.device) for w in (w_in, w_rec, wide, offset))
        return torch.empty_like(x, memory_format=output_format(x)), *zeros
    norms = [Normalisation(at_step(wide, k), at_step(offset, k), None, None) for k in range(steps + 1)]
    z = preactivations(channels_last(x), w_in, w_rec, norms)
    dx, dw_in, dw_rec, d_scale, d_shift = recurrence_backward(x, dy, w_in, w_rec, z, norms, 0.0, residual)
    return dx, dw_in, dw_rec, fold_steps(d_scale, scale), fold_steps(d_shift, shift)


def _native_backward(
    x: Tensor,
    dy: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    scale: Tensor,
    shift: Tensor,
    steps: int,
    residual: bool,
) -> tuple[Tensor, ...]:
    z = _recurrence_native.preactivations(x, w_in, w_rec, scale, shift, steps)
    given = (x, dy, w_in, w_rec, scale, shift)
    gradients = None if z is None else _recurrence_native.backward(*given, None, None, z, residual)
    if gradients is None:
        return _backward_reference(*given, steps, residual)
    dx, dw_in, dw_rec, d_scale, d_shift = gradients
    return dx, dw_in, dw_rec, fold_steps(d_scale, scale), fold_steps(d_shift, shift)


def _backward_fake(
    x: Tensor, dy: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, *_: Any
) -> tuple[Tensor, ...]:
    dx = empty_image(x)
    dtype = accumulation_dtype(x.dtype)
    d_scale, d_shift = scale.new_empty(scale.shape, dtype=dtype), shift.new_empty(shift.shape, dtype=dtype)
    return dx, w_in.new_empty(w_in.shape), w_rec.new_empty(w_rec.shape), d_scale, d_shift


def _call(x: Tensor, w_in: Tensor, *rest: Any) -> backends.Call:
    return backends.call_of(_NAME, x, ("kernel_size", w_in.shape[-1]))


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    for label, (x, w_in, w_rec, scale, shift, _, steps, residual) in _training.SPEC.samples(dtype, seed):
        yield Sample(label, (x, w_in, w_rec, scale, shift, steps, residual))


def _cost(x: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int, *_: Any) -> Cost:
    pixels = x.numel() // max(x.shape[1], 1)
    return Cost(2 * (steps + 1) * pixels * w_in.numel(), 2 * x.numel() * x.element_size())


SPEC = OpSpec(
    name=_NAME,
    function=recurrent_residual_conv,
    schema=(
        "(Tensor x, Tensor w_in, Tensor w_rec, Tensor scale, Tensor shift, int steps=2, bool residual=True, "
        "str? backend=None) -> Tensor"
    ),
    reference=_reference,
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    backward_schema=(
        "(Tensor x, Tensor dy, Tensor w_in, Tensor w_rec, Tensor scale, Tensor shift, int steps, "
        "bool residual, "
        "str? backend=None) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
    backward_reference=_backward_reference,
    backward_fake=_backward_fake,
    call=_call,
    backward_options=_training.SPEC.backward_options,
    autocast={"x": "lower", "w_in": "lower", "w_rec": "lower", "scale": "float32", "shift": "float32"},
    samples=_samples,
    cost=_cost,
    kernels={
        "cuda": _recurrent_residual_conv_cuda.FORWARD,
        "triton": _recurrent_residual_conv_triton.FORWARD,
        "cpu": Kernel(_native_kernel.forward(_reference), _native_kernel.can_run, _native_kernel.worthwhile),
    },
    backward_kernels={
        "cuda": _recurrent_residual_conv_cuda.BACKWARD,
        "triton": _recurrent_residual_conv_triton.BACKWARD,
        "cpu": Kernel(_native_backward, _recurrence_native.can_run, _recurrence_native.worthwhile),
    },
    equations="u_k = relu(scale_k (conv(x, w_in) + [k > 0] conv(u_{k-1}, w_rec)) + shift_k); y = x + u_steps",
    source="Liang and Hu 2015; Alom et al. 2018 (R2U-Net)",
)
_FORWARD, _BACKWARD = register(SPEC)
