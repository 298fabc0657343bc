"""Random views of annotated films: one warp moves the film, its mask and its corners together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .film_input import cell_centers

MIRROR = (1, 0, 3, 2)
"""Corner order TL, TR, BL, BR after a left-right flip."""


@dataclass(frozen=True)
class Augmentation:
    """Strengths. Angles in degrees; shifts and elastic displacements relative to half the film's side."""

    rotation: float = 10.0
    log_scale: float = 0.16
    log_aspect: float = 0.10
    shift_x: float = 0.15
    shift_y: float = 0.08
    bend_degrees: float = 12.0
    elastic_x: float = 0.02
    elastic_y: float = 0.008
    gamma: float = 0.5
    contrast: float = 0.3
    noise: float = 0.04
    inversion: float = 0.03
    occlusion: float = 0.25


def _uniform(g: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=g) * 2.0 - 1.0


def _displacement(g: torch.Generator, a: Augmentation, n: int, aspect: Tensor) -> Tensor:
    """Displacement grid (n, 2, 33, 9): elastic noise on 60 % of films, bending of the trunk on 50 %."""
    grid = F.interpolate(
        torch.randn(n, 2, 5, 3, generator=g), size=(33, 9), mode="bicubic", align_corners=True
    ) * torch.tensor([a.elastic_x, a.elastic_y]).view(1, 2, 1, 1)
    grid = grid * (torch.rand(n, 1, 1, 1, generator=g) < 0.6)
    # Bending: x moves by f(y) and y by -x f'(y), to first order a rotation that varies along the trunk.
    y = torch.linspace(-1, 1, 33).view(1, 33)
    x = torch.linspace(-1, 1, 9).view(1, 1, 9)
    waves = 1.0 + torch.rand(n, 1, generator=g) * 2.0
    phase = torch.rand(n, 1, generator=g) * 2 * math.pi
    slope = math.tan(math.radians(a.bend_degrees)) * _uniform(g, n, 1)
    slope = slope * (torch.rand(n, 1, generator=g) < 0.5)
    f = slope / waves * torch.sin(waves * y + phase)
    df = slope * torch.cos(waves * y + phase)
    bend_x = (f / aspect.view(n, 1)).view(n, 33, 1).expand(n, 33, 9)
    bend_y = -(df.view(n, 33, 1) * x * aspect.view(n, 1, 1))
    return grid + torch.stack([bend_x, bend_y], 1)


def _occlude(g: torch.Generator, a: Augmentation, x: Tensor) -> Tensor:
    """Bright or dark boxes as braces, buckles, markers and collimators leave them."""
    n, _, h, w = x.shape
    yy, xx = cell_centers(h).view(1, h, 1), cell_centers(w).view(1, 1, w)
    for _ in range(2):
        cx, cy = _uniform(g, n, 1, 1), _uniform(g, n, 1, 1)
        sx = torch.rand(n, 1, 1, generator=g) * 0.25 + 0.02
        sy = torch.rand(n, 1, 1, generator=g) * 0.06 + 0.01
        value = torch.rand(n, 1, 1, generator=g)
        inside = ((xx - cx).abs() < sx) & ((yy - cy).abs() < sy)
        inside = inside & (torch.rand(n, 1, 1, generator=g) < a.occlusion)
        blend = 0.6 + 0.4 * torch.rand(n, 1, 1, generator=g)
        x = torch.where(inside[:, None], x * (1 - blend[:, None]) + (value * blend)[:, None], x)
    return x


def random_view(
    films: Tensor,
    masks: Tensor,
    corners: Tensor,
    aspect: Tensor,
    size: tuple[int, int],
    g: torch.Generator,
    a: Augmentation | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One random view of each film.

    films, masks (N,1,h,w) in 0..1; corners (N,17,4,2) normalised; aspect (N,) = original width / height;
    size = (H, W) of the result. Returns film (N,1,H,W), mask (N,1,H,W), corners (N,17,4,2).
    """
    a = a or Augmentation()
    n = len(films)
    flip = torch.rand(n, generator=g) < 0.5
    both = torch.cat([films, masks], 1)
    both = torch.where(flip.view(n, 1, 1, 1), both.flip(3), both)
    mirrored = corners[:, :, MIRROR] * torch.tensor([-1.0, 1.0])
    corners = torch.where(flip.view(n, 1, 1, 1), mirrored, corners)

    angle = _uniform(g, n) * math.radians(a.rotation)
    scale = torch.exp(_uniform(g, n) * a.log_scale)
    stretch = torch.exp(_uniform(g, n) * a.log_aspect)
    c, s = torch.cos(angle) / scale, torch.sin(angle) / scale
    isotropic = torch.stack([torch.stack([c * stretch, -s], 1), torch.stack([s * stretch, c], 1)], 1)
    side = torch.diag_embed(torch.stack([aspect, torch.ones_like(aspect)], 1))
    matrix = torch.linalg.inv(side) @ isotropic @ side
    shift = _uniform(g, n, 2) * torch.tensor([a.shift_x, a.shift_y])
    field = _displacement(g, a, n, aspect)

    height, width = size
    gy, gx = torch.meshgrid(cell_centers(height), cell_centers(width), indexing="ij")
    grid = torch.stack([gx, gy], -1).view(1, -1, 2)
    dense = F.interpolate(field, size=size, mode="bilinear", align_corners=True)
    source = (grid @ matrix.transpose(1, 2) + shift[:, None]).view(n, height, width, 2) + dense.permute(
        0, 2, 3, 1
    )
    both = F.grid_sample(both, source, align_corners=False, padding_mode="zeros")

    # The grid maps output to source; corners need the inverse, found by fixed-point iteration.
    inverse = torch.linalg.inv(matrix).transpose(1, 2)
    p = corners.reshape(n, -1, 2)
    q = (p - shift[:, None]) @ inverse
    for _ in range(8):
        d = F.grid_sample(field, q[:, :, None], align_corners=True, padding_mode="border")[..., 0].transpose(
            1, 2
        )
        q = (p - d - shift[:, None]) @ inverse

    x = both[:, :1].clamp(0, 1) ** torch.exp(_uniform(g, n, 1, 1, 1) * a.gamma)
    x = (x - 0.5) * torch.exp(_uniform(g, n, 1, 1, 1) * a.contrast) + 0.5 + _uniform(g, n, 1, 1, 1) * 0.1
    x = _occlude(g, a, x)
    x = x + torch.randn(x.shape, generator=g) * (torch.rand(n, 1, 1, 1, generator=g) * a.noise)
    invert = torch.rand(n, 1, 1, 1, generator=g) < a.inversion
    return torch.where(invert, 1 - x, x), both[:, 1:], q.view(corners.shape)
