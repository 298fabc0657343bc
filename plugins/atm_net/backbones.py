"""Backbones of the forms beside `ATMNet`: encode to maps, decode from them; text meets the maps in between.

A backbone has `fused`, the numbers of the maps that meet the text (strides 8, 16 and 32 within slices), their
channels `widths`, and `channels` of what it decodes, at every `stride`-th pixel of its padded input.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore.registry import PluginError

from .config import FUSED_LEVELS, STRIDE, ATMConfig
from .network import Level, conv_norm_relu

Maps = list[Tensor]


class SliceMixing(nn.Module):
    """Each slice hears its neighbours: (B, C, S, H, W) plus a convolution over three slices.

    It starts at zero, so that weights of the 2-D form do in a volume what they do in slices (our choice).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolve = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        nn.init.zeros_(self.convolve.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        y: Tensor = x + self.convolve(x)
        return y


def _slices(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(0, 1)


def _volume(x: Tensor, batch: int) -> Tensor:
    return x.unflatten(0, (batch, -1)).transpose(1, 2)  # type: ignore[no-untyped-call,no-any-return]


class LightVolume(nn.Module):
    """The light backbone on volumes: its convolutions slice by slice, and `SliceMixing` at every level.

    Slices are four to ten times as thick as pixels are wide: they are never pooled.
    """

    def __init__(self, config: ATMConfig) -> None:
        super().__init__()
        w = config.widths
        self.fused, self.widths, self.channels = FUSED_LEVELS, tuple(w[i] for i in FUSED_LEVELS), w[0]
        self.stride = 2
        self.stem = conv_norm_relu(config.in_channels, w[0], 5, stride=2)
        self.encoder = nn.ModuleList(Level(a, b) for a, b in zip((w[0], *w[:-1]), w, strict=True))
        self.decoder = nn.ModuleList(Level(w[i] + w[i + 1], w[i], config.scse) for i in range(4))
        self.mixing = nn.ModuleList(SliceMixing(width) for width in w)

    def encode(self, x: Tensor) -> Maps:
        """Five maps at strides 2 to 32 within slices."""
        height, width = x.shape[3:]
        flat = F.pad(_slices(x), (0, -width % STRIDE, 0, -height % STRIDE))
        maps: Maps = []
        for level, mix in zip(self.encoder, self.mixing, strict=True):
            flat = level(F.max_pool2d(flat, 2) if maps else self.stem(flat))
            maps.append(mix(_volume(flat, len(x))))
            flat = _slices(maps[-1])
        return maps

    def decode(self, x: Tensor, maps: Maps) -> Tensor:
        """Features at half the height and width."""
        d = _slices(maps[-1])
        for i in range(3, -1, -1):
            up = F.interpolate(d, scale_factor=2.0, mode="bilinear", align_corners=False)
            d = self.decoder[i](torch.cat([up, _slices(maps[i])], 1))
        return _volume(d, len(x))


class SwinBackbone(nn.Module):
    """MONAI's Swin UNETR (Hatamizadeh 2022), whose maps at strides 8, 16 and 32 meet the text."""

    def __init__(self, config: ATMConfig) -> None:
        super().__init__()
        try:
            nets: Any = import_module("monai.networks.nets")
        except ImportError:
            raise PluginError(
                "backbone 'swin_unetr' needs MONAI: pip install 'spinecore-torch[monai]'"
            ) from None
        size = config.feature_size
        self.net = nets.SwinUNETR(config.in_channels, size, feature_size=size, spatial_dims=config.dims)
        self.net.out = nn.Identity()
        self.stride = 1
        self.fused, self.widths, self.channels = (2, 3, 4), (4 * size, 8 * size, 16 * size), size

    def encode(self, x: Tensor) -> Maps:
        """Maps at strides 2 to 32 in every direction; sides are padded to multiples of 32."""
        maps: Maps = self.net.swinViT(_padded(x), self.net.normalize)
        return list(maps)

    def decode(self, x: Tensor, maps: Maps) -> Tensor:
        """Features at the size of x, padded."""
        net, given = self.net, _padded(x)
        skips = [net.encoder1(given), net.encoder2(maps[0]), net.encoder3(maps[1]), net.encoder4(maps[2])]
        d = net.decoder5(net.encoder10(maps[4]), maps[3])
        decoders = (net.decoder4, net.decoder3, net.decoder2, net.decoder1)
        for decoder, skip in zip(decoders, skips[::-1], strict=True):
            d = decoder(d, skip)
        result: Tensor = d
        return result


def _padded(x: Tensor) -> Tensor:
    """Sides in multiples of 32, the last of 64 at least: a coarsest map of one voxel cannot be normalised."""
    least = [2 * STRIDE, *(STRIDE for _ in x.shape[3:])]
    sides = [
        (0, max(low, -(-side // STRIDE) * STRIDE) - side)
        for side, low in zip(reversed(x.shape[2:]), least, strict=True)
    ]
    return F.pad(x, [pad for pair in sides for pad in pair])
