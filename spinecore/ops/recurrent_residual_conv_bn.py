"""Recurrent residual convolution with batch normalisation: the training form of
:mod:`spinecore.ops.recurrent_residual_conv`.

    d   = conv(x, w_in)
    u_0 = relu(bn_0(d));  u_k = relu(bn_k(d + conv(u_{k-1}, w_rec))), k = 1..steps
    y   = x + u_steps        (residual=False: u_steps)

bn_k normalises with the mean and biased variance of the batch at that step. The operator also returns the
pre-activations its backward reads, always channels-last; only y carries a gradient.
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
from spinecore.ops._recurrence import (
    Normalisation,
    at_step,
    channels_last,
    check_recurrence,
    convolve,
    fold_steps,
    recurrence_backward,
)
from spinecore.ops._shared import accumulation_dtype, fail, output_format
from spinecore.ops._spec import Cost, OpSpec, Sample, register

_NAME = "recurrent_residual_conv_bn"


def recurrent_residual_conv_bn(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float = 1e-5,
    steps: int = 2,
    residual: bool = True,
    *,
    backend: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Recurrent residual convolution, normalised by the batch's own statistics at every step.

    Args:
        x: (N, C, H, W).
        w_in, w_rec: (C, C, k, k), k odd (3 in the papers), in the dtype of x. They may be the same tensor:
            R2U-Net's shared weights.
        gamma, beta: (C,), or (steps+1, C) for one pair a step; float32 is accepted beside half-precision x.
        eps: Added to the variance.
        steps: Recurrent convolutions after the first; steps + 1 convolutions in all.
        residual: Add x to the result.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        y (N, C, H, W); mean (steps+1, C); var (steps+1, C), biased. The statistics are float32 for
        half-precision x, carry no gradient, and are zero for an empty batch.

    Source: Liang and Hu 2015 (recurrent convolution); Alom et al. 2018, R2U-Net (recurrent residual unit);
    Ioffe and Szegedy 2015.

    """
    y, mean, variance = _FORWARD(x, w_in, w_rec, gamma, beta, eps, steps, residual, backend)[:3]
    return y, mean, variance


def _check(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    steps: int,
    residual: bool,
) -> None:
    check_recurrence(_NAME, x, w_in, w_rec, gamma, beta, ("gamma", "beta"), steps)
    if eps <= 0:
        fail(_NAME, "eps", str(eps), "a number > 0", "1e-5 is usual.")


def _reference(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    steps: int,
    residual: bool,
) -> tuple[Any, ...]:
    """y, mean, biased variance, inverse standard deviation, pre-activations z."""
    dtype = accumulation_dtype(x.dtype)
    layout = output_format(x)
    mean = torch.zeros((steps + 1, x.shape[1]), dtype=dtype, device=x.device)
    variance, inverse = torch.zeros_like(mean), torch.zeros_like(mean)
    if x.numel() == 0:
        return _like(x), mean, variance, inverse, [_kept(x) for _ in range(steps + 1)]
    x = channels_last(x)
    gamma, beta = gamma.to(dtype), beta.to(dtype)
    z: list[Tensor] = []
    u = x
    for step in range(steps + 1):
        z.append(channels_last(convolve(u, w_rec).add_(z[0]) if step else convolve(x, w_in)))
        weight, bias = at_step(gamma, step), at_step(beta, step)
        after, mean[step], inverse[step] = torch.native_batch_norm(
            z[-1], weight, bias, None, None, True, 0.0, eps
        )
        u = after.relu_()
    # torch's kernel returns 1 / sqrt(var + eps); rounding must not make a constant channel's variance
    # negative.
    variance = (inverse.double().pow(-2) - eps).clamp_min(0).to(dtype)
    y = u.add_(x) if residual else u
    return y.contiguous(memory_format=layout), mean, variance, inverse, z


def _like(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=output_format(x))


