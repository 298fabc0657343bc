"""3x3 convolution with bias, residual and activation in one operator: the core of the recurrent residual
convolution, one step.

y = activation(conv(x, w) + bias + residual),  padding 1, stride 1
"""

# ruff: noqa: ARG001 - the parts of one operator share one argument list
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import backends
from spinecore.backends import Kernel
from spinecore.ops import _conv3x3_cuda, _conv3x3_triton
from spinecore.ops import _conv3x3_native as _native_kernel
from spinecore.ops._recurrence import convolution_gradients
from spinecore.ops._shared import (
    accumulation_dtype,
    check_image,
    check_parameter_dtype,
    check_shape,
    empty_gradient,
    empty_image,
    fail,
    fail_dtype,
    output_format,
)
from spinecore.ops._spec import Cost, OpSpec, Sample, register

_NAME = "conv3x3"
_ACTIVATIONS = ("none", "relu")


def conv3x3(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    activation: str = "none",
    residual: Tensor | None = None,
    *,
    backend: str | None = None,
) -> Tensor:
    """3x3 convolution whose epilogue adds the bias and the residual, then activates.

    Args:
        x: (N, C, H, W).
        w: (D, C, 3, 3), in the dtype of x; any channel pair.
        bias: (D,) or None.
        activation: ``none`` or ``relu``.
        residual: (N, D, H, W), added before the activation (the order of ResNet blocks and of cuDNN's fused
            convolution), or None.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        (N, D, H, W), dtype and layout of x.

    Source: our choice of epilogue; He et al. 2016 for the place of the residual.

    """
    y: Tensor = _FORWARD(x, w, bias, activation, residual, backend)
    return y


def _check(x: Tensor, w: Tensor, bias: Tensor | None, activation: str, residual: Tensor | None) -> None:
    check_image(_NAME, x)
    batch, channels, height, width = x.shape
    if w.dim() != 4 or w.shape[0] < 1 or tuple(w.shape[1:]) != (channels, 3, 3):
        remedy = "Other kernel sizes, strides and groups: use torch.nn.functional.conv2d."
        fail(_NAME, "w", f"of shape {tuple(w.shape)}", f"(D, C, 3, 3) with C = {channels}", remedy)
    if w.dtype is not x.dtype:
        fail_dtype(_NAME, "w", w.dtype, f"{x.dtype} (as x)", "Convert w with .to(x.dtype), or use autocast.")
    if bias is not None:
        check_shape(_NAME, "bias", bias, (w.shape[0],), "(D,)")
        check_parameter_dtype(_NAME, "bias", bias, x)
    if residual is not None:
        check_shape(_NAME, "residual", residual, (batch, w.shape[0], height, width), "(N, D, H, W)")
        if residual.dtype is not x.dtype:
            fail_dtype(
                _NAME, "residual", residual.dtype, f"{x.dtype} (as x)", "Convert residual with .to(x.dtype)."
            )
    if activation not in _ACTIVATIONS:
        raise ValueError(f"{_NAME}: activation is {activation!r}; expected one of {', '.join(_ACTIVATIONS)}.")


def _reference(x: Tensor, w: Tensor, bias: Tensor | None, activation: str, residual: Tensor | None) -> Tensor:
    layout = output_format(x)
    if x.numel() == 0:
        return empty_image(x, w.shape[0])
    y = F.conv2d(x.contiguous(memory_format=layout), w, None if bias is None else bias.to(x.dtype), padding=1)
    if residual is not None:
        y = y.add_(residual)
    if activation == "relu":
        y = y.relu_()
    return y.contiguous(memory_format=layout)


def _fake(x: Tensor, w: Tensor, *_: Any) -> Tensor:
    return empty_image(x, w.shape[0])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w, bias, ctx.activation, residual = inputs
    ctx.save_for_backward(x, w, *(output if ctx.activation == "relu" else ()))
    ctx.has_bias, ctx.has_residual = bias is not None, residual is not None


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, w, *rest = ctx.saved_tensors
    y = rest[0] if rest else None
    need_dx = bool(ctx.needs_input_grad[0])
    dx, dw, db, dr = _BACKWARD(x, dy, w, y, need_dx, ctx.has_residual, ctx.backend)
    return dx if need_dx else None, dw, db if ctx.has_bias else None, None, dr if ctx.has_residual else None


