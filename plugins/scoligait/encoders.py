"""Transformers for map and video, and the text's token."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ScoliGaitConfig


class Block(nn.Module):
    """Pre-norm transformer layer (B, N, D) -> (B, N, D); `mask` (B, N), True = keep."""

    def __init__(self, width: int, heads: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.hidden, self.back = nn.Linear(width, mlp * width), nn.Linear(mlp * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """One layer."""
        batch, count, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        keep = None if mask is None else mask[:, None, None, :]
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        x = x + self.drop(self.out(found.transpose(1, 2).reshape(batch, count, width)))
        y: Tensor = x + self.drop(self.back(F.gelu(self.hidden(self.norm2(x)))))
        return y


class Transformer(nn.Module):
    """`depth` layers and a norm."""

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp, config.dropout) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        for block in self.blocks:
            x = block(x, mask)
        y: Tensor = self.norm(x)
        return y


class MapEncoder(nn.Module):
    """Standardised map (B, T, 238) to one token a group of `map_patch` frames."""

    mean: Tensor
    spread: Tensor

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.patch, self.noise = config.map_patch, config.map_noise
        shape = (config.frames, config.columns) if config.map_cells else (config.columns,)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("spread", torch.ones(shape))
        self.embed = nn.Linear(config.columns * config.map_patch, config.width)
        self.layers = Transformer(config)

    def standard(self, values: Tensor) -> Tensor:
        """Columns to mean 0 and spread 1 of the training set, within +-5; missing becomes 0, the mean."""
        return torch.nan_to_num((values - self.mean) / self.spread).clamp(-5, 5)

    def fit_columns(self, values: Tensor, valid: Tensor) -> None:
        """Take mean and spread of (N, T, 238) over the valid frames (N, T) and what is not missing."""
        rows = values.double() if self.mean.dim() == 2 else values[valid].double()
        seen = torch.isfinite(rows)
        count = seen.sum(0).clamp(min=1)
        mean = torch.where(seen, rows, 0.0).sum(0) / count
        spread = (torch.where(seen, rows - mean, 0.0).square().sum(0) / count).sqrt()
        self.mean.copy_(mean)
        self.spread.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, values: Tensor, valid: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T / patch, D) and which count; `place` (T / patch, D) are the positions."""
        return self.encode(self.standard(values), valid, place)

    def encode(self, x: Tensor, valid: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """The same from the standardised map, which attributions start from."""
        x = x * valid[..., None]
        if self.training and self.noise:
            x = x + self.noise * torch.randn_like(x)
        batch, frames, columns = x.shape
        x = x.reshape(batch, frames // self.patch, self.patch * columns)
        keep = valid.reshape(batch, frames // self.patch, self.patch).any(-1)
        return self.layers(self.embed(x) + place, keep), keep


class VideoEncoder(nn.Module):
    """Pictures (B, F, C, H, W), bytes or in 0..1, to tubelet tokens (ViViT's joint space-time form)."""

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.tubelet, self.patch = config.tubelet, config.patch
        self.times = config.video_frames // config.tubelet
        self.cells = (config.video_height // config.patch) * (config.video_width // config.patch)
        self.embed = nn.Linear(config.tubelet * config.video_channels * config.patch**2, config.width)
        self.cell = nn.Parameter(torch.randn(self.cells, config.width) * 0.02)
        self.layers = Transformer(config)

    def forward(self, pictures: Tensor, valid: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, times x cells, D) and which count; `place` (times, D)."""
        batch, count, channels, height, width = pictures.shape
        # A tubelet may reach past the clip's end: pictures there are black.
        inside = valid.view(batch, count, -1)[:, :, valid.shape[1] // count // 2]
        pictures = pictures * inside.to(pictures.dtype)[:, :, None, None, None]
        p = self.patch
        x = pictures.reshape(batch, self.times, self.tubelet, channels, height // p, p, width // p, p)
        x = x.permute(0, 1, 4, 6, 2, 3, 5, 7).reshape(batch, self.times, self.cells, -1)
        # Cut while they are bytes, and the factor goes to the weights: both are smaller that way.
        scale = 1.0 if x.is_floating_point() else 1 / 255
        weight = self.embed.weight * scale
        x = F.linear(x.to(weight.dtype), weight, self.embed.bias) + place[:, None] + self.cell
        keep = valid.reshape(len(valid), self.times, -1).any(-1)
        keep = keep[:, :, None].expand(-1, -1, self.cells).flatten(1)
        return self.layers(x.flatten(1, 2), keep), keep


class TextEncoder(nn.Module):
    """Hashed tokens (B, L), 0 = none, or vectors (B, E), to one token (B, 1, D)."""

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.hashed = config.text == "hashed"
        inside = config.width if self.hashed else config.text_width
        if self.hashed:
            self.words = nn.Embedding(config.vocabulary, inside)
            nn.init.normal_(self.words.weight, std=0.3)
        self.norm = nn.LayerNorm(inside)
        self.hidden, self.out = nn.Linear(inside, 2 * config.width), nn.Linear(2 * config.width, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.last = nn.LayerNorm(config.width)

    def forward(self, text: Tensor) -> Tensor:
        """One token a text."""
        if self.hashed:
            seen = (text > 0)[..., None].to(self.words.weight.dtype)
            text = (self.words(text) * seen).sum(1) / seen.sum(1).clamp(min=1)
        x = self.out(self.drop(F.gelu(self.hidden(self.norm(text)))))
        y: Tensor = self.last(x)[:, None]
        return y
