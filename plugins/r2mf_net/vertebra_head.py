"""The vertebra head's maps as vertebrae, differentiably (our addition to the paper).

Channels: 17 level maps (softmax over the film gives one centre a level), 8 corner offsets (TL, TR, BL, BR as
x, y) shared by all levels and valid anywhere near a centre, 1 level-free map of all centres.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .film_input import cell_centers

LEVEL_MAPS = slice(0, 17)
OFFSETS = slice(17, 25)
CENTER_MAP = 25

OFFSET_SCALE = (0.2, 0.05)
"""Offsets come out near 1: a body is about 0.2 wide and 0.05 high in normalised coordinates."""


def expected_centers(maps: Tensor) -> Tensor:
    """Mean position of each level's softmax: maps (N,26,h,w) -> (N,17,2) normalised."""
    n, _, h, w = maps.shape
    p = maps[:, LEVEL_MAPS].float().flatten(2).softmax(2).view(n, 17, h, w)
    return torch.stack([p.sum(2) @ cell_centers(w), p.sum(3) @ cell_centers(h)], -1)


def corners_at(maps: Tensor, centers: Tensor) -> Tensor:
    """Corners (N,K,4,2) around centres (N,K,2), offsets read bilinearly at each; normalised coordinates."""
    field = maps[:, OFFSETS].float()
    o = F.grid_sample(field, centers[:, None], align_corners=False, padding_mode="border")
    o = o[:, :, 0].transpose(1, 2)
    scale = torch.tensor(OFFSET_SCALE)
    return centers[:, :, None] + o.reshape(*centers.shape[:2], 4, 2) * scale