def _kept(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _native(*args: Any) -> tuple[Any, ...]:
    result = _recurrence_native.forward(*args)
    return _reference(*args) if result is None else result


def _fake(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    steps: int,
    residual: bool,
) -> tuple[Any, ...]:
    shape, dtype = (steps + 1, x.shape[1]), accumulation_dtype(x.dtype)
    mean, variance, inverse = (x.new_empty(shape, dtype=dtype) for _ in range(3))
    return _like(x), mean, variance, inverse, [_kept(x) for _ in range(steps + 1)]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w_in, w_rec, gamma, beta, ctx.eps, _, ctx.residual = inputs
    _, mean, _, inverse, z = output
    ctx.save_for_backward(x, w_in, w_rec, gamma, beta, mean, inverse, *z)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, *saved = ctx.saved_tensors
    gradients = _BACKWARD(x, dy, *saved[:6], saved[6:], ctx.eps, ctx.residual, ctx.backend)
    return (*gradients, None, None, None)


def _backward_reference(
    x: Tensor,
    dy: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    inverse: Tensor,
    z: list[Tensor],
    eps: float,
    residual: bool,
) -> tuple[Tensor, ...]:
    """dx, dw_in, dw_rec, dgamma, dbeta; the last two in the dtype of the statistics."""
    weight, bias = gamma.to(mean.dtype), beta.to(mean.dtype)
    if x.numel() == 0:
        zero = torch.zeros_like(weight)
        return _like(x), _zeros(w_in), _zeros(w_rec), zero, torch.zeros_like(zero)
    norms = [
        Normalisation(at_step(weight, k), at_step(bias, k), mean[k], inverse[k]) for k in range(mean.shape[0])
    ]
    dx, dw_in, dw_rec, d_gamma, d_beta = recurrence_backward(x, dy, w_in, w_rec, z, norms, eps, residual)
    return dx, dw_in, dw_rec, fold_steps(d_gamma, gamma), fold_steps(d_beta, beta)


def _native_backward(
    x: Tensor,
    dy: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    inverse: Tensor,
    z: list[Tensor],
    eps: float,
    residual: bool,
) -> tuple[Tensor, ...]:
    given = (x, dy, w_in, w_rec, gamma, beta, mean, inverse, z)
    gradients = _recurrence_native.backward(*given, residual)
    if gradients is None:
        return _backward_reference(*given, eps, residual)
    dx, dw_in, dw_rec, d_gamma, d_beta = gradients
    return dx, dw_in, dw_rec, fold_steps(d_gamma, gamma), fold_steps(d_beta, beta)


def _zeros(weight: Tensor) -> Tensor:
    return torch.zeros(weight.shape, dtype=weight.dtype, device=weight.device)


def _backward_fake(
    x: Tensor, dy: Tensor, w_in: Tensor, w_rec: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, *_: Any
) -> tuple[Tensor, ...]:
    d_gamma, d_beta = mean.new_empty(gamma.shape), mean.new_empty(beta.shape)
    return _like(x), w_in.new_empty(w_in.shape), w_rec.new_empty(w_rec.shape), d_gamma, d_beta


def _call(x: Tensor, w_in: Tensor, *rest: Any) -> backends.Call:
    return backends.call_of(_NAME, x, ("kernel_size", w_in.shape[-1]))


def _backward_options(x: Tensor, dy: Tensor, w_in: Tensor, *rest: Any) -> tuple[Any, ...]:
    return (("kernel_size", w_in.shape[-1]),)


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def make(
        shape: tuple[int, int, int, int],
        steps: int,
        residual: bool,
        per_step: bool,
        layout: str,
        kernel: int = 3,
    ) -> Sample:
        channels = shape[1]
        x = draw(*shape)
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        elif layout == "strided":
            x = draw(*shape[:3], 2 * shape[3])[..., ::2]
        weights = [draw(channels, channels, kernel, kernel) / (kernel * channels**0.5) for _ in range(2)]
        rows = (steps + 1, channels) if per_step else (channels,)
        gamma, beta = draw(*rows) * 0.3 + 1, draw(*rows) * 0.3
        args = (
            x.to(dtype),
            *(w.to(dtype) for w in weights),
            gamma.to(dtype),
            beta.to(dtype),
            1e-5,
            steps,
            residual,
        )
        return Sample(
            f"{shape} steps={steps} residual={residual} per_step={per_step} {layout} k={kernel}", args
        )

    yield make((2, 4, 6, 5), 2, True, True, "contiguous")
    yield make((2, 8, 5, 6), 1, True, False, "channels_last")
    yield make((3, 3, 4, 4), 0, True, False, "contiguous")
    yield make((2, 3, 4, 5), 2, False, True, "channels_last")
    yield make((2, 3, 4, 3), 1, True, True, "strided")
    yield make((2, 2, 5, 5), 1, True, True, "contiguous", kernel=1)
    yield make((1, 2, 1, 1), 1, True, True, "contiguous")
    yield make((0, 3, 4, 4), 2, True, True, "contiguous")


def _cost(
    x: Tensor, w_in: Tensor, w_rec: Tensor, gamma: Tensor, beta: Tensor, eps: float, steps: int, *_: Any
) -> Cost:
    pixels = x.numel() // max(x.shape[1], 1)
    return Cost(2 * (steps + 1) * pixels * w_in.numel(), (2 + 2 * (steps + 1)) * x.numel() * x.element_size())


SPEC = OpSpec(
    name=_NAME,
    function=recurrent_residual_conv_bn,
    schema=(
        "(Tensor x, Tensor w_in, Tensor w_rec, Tensor gamma, Tensor beta, float eps=1e-05, "
        "int steps=2, bool residual=True, "
        "str? backend=None) -> (Tensor, Tensor, Tensor, Tensor, Tensor[])"
    ),
    reference=_reference,
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    backward_schema=(
        "(Tensor x, Tensor dy, Tensor w_in, Tensor w_rec, Tensor gamma, Tensor beta, Tensor mean, "
        "Tensor inverse_std, Tensor[] z, "
        "float eps, bool residual, str? backend=None) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
    backward_reference=_backward_reference,
    backward_fake=_backward_fake,
    call=_call,
    backward_options=_backward_options,
    autocast={"x": "lower", "w_in": "lower", "w_rec": "lower", "gamma": "float32", "beta": "float32"},
    samples=_samples,
    cost=_cost,
    kernels={
        "cuda": _recurrent_residual_conv_cuda.FORWARD_BN,
        "triton": _recurrent_residual_conv_triton.FORWARD_BN,
        "cpu": Kernel(_native, _recurrence_native.can_run, _recurrence_native.worthwhile),
    },
    backward_kernels={
        "cuda": _recurrent_residual_conv_cuda.BACKWARD_BN,
        "triton": _recurrent_residual_conv_triton.BACKWARD_BN,
        "cpu": Kernel(_native_backward, _recurrence_native.can_run, _recurrence_native.worthwhile),
    },
    equations="u_k = relu(bn_k(conv(x, w_in) + [k > 0] conv(u_{k-1}, w_rec))); y = x + u_steps",
    source="Liang and Hu 2015; Alom et al. 2018 (R2U-Net)",
)
_FORWARD, _BACKWARD = register(SPEC)
