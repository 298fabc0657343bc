"""From film pixels to the network's input, and the two coordinate systems between.

Normalised coordinates: (x, y) in [-1, 1] over the whole film, pixel-area convention (align_corners=False).
A film is resized anisotropically, so a point keeps its normalised coordinates whatever the size; angles are
only ever taken after mapping back to original pixels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def resize_film(pixels: NDArray[np.float32], height: int, width: int) -> Tensor:
    """Film (H, W) in 0..1 -> (height, width), stretched between its 0.5 and 99.5 percentiles, antialiased."""
    if pixels.ndim != 2 or min(pixels.shape) < 2:
        raise ValueError(f"film has shape {pixels.shape}; give one grey image of at least 2x2 pixels")
    x = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))[None, None]
    x = F.interpolate(x, size=(height, width), mode="bilinear", antialias=True, align_corners=False)[0, 0]
    low, high = np.percentile(x.numpy(), (0.5, 99.5))
    return ((x - float(low)) / max(float(high - low), 1e-6)).clamp(0.0, 1.0)


def _local_mean(x: Tensor) -> Tensor:
    size = x.shape[-2:]
    x = F.avg_pool2d(x, 8)
    x = F.avg_pool2d(x, (5, 1), 1, (2, 0), count_include_pad=False)
    x = F.avg_pool2d(x, (1, 5), 1, (0, 2), count_include_pad=False)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def normalize(x: Tensor) -> Tensor:
    """Films (N,1,H,W) in 0..1 -> (N,2,H,W): z-score over the film, contrast against 40 pixels around."""
    mean = x.mean((2, 3), keepdim=True)
    z = (x - mean) / (x.std((2, 3), keepdim=True) + 1e-3)
    local = _local_mean(x)
    deviation = (_local_mean(x * x) - local * local).clamp_min(0.0).sqrt()
    return torch.cat([z, ((x - local) / (deviation + 0.02)).clamp(-4.0, 4.0)], 1)


def cell_centers(n: int) -> Tensor:
    """Normalised coordinates (n,) of the centres of n cells along one side."""
    return (torch.arange(n) + 0.5) / n * 2.0 - 1.0


def to_normalised(points: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Original pixels (..., 2) -> normalised coordinates."""
    return np.asarray(points / np.array([width, height]) * 2.0 - 1.0, dtype=np.float64)


def to_pixels(points: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Normalised coordinates (..., 2) -> original pixels."""
    return np.asarray((points + 1.0) / 2.0 * np.array([width, height]), dtype=np.float64)
