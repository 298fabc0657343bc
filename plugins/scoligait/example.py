"""Small inputs for `spinecore.testing.check_plugin`."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import ScoliGaitConfig


def example_inputs() -> tuple[ScoliGaitConfig, tuple[Tensor, ...]]:
    """A small model on two clips; the second has no text and ends early."""
    config = ScoliGaitConfig(
        width=32,
        depth=1,
        latents=4,
        frames=16,
        map_patch=2,
        video_frames=4,
        video_height=16,
        video_width=16,
        patch=8,
        vocabulary=64,
        text_length=8,
    )
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(2, 16, 238, generator=draw)
    values[0, 3, 7] = torch.nan
    valid = torch.ones(2, 16, dtype=torch.bool)
    valid[1, 12:] = False
    return config, (
        torch.tensor([[True, True, True], [True, True, False]]),
        valid,
        values,
        torch.rand(2, 4, 3, 16, 16, generator=draw),
        torch.randint(0, 64, (2, 8), generator=draw),
    )
