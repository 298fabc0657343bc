"""A slice as the network takes it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def normalise(x: Tensor) -> Tensor:
    """Grey values (..., H, W) with their 1st and 99th percentile at -1 and 1 and nothing beyond 3.

    Scanners have no unit, and a bright vessel must not darken the spine.
    """
    flat = x.flatten(-2)
    low, high = torch.quantile(flat[..., ::7], flat.new_tensor([0.01, 0.99]), dim=-1)[..., None, None]
    result: Tensor = (2 * (x - low) / (high - low).clamp_min(1e-6) - 1).clamp(-3, 3)
    return result


def to_input(pixels: NDArray[np.floating] | NDArray[np.uint8]) -> Tensor:
    """Pixels (H, W) of any scale as (1, 1, H, W) float32."""
    return normalise(torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)))[None, None]
