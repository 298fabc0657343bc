"""A small configuration and input with which the model is checked."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import ATMConfig
from .prompts import described, generic
from .text import tokens

SMALL = ATMConfig(widths=(8, 8, 12, 16, 16), text_width=16, heads=2, contrast_width=8)


def example_inputs() -> tuple[ATMConfig, tuple[Tensor, ...]]:
    """A configuration that runs in milliseconds, two slices of odd size, generic and described prompts."""
    g = torch.Generator().manual_seed(0)
    mask = torch.zeros(45, 38, dtype=torch.uint8)
    mask[5:20, 8:20], mask[22:26, 8:20], mask[:, 25:29] = 1, 2, 3
    prompts = torch.stack([tokens(generic()), tokens(described(mask.numpy()))])
    return SMALL, (torch.randn(2, 1, 45, 38, generator=g), prompts)
