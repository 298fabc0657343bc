"""scSE gate: concurrent spatial and channel squeeze and excitation (Roy et al. 2018), the smallest whole
operator.

    c = sigmoid(w2 relu(w1 mean_hw(x) + b1) + b2)      (N, C)
    s = sigmoid(<ws, x_p> + bs)                        (N, 1, H, W)
    y = x * (c + s)   or   x * max(c, s)

The operator ``torch.ops.spinecore.scse_gate`` returns ``(y, c, s, mean)``; the last three serve the backward
and carry no gradient.
"""

# ruff: noqa: ARG001, D417 - the parts of one operator share one argument list; like arguments are described
# together
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import backends
from spinecore.backends import Kernel
from spinecore.ops import _scse_gate_cuda, _scse_gate_native, _scse_gate_triton
from spinecore.ops._shared import (
    accumulation_dtype,
    check_image,
    check_parameter_dtype,
    check_shape,
    fail,
    output_format,
)
from spinecore.ops._spec import Cost, OpSpec, Sample, register

_NAME = "scse_gate"
_MODES = ("add", "max")
Gates = tuple[Tensor, Tensor, Tensor, Tensor]


def scse_gate(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    ws: Tensor,
    bs: Tensor | None,
    mode: str = "add",
    *,
    backend: str | None = None,
) -> Tensor:
    """Gate a feature map by channel and by pixel.

    Args:
        x: (N, C, H, W), any layout; the output keeps NCHW or channels-last.
        w1: (h, C) squeeze, h the hidden width. b1: (h,) or None.
        w2: (C, h) excitation. b2: (C,) or None.
        ws: (C,) spatial gate. bs: (1,) or None.
        mode: ``add`` (Roy et al., eq. 4) or ``max`` (their max-out variant). Where both gates of an element
            are equal, ``max`` gives half the gradient to each, as ``torch.maximum`` does.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        (N, C, H, W) in the dtype of x.

    Raises:
        ValueError, TypeError: a shape, mode or dtype is wrong; the message names the argument and the remedy.
        BackendUnavailable: the backend asked for cannot run this call.

    Source: Roy, Navab, Wachinger, "Concurrent spatial and channel squeeze & excitation in fully convolutional
    networks", 2018.

    """
    y: Tensor = _FORWARD(x, w1, b1, w2, b2, ws, bs, mode, backend)[0]
    return y


def _check(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    ws: Tensor,
    bs: Tensor | None,
    mode: str,
) -> None:
    check_image(_NAME, x)
    channels = x.shape[1]
    if w1.dim() != 2 or w1.shape[0] < 1 or w1.shape[1] != channels:
        fail(
            _NAME,
            "w1",
            f"of shape {tuple(w1.shape)}",
            f"(h, C) with h >= 1, C = {channels}",
            "Rebuild w1 for these channels.",
        )
    hidden = w1.shape[0]
    check_shape(_NAME, "w2", w2, (channels, hidden), "(C, h)")
    check_shape(_NAME, "ws", ws, (channels,), "(C,)")
    for name, bias, size, meaning in (
        ("b1", b1, hidden, "(h,)"),
        ("b2", b2, channels, "(C,)"),
        ("bs", bs, 1, "(1,)"),
    ):
        if bias is not None:
            check_shape(_NAME, name, bias, (size,), meaning)
            check_parameter_dtype(_NAME, name, bias, x)
    for name, weight in (("w1", w1), ("w2", w2), ("ws", ws)):
        check_parameter_dtype(_NAME, name, weight, x)
    if mode not in _MODES:
        raise ValueError(f"{_NAME}: mode is {mode!r}; expected one of {', '.join(_MODES)}.")


