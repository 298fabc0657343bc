"""Channel-wise Contrastive Anatomy-Aware Enhancement (CCAE): one channel a class, compared with its prompt.

The paper names class-wise, channel-level contrast; pooling, enhancement and the loss in this form are our
choice:

    E = w D;   v_k = sum_xy softmax_xy(E_k) D;   u_k = W_v v_k / |..|, t_k = W_t T_k / |..|
    E_k' = E_k (1 + sigmoid(s u_k . t_k))
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore.nn import Conv2d


class ClassEnhancement(nn.Module):
    """Features (B, C, H, W), prompts (B, K - 1, D) -> logits (B, K, H, W), u and t (B, K - 1, W).

    With `dims` 3 features and logits have slices before their rows.
    """

    def __init__(self, channels: int, classes: int, width: int, contrast_width: int, dims: int = 2) -> None:
        super().__init__()
        convolution = Conv2d if dims == 2 else nn.Conv3d
        self.channels_of_classes = convolution(channels, classes, 1)
        self.of_image = nn.Linear(channels, contrast_width)
        self.of_text = nn.Linear(width, contrast_width)
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    def forward(self, features: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Enhanced logits, and the unit vectors that `contrastive_loss` compares."""
        e = self.channels_of_classes(features)
        attention = e[:, 1:].flatten(2).float().softmax(-1)
        pooled = attention @ features.flatten(2).transpose(1, 2).float()
        u = F.normalize(self.of_image(pooled).float(), dim=-1)
        t = F.normalize(self.of_text(text).float(), dim=-1)
        gain = 1 + torch.sigmoid(self.sharpness * (u * t).sum(-1))
        gain = gain.reshape(*gain.shape, *(1 for _ in e.shape[2:])).to(e.dtype)
        logits = torch.cat([e[:, :1], e[:, 1:] * gain], 1)
        return logits, u, t


def contrastive_loss(u: Tensor, t: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Symmetric InfoNCE over the present structures of a batch: u, t (B, K, W) unit vectors, present (B, K).

    Negatives are other structures, of the same image and of others; the same structure of another image is
    neither positive nor negative. Zero where nothing is present.
    """
    batch, classes, _ = u.shape
    kept = present.flatten()
    u, t = u.flatten(0, 1)[kept], t.flatten(0, 1)[kept]
    if len(u) == 0:
        return u.sum()
    kind = torch.arange(classes, device=u.device).repeat(batch)[kept]
    likeness = u @ t.T / temperature
    twins = (kind[:, None] == kind) & ~torch.eye(len(u), dtype=torch.bool, device=u.device)
    likeness = likeness.masked_fill(twins, float("-inf"))
    target = torch.arange(len(u), device=u.device)
    return (F.cross_entropy(likeness, target) + F.cross_entropy(likeness.T, target)) / 2
