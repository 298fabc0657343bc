"""The Triton kernels of the covariance penalty, imported when they are about to run."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from spinecore.backends import Call, Verdict
from spinecore.ops import _device

_DTYPES = (torch.float32, *_device.HALVES)
_YES = Verdict(True, "one Triton product, upper-triangle tiles, centred on the way")


def can_run(call: Call) -> Verdict:
    """float32, bfloat16 and float16 of fewer than 2^24 rows and 2^16 columns."""
    if call.dtype not in _DTYPES:
        name = str(call.dtype).removeprefix("torch.")
        return Verdict(False, f"the Triton kernel computes float32, bfloat16 and float16, not {name}")
    if 0 in call.shape:
        return Verdict(False, "there are no rows, there is nothing to launch")
    if call.shape[0] >= 2**24 or call.shape[1] >= 2**16:
        return Verdict(False, f"{call.shape[0]} rows of {call.shape[1]}: 2^24 rows or 2^16 columns and more")
    return _YES


def _kernels() -> Any:
    return importlib.import_module("spinecore.kernels.covariance_decorrelation")


def _weights(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.to(torch.float32)


def forward(z: Tensor, mask: Tensor | None, gamma: float, eps: float) -> tuple[Tensor, ...]:
    """off_diagonal, hinge, the covariance or Gram matrix, the moments."""
    with _device.stream_of(z):
        return tuple(_kernels().covariance_triton(z.contiguous(), _weights(mask), gamma, eps))


def backward(
    z: Tensor,
    mask: Tensor | None,
    d_off_diagonal: Tensor,
    d_hinge: Tensor,
    kept: Tensor,
    moments: Tensor,
    gamma: float,
    eps: float,
) -> Tensor:
    """Gradient of z."""
    scalars = (_device.float32(d_off_diagonal), _device.float32(d_hinge))
    with _device.stream_of(z):
        gradient: Tensor = _kernels().covariance_triton_backward(
            z.contiguous(), _weights(mask), *scalars, kept.contiguous(), moments.contiguous(), gamma, eps
        )
    return gradient
