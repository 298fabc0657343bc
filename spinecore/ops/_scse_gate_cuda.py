"""The CUDA kernel of the scSE gate: allocates what the core fills, workspace too, and lends a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Verdict
from spinecore.ops import _device
from spinecore.ops._shared import output_format

_MODES = {"add": 0, "max": 1}
_DTYPES = (torch.float32, *_device.HALVES)
_MOST_CHANNELS, _MOST_HIDDEN = 1024, 512
_MOST_IN_REGISTERS = 256
_YES = Verdict(True, "two launches, 16-byte accesses, float32 gates, NCHW and channels-last")
_STRIDED = Verdict(True, "two launches; these strides are not dense, so x is first copied to NCHW")


def can_run(call: Call) -> Verdict:
    """float32, bfloat16 and float16 of up to 1024 channels and a hidden width of up to 512; ``options`` is
    (mode, hidden width).
    """
    if call.dtype not in _DTYPES:
        name = str(call.dtype).removeprefix("torch.")
        return Verdict(False, f"the CUDA kernel computes float32, bfloat16 and float16, not {name}")
    batch, channels, height, width = call.shape
    if 0 in call.shape:
        return Verdict(False, "x has no elements, there is nothing to launch")
    hidden = call.options[1]
    if channels > _MOST_CHANNELS or hidden > _MOST_HIDDEN:
        return Verdict(
            False,
            f"{channels} channels and a hidden width of {hidden}; the CUDA kernel takes up to "
            f"{_MOST_CHANNELS} and {_MOST_HIDDEN}",
        )
    if channels * height * width >= 2**31 or batch * height * width >= 2**31:
        return Verdict(False, "x has 2^31 elements a sample or more; split it")
    elements = 4 if call.dtype is torch.float32 else 8
    if call.layout == "channels_last" and channels > _MOST_IN_REGISTERS and channels % elements:
        return Verdict(
            False,
            f"channels-last with {channels} channels, more than {_MOST_IN_REGISTERS} and no multiple of "
            f"{elements}; make x contiguous (NCHW)",
        )
    return _STRIDED if call.layout == "strided" else _YES


def _aligned(x: Tensor, layout: torch.memory_format) -> Tensor:
    """Dense; copied where a slice of a larger tensor starts off the 16 bytes that many channels need."""
    x = x.contiguous(memory_format=layout)
    if x.data_ptr() % 16 and x.shape[1] > _MOST_IN_REGISTERS:
        return x.clone(memory_format=layout)
    return x


def _workspace(x: Tensor, hidden: int, backward: bool) -> Tensor:
    size = _native.core().cuda_scse_gate_workspace(*x.shape, hidden, backward)
    return x.new_empty(size, dtype=torch.float32)


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
    x = _aligned(x, output_format(x))
    y = torch.empty_like(x)
    channel_gate = x.new_empty((batch, channels), dtype=torch.float32)
    pooled = torch.empty_like(channel_gate)
    spatial_gate = x.new_empty((batch, height * width), dtype=torch.float32)
    with _device.stream_of(x) as stream:
        _native.core().cuda_scse_gate_forward(
            x,
            _device.float32(w1),
            _device.optional(b1, x),
            _device.float32(w2),
            _device.optional(b2, x),
            _device.float32(ws),
            _device.optional(bs, x),
            _MODES[mode],
            y,
            channel_gate,
            spatial_gate,
            pooled,
            _workspace(x, w1.shape[0], backward=False),
            stream,
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
    layout = output_format(x)
    x, dy = _aligned(x, layout), _aligned(dy, layout)
    hidden, channels = w1.shape
    dx = torch.empty_like(x)
    shapes = ((hidden, channels), (hidden,), (channels, hidden), (channels,), (channels,), (1,))
    gradients = [x.new_empty(shape, dtype=torch.float32) for shape in shapes]
    with _device.stream_of(x) as stream:
        _native.core().cuda_scse_gate_backward(
            x,
            dy,
            _device.float32(w1),
            _device.optional(b1, x),
            _device.float32(w2),
            _device.optional(b2, x),
            _device.float32(ws),
            channel_gate,
            spatial_gate,
            pooled,
            _MODES[mode],
            dx,
            *gradients,
            _workspace(x, hidden, backward=True),
            stream,
        )
    return dx, *gradients
