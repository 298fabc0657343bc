"""Residual semantic alignment head: shared factors of all modalities in one space, by contrast and by
regression.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AlignmentHead(nn.Module):
    """z = normalised(s + MLP(s)), one MLP for all modalities, and a linear map W from each modality to each
    other.

    The abstract names a residual semantic alignment head with contrastive and regression objectives; what is
    residual in it is not stated: the skip connection is our reading.
    """

    def __init__(self, factors: int, names: tuple[str, ...]) -> None:
        super().__init__()
        self.common = nn.Sequential(nn.Linear(factors, factors), nn.GELU(), nn.Linear(factors, factors))
        pairs = [(a, b) for a in range(len(names)) for b in range(len(names)) if a != b]
        self.maps = nn.ModuleDict({f"{a}_{b}": nn.Linear(factors, factors) for a, b in pairs})

    def forward(self, shared: Tensor) -> Tensor:
        """(..., k) -> (..., k), unit norm."""
        return F.normalize(shared + self.common(shared), dim=-1, eps=1e-6)

    def predicted(self, source: int, target: int, shared: Tensor) -> Tensor:
        """What the shared factor of modality `source` says that of `target` is."""
        out: Tensor = self.maps[f"{source}_{target}"](shared)
        return out


def contrastive_loss(a: Tensor, b: Tensor, temperature: float, same: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE between paired unit vectors (n, k); 0 with fewer than two pairs.

    Args:
        a: rows, paired with those of
        b: the other modality.
        temperature: divides the cosines.
        same: (n,) group numbers; rows of one group (a person seen twice) are no negatives of each other.

    Source: Radford et al. 2021 (CLIP); leaving out same-group negatives is our choice.

    """
    if a.shape[0] < 2:
        return (a * b).sum() * 0.0
    logits = a @ b.t() / temperature
    if same is not None:
        twins = (same[:, None] == same) & ~torch.eye(a.shape[0], dtype=torch.bool, device=a.device)
        logits = logits.masked_fill(twins, -torch.inf)
    target = torch.arange(a.shape[0], device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2
