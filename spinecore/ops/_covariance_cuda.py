"""The CUDA kernels of the covariance penalty: allocate what the core fills, and lend a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Verdict
from spinecore.ops import _device

_DTYPES = (torch.float32, *_device.HALVES)
_YES = Verdict(True, "upper-triangle tiles, centred on the way, float32 products, double sums")
MOST_ROWS, MOST_COLUMNS = 2**24, 2**16


def can_run(call: Call) -> Verdict:
    """float32, bfloat16 and float16 of fewer than 2^24 rows and 2^16 columns."""
    if call.dtype not in _DTYPES:
        name = str(call.dtype).removeprefix("torch.")
        return Verdict(False, f"the CUDA kernel computes float32, bfloat16 and float16, not {name}")
    if 0 in call.shape:
        return Verdict(False, "there are no rows, there is nothing to launch")
    if call.shape[0] >= MOST_ROWS or call.shape[1] >= MOST_COLUMNS:
        return Verdict(False, f"{call.shape[0]} rows of {call.shape[1]}: 2^24 rows or 2^16 columns and more")
    return _YES


def floats(like: Tensor, *shape: int) -> Tensor:
    """Memory that the core fills, beside ``like``."""
    return like.new_empty(shape, dtype=torch.float32)


def _mask(mask: Tensor | None, like: Tensor) -> Tensor:
    return _device.optional(mask, like)


def forward(
    z: Tensor, mask: Tensor | None, gamma: float, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """off_diagonal, hinge, the covariance or Gram matrix, the moments."""
    rows, width = z.shape
    side = rows if 2 * rows <= width else width
    results = (floats(z), floats(z), floats(z, side, side), floats(z, 3, width))
    workspace = floats(z, _native.core().cuda_covariance_workspaces(rows, width)[0])
    with _device.stream_of(z) as stream:
        _native.core().cuda_covariance_forward(
            z.contiguous(), _mask(mask, z), gamma, eps, *results, workspace, stream
        )
    return results


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
    z = z.contiguous()
    dz = torch.empty_like(z)
    workspace = floats(z, _native.core().cuda_covariance_workspaces(*z.shape)[1])
    with _device.stream_of(z) as stream:
        _native.core().cuda_covariance_backward(
            z,
            _mask(mask, z),
            _device.float32(d_off_diagonal),
            _device.float32(d_hinge),
            kept.contiguous(),
            moments.contiguous(),
            gamma,
            eps,
            dz,
            workspace,
            stream,
        )
    return dz
