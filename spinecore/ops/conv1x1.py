"""1x1 convolution: one linear map of the channels of every pixel.

y[n, :, i, j] = w x[n, :, i, j] + bias
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
from spinecore.ops import _conv1x1_native as _native_kernel
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

_NAME = "conv1x1"


def conv1x1(x: Tensor, w: Tensor, bias: Tensor | None = None, *, backend: str | None = None) -> Tensor:
    """1x1 convolution with bias: `torch.nn.functional.conv2d` with a kernel of one pixel, stride 1.

    Args:
        x: (N, C, H, W).
        w: (D, C, 1, 1), in the dtype of x; any channel pair.
        bias: (D,) or None.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        (N, D, H, W), dtype and layout of x.

    Source: Lin, Chen, Yan 2013, "Network In Network" (cascaded cross channel pooling).

    """
    y: Tensor = _FORWARD(x, w, bias, backend)
    return y


def _check(x: Tensor, w: Tensor, bias: Tensor | None) -> None:
    check_image(_NAME, x)
    channels = x.shape[1]
    if w.dim() != 4 or w.shape[0] < 1 or tuple(w.shape[1:]) != (channels, 1, 1):
        remedy = "Other kernel sizes, strides and groups: use torch.nn.functional.conv2d."
        fail(_NAME, "w", f"of shape {tuple(w.shape)}", f"(D, C, 1, 1) with C = {channels}", remedy)
    if w.dtype is not x.dtype:
        fail_dtype(_NAME, "w", w.dtype, f"{x.dtype} (as x)", "Convert w with .to(x.dtype), or use autocast.")
    if bias is not None:
        check_shape(_NAME, "bias", bias, (w.shape[0],), "(D,)")
        check_parameter_dtype(_NAME, "bias", bias, x)


def _reference(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    layout = output_format(x)
    if x.numel() == 0:
        return empty_image(x, w.shape[0])
    y = F.conv2d(x.contiguous(memory_format=layout), w, None if bias is None else bias.to(x.dtype))
    return y.contiguous(memory_format=layout)


def _fake(x: Tensor, w: Tensor, *_: Any) -> Tensor:
    return empty_image(x, w.shape[0])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w, bias = inputs
    ctx.save_for_backward(x, w)
    ctx.has_bias = bias is not None


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, w = ctx.saved_tensors
    need_dx = bool(ctx.needs_input_grad[0])
    dx, dw, db = _BACKWARD(x, dy, w, need_dx, ctx.backend)
    return dx if need_dx else None, dw, db if ctx.has_bias else None


def _backward_reference(x: Tensor, dy: Tensor, w: Tensor, need_dx: bool) -> tuple[Tensor, ...]:
    """dx, dw, dbias; without ``need_dx`` the first has no elements."""
    layout = output_format(x)
    grad = dy.contiguous(memory_format=layout)
    db = grad.sum((0, 2, 3), dtype=accumulation_dtype(x.dtype))
    if x.numel() == 0:
        dx = torch.empty_like(x, memory_format=layout) if need_dx else x.new_empty(0)
        return dx, torch.zeros(w.shape, dtype=w.dtype, device=w.device), db
    dx, dw = convolution_gradients(grad, x.contiguous(memory_format=layout), w, need_dx)
    return dx.contiguous(memory_format=layout) if need_dx else x.new_empty(0), dw.contiguous(), db


def _backward_fake(x: Tensor, dy: Tensor, w: Tensor, need_dx: bool) -> tuple[Tensor, ...]:
    dx = empty_gradient(x, need_dx)
    return dx, w.new_empty(w.shape), w.new_empty(w.shape[0], dtype=accumulation_dtype(x.dtype))


def _call(x: Tensor, w: Tensor, *_: Any) -> backends.Call:
    return backends.call_of(_NAME, x, ("out_channels", w.shape[0]))


def _backward_options(x: Tensor, dy: Tensor, w: Tensor, *_: Any) -> tuple[Any, ...]:
    return (("out_channels", w.shape[0]),)


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    def make(shape: tuple[int, int, int, int], out: int, bias: bool, layout: str) -> Sample:
        batch, channels, height, width = shape
        x = draw(batch, channels, height, 2 * width)[..., ::2] if layout == "strided" else draw(*shape)
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        args = (x, draw(out, channels, 1, 1) / channels**0.5, draw(out) if bias else None)
        return Sample(f"{shape} -> {out} bias={bias} {layout}", args)

    yield make((2, 3, 6, 5), 4, True, "contiguous")
    yield make((2, 17, 5, 6), 2, True, "channels_last")
    yield make((1, 2, 4, 4), 3, False, "channels_last")
    yield make((2, 3, 4, 3), 3, False, "strided")
    yield make((1, 1, 1, 1), 1, True, "contiguous")
    yield make((0, 3, 4, 4), 2, True, "contiguous")


def _cost(x: Tensor, w: Tensor, *_: Any) -> Cost:
    pixels = x.numel() // x.shape[1]
    return Cost(2 * pixels * w.numel(), (x.numel() + pixels * w.shape[0] + w.numel()) * x.element_size())


SPEC = OpSpec(
    name=_NAME,
    function=conv1x1,
    schema="(Tensor x, Tensor w, Tensor? bias=None, str? backend=None) -> Tensor",
    reference=_reference,
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    backward_schema=(
        "(Tensor x, Tensor dy, Tensor w, bool need_dx, str? backend=None) -> (Tensor, Tensor, Tensor)"
    ),
    backward_reference=_backward_reference,
    backward_fake=_backward_fake,
    call=_call,
    backward_options=_backward_options,
    autocast={"x": "lower", "w": "lower", "bias": "float32"},
    samples=_samples,
    cost=_cost,
    kernels={"cpu": Kernel(_native_kernel.forward, _native_kernel.can_run, _native_kernel.worthwhile)},
    backward_kernels={
        "cpu": Kernel(_native_kernel.backward, _native_kernel.can_run, _native_kernel.worthwhile)
    },
    equations="y = w x + bias at every pixel",
    source='Lin, Chen, Yan 2013, "Network In Network"',
)
_FORWARD, _BACKWARD = register(SPEC)
