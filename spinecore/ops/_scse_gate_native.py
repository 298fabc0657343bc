"""The native CPU kernel of the scSE gate: allocates what the core fills, and hands over views it accepts."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Verdict
from spinecore.ops._shared import output_format

_MODES = {"add": 0, "max": 1}
_DENSE = Verdict(True, "vectorised C++ kernel, float32 gates, NCHW and channels-last")
_STRIDED = Verdict(True, "vectorised C++ kernel; these strides are not dense, so x is first copied to NCHW")
_EMPTY = Verdict(False, "x has no elements, there is nothing to vectorise")


def can_run(call: Call) -> Verdict:
    """float32 and bfloat16 of any size but zero; strides that are not dense cost a copy."""
    if call.dtype is not torch.float32 and call.dtype is not torch.bfloat16:
        return Verdict(
            False,
            f"the native kernel computes float32 and bfloat16, not {str(call.dtype).removeprefix('torch.')}",
        )
    if 0 in call.shape:
        return _EMPTY
    return _STRIDED if call.layout == "strided" else _DENSE


def _empty(*shape: int) -> Tensor:
    # Explicit: torch.set_default_dtype and set_default_device must not change what the core is given.
    return torch.empty(shape, dtype=torch.float32, device="cpu")


@lru_cache(maxsize=64)
def _no_bias(size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.float32, device="cpu")


def _parameter(tensor: Tensor) -> Tensor:
    if tensor.dtype is torch.float32 and tensor.is_contiguous():  # nearly always, and two calls less
        return tensor
    return tensor.to(torch.float32).contiguous()


def _bias(tensor: Tensor | None, size: int) -> Tensor:
    return _no_bias(size) if tensor is None else _parameter(tensor)


def forward(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    ws: Tensor,
    bs: Tensor | None,
    mode: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, channel gate, spatial gate, channel means."""
    batch, channels, height, width = x.shape
    x = x.contiguous(memory_format=output_format(x))
    y = torch.empty_like(x)
    channel_gate = _empty(batch, channels)
    pooled = torch.empty_like(channel_gate)
    spatial_gate = _empty(batch, height * width)
    _native.core().scse_gate_forward(
        x,
        _parameter(w1),
        _bias(b1, w1.shape[0]),
        _parameter(w2),
        _bias(b2, channels),
        _parameter(ws),
        _bias(bs, 1),
        _MODES[mode],
        y,
        channel_gate,
        spatial_gate,
        pooled,
    )
    return y, channel_gate, spatial_gate, pooled


def backward(
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
    """Gradients of x, w1, b1, w2, b2, ws, bs."""
    batch, channels, height, width = x.shape
    hidden = w1.shape[0]
    layout = output_format(x)
    x, dy = x.contiguous(memory_format=layout), dy.contiguous(memory_format=layout)
    parameters = (_parameter(w1), _bias(b1, hidden), _parameter(w2), _bias(b2, channels), _parameter(ws))
    dx = torch.empty_like(x)
    gradients = [torch.empty_like(parameter) for parameter in (*parameters, _no_bias(1))]
    core = _native.core()
    core.scse_gate_backward(
        x,
        dy,
        *parameters,
        channel_gate,
        spatial_gate,
        pooled,
        _MODES[mode],
        dx,
        *gradients,
        _empty(core.scse_gate_workspace(batch, channels, height, width, hidden)),
    )
    return dx, *gradients
