"""The part of L = L_DiceFocal + L_ftc that sees masks (the paper's sum; focal exponent and the classes that
each part counts are our choice).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_GAMMA = 2.0


def dice_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Soft Dice over the structures plus focal loss over all classes: (B, K, H, W), (B, H, W) int64, or both
    with slices before the rows.
    """
    logits, labels = logits.float().flatten(2, -2), labels.flatten(1, -2)
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    truth = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(p.dtype)
    overlap = (p * truth).sum((0, 2, 3))[1:]
    total = (p + truth).sum((0, 2, 3))[1:]
    dice = 1 - ((2 * overlap + 1) / (total + 1)).mean()
    log_right = log_p.gather(1, labels[:, None])
    focal = -((1 - log_right.exp()).clamp_min(0) ** FOCAL_GAMMA * log_right).mean()
    return dice + focal


def present_structures(labels: Tensor, classes: int) -> Tensor:
    """(B, classes - 1) bool: which structures an image (B, H, W) shows."""
    return torch.stack([(labels == k).flatten(1).any(1) for k in range(1, classes)], 1)
