"""1x1 convolution, batch normalisation by the batch's own statistics, and an optional ReLU: the training form
of a pointwise block.

z = w x at every pixel;   y = activation(gamma (z - mean) / sqrt(var + eps) + beta)

The operator also returns z, always channels-last, and 1 / sqrt(var + eps), which its backward reads; only y
carries a gradient.
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
from spinecore.ops._recurrence import Normalisation, channels_last, convolution_gradients
from spinecore.ops._shared import (
    accumulation_dtype,
    check_image,
    check_parameter_dtype,
    check_shape,
    empty_gradient,
    fail,
    fail_dtype,
    output_format,
)
from spinecore.ops._spec import Cost, OpSpec, Sample, register

_NAME = "conv1x1_bn"
_ACTIVATIONS = ("none", "relu")


def conv1x1_bn(
    x: Tensor,
    w: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float = 1e-5,
    activation: str = "none",
    *,
    backend: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """1x1 convolution, normalised by the batch's own statistics, then activated.

    Args:
        x: (N, C, H, W).
        w: (D, C, 1, 1), in the dtype of x; any channel pair.
        gamma: (D,); float32 is accepted beside half-precision x.
        beta: (D,), likewise.
        eps: Added to the variance.
        activation: ``none`` or ``relu``.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        y (N, D, H, W), dtype and layout of x; mean (D,); var (D,), biased. The statistics are float32 for
        half-precision x, carry no gradient, and are zero for an empty batch.

    Source: Ioffe and Szegedy 2015 (batch normalisation between a linear map and its activation).

    """
    y, mean, variance = _FORWARD(x, w, gamma, beta, eps, activation, backend)[:3]
    return y, mean, variance


def _check(x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor, eps: float, activation: str) -> None:
    check_image(_NAME, x)
    channels = x.shape[1]
    if w.dim() != 4 or w.shape[0] < 1 or tuple(w.shape[1:]) != (channels, 1, 1):
        remedy = "Other kernel sizes: use torch.nn.functional.conv2d and batch_norm."
        fail(_NAME, "w", f"of shape {tuple(w.shape)}", f"(D, C, 1, 1) with C = {channels}", remedy)
    if w.dtype is not x.dtype:
        fail_dtype(_NAME, "w", w.dtype, f"{x.dtype} (as x)", "Convert w with .to(x.dtype), or use autocast.")
    for name, value in (("gamma", gamma), ("beta", beta)):
        check_shape(_NAME, name, value, (w.shape[0],), "(D,)")
        check_parameter_dtype(_NAME, name, value, x)
    if not eps > 0:
        fail(_NAME, "eps", str(eps), "a number > 0", "1e-5 is usual.")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"{_NAME}: activation is {activation!r}; expected one of {', '.join(_ACTIVATIONS)}.")


def _empty(x: Tensor, w: Tensor, layout: torch.memory_format) -> Tensor:
    shape = (x.shape[0], w.shape[0], x.shape[2], x.shape[3])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _reference(
    x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor, eps: float, activation: str
) -> tuple[Tensor, ...]:
    """y, mean, biased variance, inverse standard deviation, z."""
    dtype, layout = accumulation_dtype(x.dtype), output_format(x)
    if x.numel() == 0:
        zero = torch.zeros(w.shape[0], dtype=dtype, device=x.device)
        z = _empty(x, w, torch.channels_last)
        return _empty(x, w, layout), zero, zero.clone(), zero.clone(), z
    z = channels_last(F.conv2d(channels_last(x), w))
    y, mean, inverse = torch.native_batch_norm(z, gamma.to(dtype), beta.to(dtype), None, None, True, 0.0, eps)
    if activation == "relu":
        y = y.relu_()
    # torch's kernel returns 1 / sqrt(var + eps); rounding must not make a constant channel's variance
    # negative.
    variance = (inverse.double().pow(-2) - eps).clamp_min(0).to(dtype)
    return y.contiguous(memory_format=layout), mean, variance, inverse, z


def _fake(x: Tensor, w: Tensor, *_: Any) -> tuple[Tensor, ...]:
    dtype = accumulation_dtype(x.dtype)
    mean, variance, inverse = (x.new_empty(w.shape[0], dtype=dtype) for _ in range(3))
    return _empty(x, w, output_format(x)), mean, variance, inverse, _empty(x, w, torch.channels_last)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w, gamma, beta, ctx.eps, ctx.activation = inputs
    _, mean, _, inverse, z = output
    ctx.save_for_backward(x, w, gamma, beta, mean, inverse, z)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, *saved = ctx.saved_tensors
    need_dx = bool(ctx.needs_input_grad[0])
    dx, dw, d_gamma, d_beta = _BACKWARD(x, dy, *saved, ctx.eps, ctx.activation, need_dx, ctx.backend)
    return dx if need_dx else None, dw, d_gamma, d_beta, None, None


def _backward_reference(
    x: Tensor,
    dy: Tensor,
    w: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    inverse: Tensor,
    z: Tensor,
    eps: float,
    activation: str,
    need_dx: bool,
) -> tuple[Tensor, ...]:
    """dx, dw, dgamma, dbeta; the last two in the dtype of the statistics, the first without elements unless
    needed.
    """
    layout = output_format(x)
    # Contiguous: torch's backward of the batch norm of channels-last images ignores the stride of the weight.
    weight, bias = gamma.to(mean.dtype).contiguous(), beta.to(mean.dtype)
    if x.numel() == 0:
        dx = torch.empty_like(x, memory_format=layout) if need_dx else x.new_empty(0)
        dw = torch.zeros(w.shape, dtype=w.dtype, device=w.device)
        return dx, dw, torch.zeros_like(weight), torch.zeros_like(weight)
    grad = channels_last(dy)
    if activation == "relu":
        u = Normalisation(weight, bias, mean, inverse).activate(z)
        grad = torch.ops.aten.threshold_backward(grad, u, 0)
    dz, d_gamma, d_beta = torch.ops.aten.native_batch_norm_backward(
        grad, z, weight, None, None, mean, inverse, True, eps, [True, True, True]
    )
    dx, dw = convolution_gradients(dz, channels_last(x), w, need_dx)
    return (
        dx.contiguous(memory_format=layout) if need_dx else x.new_empty(0),
        dw.contiguous(),
        d_gamma,
        d_beta,
    )


def _backward_fake(
    x: Tensor, dy: Tensor, w: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    dx = empty_gradient(x, rest[-1])
    return dx, w.new_empty(w.shape), mean.new_empty(gamma.shape), mean.new_empty(beta.shape)


def _call(x: Tensor, w: Tensor, *_: Any) -> backends.Call:
    return backends.call_of(_NAME, x, ("out_channels", w.shape[0]))


def _backward_options(x: Tensor, dy: Tensor, w: Tensor, *_: Any) -> tuple[Any, ...]:
    return (("out_channels", w.shape[0]),)


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def make(shape: tuple[int, int, int, int], out: int, activation: str, layout: str) -> Sample:
        batch, channels, height, width = shape
        x = draw(batch, channels, height, 2 * width)[..., ::2] if layout == "strided" else draw(*shape)
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        x = x.to(dtype)
        w = draw(out, channels, 1, 1) / channels**0.5
        parameters = (w.to(dtype), (draw(out) * 0.3 + 1).to(dtype), (draw(out) * 0.3).to(dtype))
        return Sample(f"{shape} -> {out} {activation} {layout}", (x, *parameters, 1e-5, activation))

    yield make((2, 3, 6, 5), 4, "relu", "contiguous")
    yield make((2, 17, 5, 6), 2, "none", "channels_last")
    yield make((3, 2, 4, 4), 3, "relu", "channels_last")
    yield make((2, 3, 4, 3), 3, "none", "strided")
    yield make((1, 2, 1, 1), 2, "relu", "contiguous")
    yield make((0, 3, 4, 4), 2, "relu", "contiguous")


def _cost(x: Tensor, w: Tensor, *_: Any) -> Cost:
    pixels = x.numel() // x.shape[1]
    return Cost(2 * pixels * w.numel(), (x.numel() + 3 * pixels * w.shape[0] + w.numel()) * x.element_size())


SPEC = OpSpec(
    name=_NAME,
    function=conv1x1_bn,
    schema=(
        '(Tensor x, Tensor w, Tensor gamma, Tensor beta, float eps=1e-05, str activation="none", '
        "str? backend=None) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
    reference=_reference,
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    backward_schema=(
        "(Tensor x, Tensor dy, Tensor w, Tensor gamma, Tensor beta, Tensor mean, Tensor inverse_std, "
        "Tensor z, float eps, str activation, bool need_dx, str? backend=None) "
        "-> (Tensor, Tensor, Tensor, Tensor)"
    ),
    backward_reference=_backward_reference,
    backward_fake=_backward_fake,
    call=_call,
    backward_options=_backward_options,
    autocast={"x": "lower", "w": "lower", "gamma": "float32", "beta": "float32"},
    samples=_samples,
    cost=_cost,
    kernels={"cpu": Kernel(_native_kernel.normalised, _native_kernel.can_run, _native_kernel.worthwhile)},
    backward_kernels={
        "cpu": Kernel(_native_kernel.normalised_backward, _native_kernel.can_run, _native_kernel.worthwhile)
    },
    equations="y = activation(gamma (w x - mean) / sqrt(var + eps) + beta)",
    source="Ioffe and Szegedy 2015",
)
_FORWARD, _BACKWARD = register(SPEC)
