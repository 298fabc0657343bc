"""Losses of R2MF-Net: spine mask of both networks, and the vertebra head. All weights are our choice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .film_input import cell_centers
from .network import R2MFOutput
from .vertebra_head import CENTER_MAP, LEVEL_MAPS, corners_at, expected_centers


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """BCE + (1 - soft Dice, eps 1): logits and target (N,1,h,w), target in 0..1 (area covered)."""
    logits, p = logits.float(), torch.sigmoid(logits.float())
    bce = F.binary_cross_entropy_with_logits(logits, target)
    dice = (2 * (p * target).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)
    return bce + (1 - dice).mean()


def _gaussians(centers: Tensor, h: int, w: int, sigma: float) -> Tensor:
    """Normalised Gaussians (N,K,h*w) of `sigma` cells around centres (N,K,2)."""
    gx, gy = cell_centers(w), cell_centers(h)
    ex = torch.exp(-(((gx - centers[..., :1]) * w / 2) ** 2) / (2 * sigma**2))
    ey = torch.exp(-(((gy - centers[..., 1:]) * h / 2) ** 2) / (2 * sigma**2))
    ex = ex / (ex.sum(-1, keepdim=True) + 1e-6)
    ey = ey / (ey.sum(-1, keepdim=True) + 1e-6)
    return (ey[..., :, None] * ex[..., None, :]).flatten(2)


def _midline(corners: Tensor) -> Tensor:
    """Vector from the left edge's midpoint to the right edge's: (..., 4, 2) -> (..., 2)."""
    return (corners[..., 1, :] + corners[..., 3, :] - corners[..., 0, :] - corners[..., 2, :]) / 2


def vertebra_loss(
    maps: Tensor, corners: Tensor, size: tuple[int, int], g: torch.Generator, samples: int = 4
) -> tuple[Tensor, dict[str, float]]:
    """Loss of the vertebra head.

    maps (N,26,h,w); corners (N,17,4,2) normalised; size = working (H, W): lengths count in its pixels.
    Offsets are supervised at `samples` jittered points round each true centre, not only where the level maps
    already look: without that they sit on the mean tilt for a thousand steps.
    """
    n, _, h, w = maps.shape
    height, width = size
    pixels = torch.tensor([width / 2.0, height / 2.0])
    centers = corners.mean(2)
    seen = (centers.abs() < 1).all(-1).float()
    whole = (corners.abs() < 1).flatten(2).all(-1).float()

    log_p = F.log_softmax(maps[:, LEVEL_MAPS].float().flatten(2), 2)
    level = (-(_gaussians(centers, h, w, 1.2) * log_p).sum(-1) * seen).sum() / seen.sum().clamp_min(1)
    density = (_gaussians(centers, h, w, 0.8) * seen[..., None]).sum(1) / seen.sum(1, keepdim=True).clamp_min(
        1
    )
    center = -(density * F.log_softmax(maps[:, CENTER_MAP].float().flatten(1), 1)).sum(1).mean()
    position = ((expected_centers(maps) - centers) * pixels).abs().mean(-1)
    position = (position * seen).sum() / seen.sum().clamp_min(1)

    jitter = torch.randn(n, 17, samples, 2, generator=g) * torch.tensor([2.4 / w, 2.4 / h])
    points = (centers[:, :, None] + jitter).clamp(-0.999, 0.999).view(n, 17 * samples, 2)
    found = corners_at(maps, points).view(n, 17, samples, 4, 2)
    count = whole.sum().clamp_min(1)
    offset = (((found - corners[:, :, None]) * pixels).abs().mean((2, 3, 4)) * whole).sum() / count
    tilt = ((_midline(found) - _midline(corners)[:, :, None]) * pixels).abs().sum(-1).mean(-1)
    tilt = (tilt * whole).sum() / count

    total = level + center + 0.05 * position + 0.3 * offset + 0.3 * tilt
    parts = {
        "level": level,
        "center": center,
        "position_px": position,
        "corner_px": offset,
        "midline_px": tilt,
    }
    return total, {k: float(v.detach()) for k, v in parts.items()}


def r2mf_loss(
    out: R2MFOutput, mask: Tensor, corners: Tensor, size: tuple[int, int], g: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """0.5 x coarse mask + fine mask + vertebra head; mask (N,1,H,W) at working size."""
    h, w = out.coarse.shape[-2:]
    target = F.adaptive_avg_pool2d(mask, (h, w))
    coarse = mask_loss(out.coarse, target)
    total, parts = 0.5 * coarse, {"coarse": float(coarse.detach())}
    if out.fine is not None:
        fine = mask_loss(out.fine, target)
        total, parts["fine"] = total + fine, float(fine.detach())
    if out.vertebrae is not None:
        vertebrae, more = vertebra_loss(out.vertebrae, corners, size, g)
        total, parts = total + vertebrae, parts | more
    return total, parts