def _backward_reference(
    x: Tensor, dy: Tensor, w: Tensor, y: Tensor | None, need_dx: bool, need_residual: bool
) -> tuple[Tensor, ...]:
    """dx, dw, dbias, dresidual; a gradient that is not needed has no elements. ``y`` is the activated output,
    None without activation.
    """
    layout = output_format(x)
    grad = dy if y is None else torch.ops.aten.threshold_backward(dy, y, 0)
    grad = grad.contiguous(memory_format=layout)
    none = x.new_empty(0)
    db = grad.sum((0, 2, 3), dtype=accumulation_dtype(x.dtype))
    # autograd operators may not hand one of their inputs back as an output
    dr = none if not need_residual else grad.clone() if grad is dy else grad
    if x.numel() == 0:
        dx = torch.empty_like(x, memory_format=layout) if need_dx else none
        return dx, torch.zeros(w.shape, dtype=w.dtype, device=w.device), db, dr
    dx, dw = convolution_gradients(grad, x.contiguous(memory_format=layout), w, need_dx)
    return dx.contiguous(memory_format=layout) if need_dx else none, dw.contiguous(), db, dr


def _backward_fake(
    x: Tensor, dy: Tensor, w: Tensor, y: Tensor | None, need_dx: bool, need_residual: bool
) -> tuple[Tensor, ...]:
    dx = empty_gradient(x, need_dx)
    dr = empty_image(x, w.shape[0]) if need_residual else x.new_empty(0)
    return dx, w.new_empty(w.shape), w.new_empty(w.shape[0], dtype=accumulation_dtype(x.dtype)), dr


def _call(x: Tensor, w: Tensor, *_: Any) -> backends.Call:
    return backends.call_of(_NAME, x, ("out_channels", w.shape[0]))


def _backward_options(x: Tensor, dy: Tensor, w: Tensor, *_: Any) -> tuple[Any, ...]:
    return (("out_channels", w.shape[0]),)


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    def make(
        shape: tuple[int, int, int, int], out: int, bias: bool, activation: str, residual: bool, layout: str
    ) -> Sample:
        batch, channels, height, width = shape
        x = draw(batch, channels, height, 2 * width)[..., ::2] if layout == "strided" else draw(*shape)
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        added = draw(batch, out, height, width) if residual else None
        args = (
            x,
            draw(out, channels, 3, 3) / (9 * channels) ** 0.5,
            draw(out) if bias else None,
            activation,
            added,
        )
        return Sample(f"{shape} -> {out} bias={bias} {activation} residual={residual} {layout}", args)

    yield make((2, 3, 6, 5), 4, True, "relu", True, "contiguous")
    yield make((2, 4, 5, 6), 2, True, "none", False, "channels_last")
    yield make((1, 2, 4, 4), 3, False, "relu", False, "contiguous")
    yield make((2, 3, 4, 3), 3, False, "none", True, "strided")
    yield make((1, 1, 1, 1), 1, True, "relu", True, "contiguous")
    yield make((0, 3, 4, 4), 2, True, "relu", True, "contiguous")


def _cost(x: Tensor, w: Tensor, *_: Any) -> Cost:
    pixels = x.numel() // x.shape[1]
    return Cost(2 * pixels * w.numel(), (x.numel() + pixels * w.shape[0] + w.numel()) * x.element_size())


SPEC = OpSpec(
    name=_NAME,
    function=conv3x3,
    schema=(
        '(Tensor x, Tensor w, Tensor? bias=None, str activation="none", Tensor? residual=None, '
        "str? backend=None) -> Tensor"
    ),
    reference=_reference,
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    backward_schema=(
        "(Tensor x, Tensor dy, Tensor w, Tensor? y, bool need_dx, bool need_residual, str? backend=None) "
        "-> (Tensor, Tensor, Tensor, Tensor)"
    ),
    backward_reference=_backward_reference,
    backward_fake=_backward_fake,
    call=_call,
    backward_options=_backward_options,
    autocast={"x": "lower", "w": "lower", "bias": "float32", "residual": "lower"},
    samples=_samples,
    cost=_cost,
    kernels={
        "cuda": _conv3x3_cuda.FORWARD,
        "triton": _conv3x3_triton.FORWARD,
        "cpu": Kernel(_native_kernel.forward(_reference), _native_kernel.can_run, _native_kernel.worthwhile),
    },
    backward_kernels={
        "cuda": _conv3x3_cuda.BACKWARD,
        "triton": _conv3x3_triton.BACKWARD,
        "cpu": Kernel(
            _native_kernel.backward(_backward_reference),
            _native_kernel.can_run,
            _native_kernel.backward_worthwhile,
        ),
    },
    equations="y = activation(conv(x, w) + bias + residual)",
    source="our choice of epilogue; He et al. 2016",
)
_FORWARD, _BACKWARD = register(SPEC)
