"""The Triton kernels of the 3x3 convolution, imported when they are about to run."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from spinecore.ops import _conv3x3_gpu, _device
from spinecore.ops._conv3x3_gpu import Convolution, Epilogue


def _kernels() -> Any:
    return importlib.import_module("spinecore.kernels.conv3x3")


def _tf32() -> bool:
    """Whether torch may multiply float32 in tf32; the halves are exact in it."""
    return torch.get_float32_matmul_precision() != "highest"


def run(x: Tensor, w: Tensor, epilogue: Epilogue, raw: bool, y: bool) -> tuple[Tensor | None, Tensor | None]:
    """As :class:`Convolution` says."""
    with _device.stream_of(x):
        results = _kernels().conv3x3_triton(x, w, *epilogue, raw, y, _tf32())
    return results[0] if raw else None, results[1] if y else None


def weights(x: Tensor, dy: Tensor) -> Tensor:
    """As :class:`Convolution` says."""
    with _device.stream_of(x):
        dw: Tensor = _kernels().conv3x3_triton_weights(x, dy, _tf32())
    return dw


CONVOLUTION = Convolution(run, weights)
FORWARD, BACKWARD = _conv3x3_gpu.conv3x3(CONVOLUTION)
