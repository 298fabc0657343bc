"""The native CPU kernel of the 1x1 convolution: allocates what the core fills."""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Verdict
from spinecore.ops._layout import channels_last, in_layout_of

_DENSE = Verdict(True, "blocks of pixels times packed weights in float32, vectorised C++ kernel")
_CONVERTED = Verdict(True, "blocks of pixels times packed weights; x is first converted to channels-last")
_SLOWER_BASELINE = Verdict(False, "without AVX2 the kernel is no faster than PyTorch's convolution")
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
    """Where the kernel beats PyTorch's convolution, by measurement."""
    if _native.core().selected_isa() == "baseline":
        return _SLOWER_BASELINE
    return _DENSE


def _matrix(w: Tensor) -> Tensor:
    return w.detach().flatten(1).to(torch.float32).contiguous()


def _room(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float32, device="cpu")


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
        _ABSENT if bias is None else bias.to(torch.float32).contiguous(),
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