def _accumulate(dtype: torch.dtype, *tensors: Tensor | None) -> list[Any]:
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def _reference(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    ws: Tensor,
    bs: Tensor | None,
    mode: str,
) -> Gates:
    """The meaning of the operator. Gates of half-precision inputs are kept in float32, as every backend
    does.
    """
    dtype = accumulation_dtype(x.dtype)
    values, w1, b1, w2, b2, ws, bs = _accumulate(dtype, x, w1, b1, w2, b2, ws, bs)
    batch, _, height, width = x.shape
    pooled = values.sum((2, 3)) / max(height * width, 1)
    channel_gate = torch.sigmoid(F.linear(F.relu(F.linear(pooled, w1, b1)), w2, b2))
    score = torch.einsum("nchw,c->nhw", values, ws)
    if bs is not None:
        score = score + bs
    spatial_gate = torch.sigmoid(score).reshape(batch, height * width)
    channel, spatial = channel_gate[:, :, None, None], spatial_gate.view(batch, 1, height, width)
    gate = channel + spatial if mode == "add" else torch.maximum(channel, spatial)
    y = (values * gate).to(x.dtype).contiguous(memory_format=output_format(x))
    return y, channel_gate, spatial_gate, pooled


def _fake(x: Tensor, w1: Tensor, b1: Any, w2: Tensor, b2: Any, ws: Tensor, bs: Any, mode: str) -> Gates:
    batch, channels, height, width = x.shape
    dtype = accumulation_dtype(x.dtype)
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=output_format(x))
    gates = x.new_empty((batch, channels), dtype=dtype)
    return y, gates, x.new_empty((batch, height * width), dtype=dtype), torch.empty_like(gates)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w1, b1, w2, b2, ws, bs, mode = inputs
    ctx.save_for_backward(x, w1, b1, w2, b2, ws, *output[1:])
    ctx.mode, ctx.biases = mode, (b1 is not None, b2 is not None, bs is not None)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, w1, b1, w2, b2, ws, channel_gate, spatial_gate, pooled = ctx.saved_tensors
    gradients = _BACKWARD(
        x, dy, w1, b1, w2, b2, ws, channel_gate, spatial_gate, pooled, ctx.mode, ctx.backend
    )
    dx, dw1, db1, dw2, db2, dws, dbs = gradients
    has_b1, has_b2, has_bs = ctx.biases
    return dx, dw1, db1 if has_b1 else None, dw2, db2 if has_b2 else None, dws, dbs if has_bs else None, None


def _backward_reference(
    x: Tensor,
    dy: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    ws: Tensor,
    channel_gate: Tensor,
    spatial_gate: Tensor,
    pooled: Tensor,
    mode: str,
) -> tuple[Tensor, ...]:
    """Gradients of x, w1, b1, w2, b2, ws, bs; those of absent biases are computed all the same, they cost
    nothing.

    Parameter gradients have the dtype of the gates (float32 for half-precision x); autograd casts them to the
    parameter's.
    """
    dtype = channel_gate.dtype
    values, grads, w1, b1, w2, ws = _accumulate(dtype, x, dy, w1, b1, w2, ws)
    batch, channels, height, width = x.shape
    channel, spatial = channel_gate[:, :, None, None], spatial_gate.view(batch, 1, height, width)
    product = grads * values
    if mode == "add":
        dx, to_channel, to_spatial = grads * (channel + spatial), product, product
    else:
        wins = (channel > spatial).to(dtype) + 0.5 * (channel == spatial)
        dx = grads * torch.maximum(channel, spatial)
        to_channel, to_spatial = product * wins, product * (1 - wins)
    d_spatial = to_spatial.sum(1, keepdim=True) * (spatial * (1 - spatial))
    d_excite = to_channel.sum((2, 3)) * channel_gate * (1 - channel_gate)
    hidden = F.relu(F.linear(pooled, w1, b1))
    d_hidden = (d_excite @ w2) * (hidden > 0)
    d_pooled = (d_hidden @ w1) / max(height * width, 1)
    dx = dx + d_spatial * ws.view(1, channels, 1, 1) + d_pooled[:, :, None, None]
    parameters = (
        d_hidden.T @ pooled,
        d_hidden.sum(0),
        d_excite.T @ hidden,
        d_excite.sum(0),
        torch.einsum("nchw,nhw->c", values, d_spatial.squeeze(1)),
        d_spatial.sum().reshape(1),
    )
    return dx.to(x.dtype).contiguous(memory_format=output_format(x)), *(
        gradient.contiguous() for gradient in parameters
    )


