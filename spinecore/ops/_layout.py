"""Copies between NCHW and channels-last, for the native kernels that compute in one of them."""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.ops._shared import output_format


def channels_last(x: Tensor) -> Tensor:
    """The (N, C, H, W) tensor itself if it is dense and channels-last, else a copy that is."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    if not x.is_contiguous():
        return x.contiguous(memory_format=torch.channels_last)
    result = torch.empty_like(x, memory_format=torch.channels_last)
    _native.core().copy_layout(x, result)
    return result


def in_layout_of(y: Tensor, x: Tensor) -> Tensor:
    """The channels-last ``y`` in the layout an operator's result has for the input ``x``."""
    if y.is_contiguous(memory_format=output_format(x)):
        return y
    result = torch.empty_like(y, memory_format=torch.contiguous_format)
    _native.core().copy_layout(y, result)
    return result
