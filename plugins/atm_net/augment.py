"""Random views of slices and their masks. Never mirrored: the order of levels and the side of the canal are
anatomy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Strengths. Rotation in degrees; shifts relative to half the side."""

    rotation: float = 15.0
    log_scale: float = 0.2
    log_aspect: float = 0.1
    shift: float = 0.12
    log_gamma: float = 0.35
    bias_field: float = 0.35
    noise: float = 0.05


def _uniform(g: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=g) * 2 - 1


def _grid(g: torch.Generator, a: Augmentation, batch: int, height: int, width: int) -> Tensor:
    angle = math.radians(a.rotation) * _uniform(g, batch)
    scale = torch.exp(a.log_scale * _uniform(g, batch))
    stretch = torch.exp(a.log_aspect * _uniform(g, batch))
    cos, sin, ratio = angle.cos() * scale, angle.sin() * scale, height / width
    shift_x, shift_y = a.shift * _uniform(g, batch), a.shift * _uniform(g, batch)
    rows = [
        torch.stack([cos * stretch, sin * ratio, shift_x], -1),
        torch.stack([-sin / ratio, cos / stretch, shift_y], -1),
    ]
    return F.affine_grid(torch.stack(rows, 1), [batch, 1, height, width], align_corners=False)


def random_view(
    images: Tensor, labels: Tensor, g: torch.Generator, a: Augmentation = Augmentation()
) -> tuple[Tensor, Tensor]:
    """Images (B, 1, H, W) in 0..1 and labels (B, H, W), moved alike; grey values change as with coils and
    windows. Of volumes both are (B, S, H, W), and all slices of one move alike.
    """
    batch, _, height, width = images.shape
    grid = _grid(g, a, batch, height, width)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    planes = (labels if labels.dim() == 4 else labels[:, None]).float()
    mask = F.grid_sample(planes, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    field = F.interpolate(a.bias_field * _uniform(g, batch, 1, 4, 4), (height, width), mode="bicubic")
    gamma = torch.exp(a.log_gamma * _uniform(g, batch, 1, 1, 1))
    noise = a.noise * torch.rand(batch, 1, 1, 1, generator=g) * torch.randn(moved.shape, generator=g)
    return moved.clamp_min(0) ** gamma * torch.exp(field) + noise, mask.view(labels.shape).long()
