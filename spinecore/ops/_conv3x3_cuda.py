"""The CUDA kernels of the 3x3 convolution: allocate what the core fills, and lend a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.ops import _conv3x3_gpu, _device
from spinecore.ops._conv3x3_gpu import Convolution, Epilogue
from spinecore.ops._covariance_cuda import floats


def _image(x: Tensor, channels: int, wanted: bool) -> Tensor:
    batch, _, height, width = x.shape
    if not wanted:
        return x.new_empty(0)
    return torch.empty(
        (batch, channels, height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )


def run(x: Tensor, w: Tensor, epilogue: Epilogue, raw: bool, y: bool) -> tuple[Tensor | None, Tensor | None]:
    """As :class:`Convolution` says."""
    results = (_image(x, w.shape[0], raw), _image(x, w.shape[0], y))
    no_image, no_floats = x.new_empty(0), floats(x, 0)
    scale, shift = (no_floats if p is None else p for p in (epilogue.scale, epilogue.shift))
    images = (epilogue.addend, epilogue.before, epilogue.after)
    with _device.stream_of(x) as stream:
        _native.core().cuda_conv3x3_forward(
            x,
            w,
            scale,
            shift,
            *(no_image if image is None else image for image in images),
            epilogue.relu,
            _device.tf32_allowed(),
            *results,
            stream,
        )
    return results[0] if raw else None, results[1] if y else None


def weights(x: Tensor, dy: Tensor) -> Tensor:
    """As :class:`Convolution` says."""
    core, out = _native.core(), dy.shape[1]
    dw = floats(x, out, 9, x.shape[1])
    workspace = floats(x, core.cuda_conv3x3_workspace(*x.shape, out))
    with _device.stream_of(x) as stream:
        core.cuda_conv3x3_weights(x, dy, _device.tf32_allowed(), dw, workspace, stream)
    return dw


CONVOLUTION = Convolution(run, weights)
FORWARD, BACKWARD = _conv3x3_gpu.conv3x3(CONVOLUTION)
