"""Holistic Anatomy-aware Semantic Fusion (HASF): prompts and a feature map look at each other.

    F1 = F + MHA(LN F, T, T);   T1 = T + pool(LN F by LN T)
    g = sigmoid(W [mean F1; mean T1]);   F' = F + g (F1 - F)

The paper names the part; this form is our choice. The gate starts near 0.12, so that training starts near the
backbone alone. Prompts query the image through `spinecore.ops.latent_attention_pool`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore import ops


class ImageQueriesText(nn.Module):
    """Every pixel looks at the prompts: (B, N, C), (B, P, D) -> (B, N, C)."""

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.back = nn.Linear(channels, width), nn.Linear(width, channels)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, pixels: Tensor, text: Tensor) -> Tensor:
        """What the prompts tell each pixel."""
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(pixels), self.key(text), self.value(text))
        )
        result: Tensor = self.back(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return result


class TextQueriesImage(nn.Module):
    """Every prompt pools the image: (B, P, D), (B, N, C) -> (B, P, D)."""

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.tokens = nn.Linear(channels, width)
        for name in ("wq", "wk", "wv", "wo"):
            weight = nn.Parameter(torch.empty(width, width))
            nn.init.xavier_uniform_(weight)
            self.register_parameter(name, weight)

    wq: nn.Parameter
    wk: nn.Parameter
    wv: nn.Parameter
    wo: nn.Parameter

    def forward(self, text: Tensor, pixels: Tensor) -> Tensor:
        """What each prompt finds in its image; the operator takes one set of queries a call."""
        projections = (self.wq, self.wk, self.wv, self.wo)
        found: list[Tensor] = []
        for image, queries in zip(self.tokens(pixels), text, strict=True):
            pooled = ops.latent_attention_pool(image[None], queries.contiguous(), *projections, self.heads)
            assert isinstance(pooled, Tensor)
            found.append(pooled)
        return torch.cat(found)


class HolisticFusion(nn.Module):
    """(B, C, H, W), (B, P, D) -> both, each with what the other says."""

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.norm_image, self.norm_text = nn.LayerNorm(channels), nn.LayerNorm(width)
        self.to_image = ImageQueriesText(channels, width, heads)
        self.to_text = TextQueriesImage(channels, width, heads)
        self.gate = nn.Linear(channels + width, channels)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, features: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Fused features, and prompts that have seen them."""
        pixels = features.flatten(2).transpose(1, 2)
        seen = self.norm_image(pixels)
        change = self.to_image(seen, text)
        told = text + self.to_text(self.norm_text(text), seen)
        gate = torch.sigmoid(self.gate(torch.cat([(pixels + change).mean(1), told.mean(1)], -1)))
        fused = pixels + gate[:, None] * change
        return fused.transpose(1, 2).unflatten(2, features.shape[2:]), told
