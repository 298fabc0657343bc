"""The Triton kernels of the scSE gate, imported when they are about to run."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from spinecore.backends import Call, Verdict
from spinecore.ops import _device
from spinecore.ops._shared import output_format

_DTYPES = (torch.float32, *_device.HALVES)
_MOST_CHANNELS = 1024
_YES = Verdict(True, "two Triton kernels, float32 gates, NCHW and channels-last")


def can_run(call: Call) -> Verdict:
    """float32, bfloat16 and float16 of up to 1024 channels."""
    if call.dtype not in _DTYPES:
        name = str(call.dtype).removeprefix("torch.")
        return Verdict(False, f"the Triton kernel computes float32, bfloat16 and float16, not {name}")
    batch, channels, height, width = call.shape
    if 0 in call.shape:
        return Verdict(False, "x has no elements, there is nothing to launch")
    if channels > _MOST_CHANNELS:
        return Verdict(False, f"{channels} channels; the Triton kernel takes up to {_MOST_CHANNELS}")
    if batch > 65535 or channels * height * width >= 2**31:
        return Verdict(False, "x has more than 65535 samples or 2^31 elements a sample; split it")
    return _YES


def _kernels() -> Any:
    return importlib.import_module("spinecore.kernels.scse_gate")


def _optional(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _device.float32(tensor)


def forward(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    ws: Tensor,
    bs: Tensor | None,
    mode: str,
) -> tuple[Tensor, ...]:
    """y, channel gate, spatial gate, channel means."""
    x = x.contiguous(memory_format=output_format(x))
    w1, w2, ws = (_device.float32(weight) for weight in (w1, w2, ws))
    with _device.stream_of(x):
        results = _kernels().scse_gate_triton(
            x, w1, _optional(b1), w2, _optional(b2), ws, _optional(bs), mode
        )
    return tuple(results)


def backward(
    x: Tensor,
    dy: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    _b2: Tensor | None,
    ws: Tensor,
    channel_gate: Tensor,
    spatial_gate: Tensor,
    pooled: Tensor,
    mode: str,
) -> tuple[Tensor, ...]:
    """Gradients of x, w1, b1, w2, b2, ws, bs."""
    layout = output_format(x)
    x, dy = x.contiguous(memory_format=layout), dy.contiguous(memory_format=layout)
    w1, w2, ws = (_device.float32(weight) for weight in (w1, w2, ws))
    gates = (channel_gate, spatial_gate, pooled)
    with _device.stream_of(x):
        results = _kernels().scse_gate_triton_backward(x, dy, w1, _optional(b1), w2, ws, *gates, mode)
    return tuple(gradient.contiguous() for gradient in results)
