"""A small configuration and input with which the model is checked."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import R2MFConfig

SMALL = R2MFConfig(
    height=64, width=64, stem_stride=2, coarse_widths=(4, 8, 8, 8, 16), fine_widths=(8, 8, 8, 8, 16)
)


def example_inputs() -> tuple[R2MFConfig, tuple[Tensor, ...]]:
    """A configuration that runs in milliseconds, and inputs for it."""
    g = torch.Generator().manual_seed(0)
    return SMALL, (torch.randn(2, SMALL.in_channels, SMALL.height, SMALL.width, generator=g),)
