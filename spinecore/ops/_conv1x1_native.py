"""The native CPU kernels of the 1x1 convolution, alone and normalised: allocates what the core fills."""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Verdict
from spinecore.ops._layout import channels_last, in_layout_of

_DENSE = Verdict(True, "blocks of pixels times packed weights in float32, vectorised C++ kernel")
_CONVERTED = Verdict(True, "blocks of pixels times packed weights; x is first converted to channels-last")
_SLOWER_BASELINE = Verdict(False, "without AVX2 the kernel is no faster than PyTorch's convolution")
_SLOWER_HALF = Verdict(False, "PyTorch's bfloat16 products are faster than the kernel's in float32")
_SLOWER_NCHW = Verdict(False, "exchanging the layout costs what the kernel gains; channels-last gains it")
_FEW_PIXELS = 96
_ABSENT = torch.empty(0, dtype=torch.float32, device="cpu")


def can_run(call: Call) -> Verdict:
    """float32 and bfloat16, of any size but zero."""
    if call.dtype is not torch.float32 and call.dtype is not torch.bfloat16:
        name = str(call.dtype).removeprefix("torch.")
        return Verdict(False, f"the native kernel computes float32 and bfloat16, not {name}")
    if 0 in call.shape:
        return Verdict(False, "x has no elements, there is nothing to vectorise")
    return _DENSE if call.layout == "channels_last" else _CONVERTED


def worthwhile(call: Call) -> Verdict:
    """Where the kernels beat PyTorch's convolution, forward and backward together, by measurement."""
    batch, channels, height, width = call.shape
    outputs = call.options[0][1]
    if _native.core().selected_isa() == "baseline":
        return _SLOWER_BASELINE
    if call.dtype is not torch.float32:
        return _SLOWER_HALF
    if call.layout != "channels_last":
        return _SLOWER_NCHW
    if batch * height * width < _FEW_PIXELS:
        return Verdict(False, f"under {_FEW_PIXELS} pixels: packing the weights costs more than the products")
    if channels < 2 or outputs < 4:
        return Verdict(False, f"{channels} -> {outputs} channels leave most of a vector empty")
    return _DENSE


def _matrix(w: Tensor) -> Tensor:
    return w.detach().flatten(1).to(torch.float32).contiguous()


def _room(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float32, device="cpu")


def _row(value: Tensor) -> Tensor:
    return value.detach().to(torch.float32).contiguous()


def forward(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """The kernel of the operator."""
    core = _native.core()
    batch, channels, height, width = x.shape
    outputs = w.shape[0]
    y = torch.empty(
        (batch, outputs, height, width), dtype=x.dtype, device="cpu", memory_format=torch.channels_last
    )
    core.conv1x1_forward(
        channels_last(x),
        _matrix(w),
        _ABSENT if bias is None else _row(bias),
        y,
        _room(core.conv1x1_workspace(channels, outputs)),
    )
    return in_layout_of(y, x)


def backward(x: Tensor, dy: Tensor, w: Tensor, need_dx: bool) -> tuple[Tensor, ...]:
    """The kernel of the backward."""
    core = _native.core()
    image, grad = channels_last(x), channels_last(dy)
    outputs, channels = w.shape[:2]
    dx = torch.empty_like(image, memory_format=torch.channels_last) if need_dx else x.new_empty(0)
    dw = torch.empty((outputs, channels), dtype=torch.float32, device="cpu")
    d_bias = _room(outputs)
    pixels = x.numel() // channels
    size = core.conv1x1_backward_workspace(pixels, channels, outputs)
    core.conv1x1_backward(image, grad, _matrix(w), dx, dw, d_bias, _room(size))
    return in_layout_of(dx, x) if need_dx else dx, dw.view(w.shape).to(w.dtype), d_bias


def normalised(
    x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor, eps: float, activation: str
) -> tuple[Tensor, ...]:
    """The kernel of `conv1x1_bn`: y, mean, biased variance, inverse standard deviation, z."""
    core = _native.core()
    batch, channels, height, width = x.shape
    outputs = w.shape[0]
    z = torch.empty(
        (batch, outputs, height, width), dtype=x.dtype, device="cpu", memory_format=torch.channels_last
    )
    y = torch.empty_like(z)
    mean, variance, inverse = _room(outputs), _room(outputs), _room(outputs)
    core.conv1x1_bn_forward(
        channels_last(x),
        _matrix(w),
        _row(gamma),
        _row(beta),
        eps,
        activation == "relu",
        z,
        y,
        mean,
        variance,
        inverse,
        _room(core.conv1x1_bn_workspace(batch * height * width, channels, outputs)),
    )
    return in_layout_of(y, x), mean, variance, inverse, z


def normalised_backward(
    x: Tensor,
    dy: Tensor,
    w: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    inverse: Tensor,
    z: Tensor,
    eps: float,  # noqa: ARG001 - of the reference
    activation: str,
    need_dx: bool,
) -> tuple[Tensor, ...]:
    """The kernel of the backward of `conv1x1_bn`."""
    core = _native.core()
    image = channels_last(x)
    outputs, channels = w.shape[:2]
    dx = torch.empty_like(image, memory_format=torch.channels_last) if need_dx else x.new_empty(0)
    dw = torch.empty((outputs, channels), dtype=torch.float32, device="cpu")
    d_gamma, d_beta = _room(outputs), _room(outputs)
    core.conv1x1_bn_backward(
        image,
        channels_last(dy),
        _matrix(w),
        _row(gamma),
        _row(beta),
        channels_last(z),
        mean,
        inverse,
        activation == "relu",
        dx,
        dw,
        d_gamma,
        d_beta,
        _room(core.conv1x1_bn_workspace(x.numel() // channels, channels, outputs)),
    )
    return in_layout_of(dx, x) if need_dx else dx, dw.view(w.shape).to(w.dtype), d_gamma, d_beta