def _backward_fake(
    x: Tensor, dy: Tensor, w1: Tensor, b1: Any, w2: Tensor, b2: Any, ws: Tensor, channel_gate: Tensor, *_: Any
) -> tuple[Tensor, ...]:
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=output_format(x))
    shapes = (w1.shape, w1.shape[:1], w2.shape, w2.shape[:1], ws.shape, (1,))
    return dx, *(channel_gate.new_empty(shape) for shape in shapes)


def _call(x: Tensor, w1: Tensor, *rest: Any) -> backends.Call:
    return backends.call_of(_NAME, x, rest[-1], w1.shape[0])


def _backward_options(x: Tensor, dy: Tensor, w1: Tensor, *rest: Any) -> tuple[str, int]:
    return rest[-1], w1.shape[0]


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    def make(shape: tuple[int, int, int, int], hidden: int, bias: bool, mode: str, layout: str) -> Sample:
        channels = shape[1]
        x = draw(*shape)
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        elif layout == "strided":
            x = draw(shape[0], channels, shape[2], 2 * shape[3])[..., ::2]
        b1, b2, bs = (draw(hidden), draw(channels), draw(1)) if bias else (None, None, None)
        args = (x, draw(hidden, channels), b1, draw(channels, hidden), b2, draw(channels), bs, mode)
        return Sample(f"{shape} {layout} {mode} bias={bias}", args)

    yield make((2, 8, 5, 7), 4, False, "add", "contiguous")
    yield make((2, 16, 6, 4), 8, True, "add", "channels_last")
    yield make((1, 3, 4, 5), 2, True, "max", "contiguous")
    yield make((2, 5, 3, 4), 3, False, "max", "channels_last")
    yield make((2, 4, 3, 3), 2, True, "add", "strided")
    yield make((1, 1, 1, 1), 1, True, "add", "contiguous")
    yield make((0, 4, 3, 3), 2, True, "add", "contiguous")


def _cost(x: Tensor, w1: Tensor, *_: Any) -> Cost:
    pixels = x.numel()
    return Cost(5 * pixels + 4 * x.shape[0] * w1.numel(), 3 * pixels * x.element_size())


_ARGUMENTS = "Tensor w1, Tensor? b1, Tensor w2, Tensor? b2, Tensor ws"
SPEC = OpSpec(
    name=_NAME,
    function=scse_gate,
    schema=(
        f'(Tensor x, {_ARGUMENTS}, Tensor? bs, str mode="add", str? backend=None) -> (Tensor, Tensor, '
        "Tensor, Tensor)"
    ),
    reference=_reference,
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    backward_schema=(
        f"(Tensor x, Tensor dy, {_ARGUMENTS}, Tensor channel_gate, Tensor spatial_gate, "
        "Tensor pooled, str mode, "
        "str? backend=None) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
    backward_reference=_backward_reference,
    backward_fake=_backward_fake,
    call=_call,
    # The gate is bound by memory traffic: x stays in whatever precision the convolution before it produced.
    autocast=dict.fromkeys(("w1", "b1", "w2", "b2", "ws", "bs"), "float32"),
    samples=_samples,
    cost=_cost,
    backward_options=_backward_options,
    kernels={
        "cuda": Kernel(_scse_gate_cuda.forward, _scse_gate_cuda.can_run),
        "triton": Kernel(_scse_gate_triton.forward, _scse_gate_triton.can_run),
        "cpu": Kernel(_scse_gate_native.forward, _scse_gate_native.can_run),
    },
    backward_kernels={
        "cuda": Kernel(_scse_gate_cuda.backward, _scse_gate_cuda.can_run),
        "triton": Kernel(_scse_gate_triton.backward, _scse_gate_triton.can_run),
        "cpu": Kernel(_scse_gate_native.backward, _scse_gate_native.can_run),
    },
    equations=(
        "c = sigmoid(w2 relu(w1 mean(x) + b1) + b2); s = sigmoid(<ws, x> + bs); "
        "y = x * (c + s) or x * max(c, s)"
    ),
    source="Roy, Navab, Wachinger 2018",
)
_FORWARD, _BACKWARD = register(SPEC)
