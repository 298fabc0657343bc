"""The native CPU kernels of the covariance penalty: allocate what the core fills, and hand over views it
accepts.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Verdict

_DENSE = Verdict(True, "vectorised C++ kernel, symmetric tiles, float32 sums")
_STRIDED = Verdict(True, "vectorised C++ kernel; these strides are not dense, so z is first copied")
_EMPTY = Verdict(False, "z has no rows, there is nothing to vectorise")
_BASELINE = Verdict(False, "this processor offers neither AVX2 nor AVX-512: torch's own products are faster")


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


@lru_cache(maxsize=1)
def _selected_isa() -> str:
    isa: str = _native.core().info()["isa_selected"]
    return isa


def worthwhile(_call: Call) -> Verdict:
    """Not on the baseline instruction set, where torch's own products are faster."""
    return _BASELINE if _selected_isa() == "baseline" else _DENSE


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Memory that the core fills. Explicit: torch.set_default_dtype and set_default_device must not change
    it.
    """
    return torch.empty(shape, dtype=dtype, device="cpu")


@lru_cache(maxsize=256)
def _workspaces(rows: int, width: int) -> tuple[int, int]:
    sizes: tuple[int, int] = _native.core().covariance_workspaces(rows, width)
    return sizes


@lru_cache(maxsize=1)
def _no_mask() -> Tensor:
    return empty(0)


def _mask(mask: Tensor | None) -> Tensor:
    return _no_mask() if mask is None else mask.to(torch.float32)


def forward(
    z: Tensor, mask: Tensor | None, gamma: float, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """off_diagonal, hinge, the covariance or Gram matrix, the moments."""
    rows, width = z.shape
    side = rows if 2 * rows <= width else width
    off_diagonal, hinge, kept, moments = empty(), empty(), empty(side, side), empty(3, width)
    workspace = empty(_workspaces(rows, width)[0])
    _native.core().covariance_forward(
        z.contiguous(), _mask(mask), gamma, eps, off_diagonal, hinge, kept, moments, workspace
    )
    return off_diagonal, hinge, kept, moments


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
    rows, width = z.shape
    dz = empty(rows, width, dtype=z.dtype)
    _native.core().covariance_backward(
        z.contiguous(),
        _mask(mask),
        d_off_diagonal,
        d_hinge,
        kept,
        moments,
        gamma,
        eps,
        dz,
        empty(_workspaces(rows, width)[1]),
    )
    return dz
