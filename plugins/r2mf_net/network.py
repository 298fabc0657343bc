"""R2MF-Net: a coarse and a fine segmentation network in cascade (arXiv 2512.07576)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore.nn import Conv2d
from spinecore.nn.prepared import NotFinite, Prepared
from spinecore.nn.taped import Taped

from .blocks import MCSkip, R2Jump, conv_bn_relu, extractor, scse_lite
from .config import R2MFConfig
from .prepared import prepare

HEAD_CHANNELS = 26
"""Vertebra head: 17 level maps, 8 corner offsets shared by all levels, 1 level-free centre map."""


class R2MFOutput(NamedTuple):
    """Logits at 1/stem_stride of the working size (h, w).

    coarse: (N,1,h,w) spine mask of the coarse network; fine: (N,1,h,w) or None;
    vertebrae: (N,26,h,w) or None.
    """

    coarse: Tensor
    fine: Tensor | None
    vertebrae: Tensor | None


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Stem(nn.Sequential):
    """Reduces the film by `stride` (1, 2, 4) before the first level. Our choice: two cores suffice."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        layers: list[nn.Module] = []
        if stride >= 2:
            c = c_out if stride == 2 else 16
            layers += [conv_bn_relu(c_in, c, 5, stride=2)]
            if stride == 4:
                layers += [conv_bn_relu(c, c), conv_bn_relu(c, c_out, 3, stride=2)]
        super().__init__(*layers)


class Encoder(nn.Module):
    """Five levels of feature extractors with max pooling between; returns the five maps, shallow to deep."""

    def __init__(self, c_in: int, widths: tuple[int, ...], config: R2MFConfig) -> None:
        super().__init__()
        self.stem = Stem(c_in, widths[0], config.stem_stride)
        first = c_in if config.stem_stride == 1 else widths[0]
        ins = (first, *widths[:-1])
        self.levels = nn.ModuleList(
            extractor(a, b, config.inception) for a, b in zip(ins, widths, strict=True)
        )
        self.bottleneck = scse_lite(widths[-1]) if config.scse_lite else nn.Identity()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of the five levels, shallow to deep."""
        x = self.stem(x)
        maps: list[Tensor] = []
        for i, level in enumerate(self.levels):
            x = level(F.max_pool2d(x, 2) if i else x)
            maps.append(x)
        maps[-1] = self.bottleneck(maps[-1])
        return maps


class Decoder(nn.Module):
    """Four levels up; skips pass R2-Jump, and in the fine network MC-Skip joins the coarse decoder's maps."""

    def __init__(self, widths: tuple[int, ...], config: R2MFConfig, coarse: tuple[int, ...] = ()) -> None:
        super().__init__()
        use_jump = config.r2_jump
        self.jumps = nn.ModuleList(
            R2Jump(widths[s], config.steps_at(s), config.shared_recurrence) if use_jump else nn.Identity()
            for s in range(4)
        )
        use_mc = bool(coarse) and config.mc_skip != "none"
        self.cross = (
            nn.ModuleList(
                MCSkip(coarse[:4], s, widths[s + 1], widths[s], config.mc_skip, config.mc_gate)
                for s in range(4)
            )
            if use_mc
            else None
        )
        extra = 1 if use_mc else 0
        self.levels = nn.ModuleList(
            extractor(widths[s + 1] + (1 + extra) * widths[s], widths[s], config.inception) for s in range(4)
        )

    def forward(self, maps: list[Tensor], coarse: list[Tensor] | None = None) -> list[Tensor]:
        """Decoder maps d_1..d_4, shallow to deep."""
        d = maps[-1]
        out: list[Tensor] = []
        for s in range(3, -1, -1):
            up = _up(d)
            parts = [up, self.jumps[s](maps[s])]
            if self.cross is not None and coarse is not None:
                parts.append(self.cross[s](coarse, up))
            d = self.levels[s](torch.cat(parts, 1))
            out.insert(0, d)
        return out


class R2MFNet(nn.Module):
    """Coarse network, fine network on [film; coarse probability], spine mask and vertebra head.

    Input (N, in_channels, height, width); see `R2MFOutput`. The binary mask is the paper's output, the
    vertebra head is our addition: a binary mask alone does not give endplates.
    """

    def __init__(self, config: R2MFConfig) -> None:
        super().__init__()
        self.config = config
        cw, fw = config.coarse_widths, config.fine_widths
        self.coarse_encoder = Encoder(config.in_channels, cw, config)
        self.coarse_decoder = Decoder(cw, config)
        self.coarse_mask = Conv2d(cw[0], 1, 1)
        last = cw[0]
        if config.fine:
            self.fine_encoder = Encoder(config.in_channels + 1, fw, config)
            self.fine_decoder = Decoder(fw, config, cw)
            self.fine_mask = Conv2d(fw[0], 1, 1)
            last = fw[0]
        if config.vertebra_head:
            self.vertebra_head = nn.Sequential(conv_bn_relu(last, 64), Conv2d(64, HEAD_CHANNELS, 1))
            final = self.vertebra_head[-1]
            assert isinstance(final, nn.Conv2d)
            assert final.bias is not None
            nn.init.normal_(final.weight, 0.0, 0.01)
            nn.init.zeros_(final.bias)

    def forward(self, x: Tensor) -> R2MFOutput:
        """Logits of both networks and the vertebra head."""
        if x.dim() != 4 or x.shape[1] != self.config.in_channels:
            raise ValueError(
                f"R2MFNet: input has shape {tuple(x.shape)}; give (N, {self.config.in_channels}, H, W), "
                f"as spinecore.plugins.r2mf_net.film_input prepares it"
            )
        prepared = _PREPARED.find(self, x)
        if prepared is not None:
            try:
                return R2MFOutput(*prepared(x))  # type: ignore[arg-type]  # the first of three is there
            except NotFinite:
                pass
        step = _TAPED.find(self, x)
        return R2MFOutput(*(_plain(self, x) if step is None else step(x)))  # type: ignore[arg-type]


def _plain(net: R2MFNet, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    coarse_maps = net.coarse_decoder(net.coarse_encoder(x))
    coarse = net.coarse_mask(coarse_maps[0])
    fine, d = None, coarse_maps[0]
    if net.config.fine:
        p = torch.sigmoid(coarse)
        if net.config.detach_coarse:
            p = p.detach()
        p = F.interpolate(p, size=x.shape[-2:], mode="bilinear", align_corners=False)
        d = net.fine_decoder(net.fine_encoder(torch.cat([x, p.to(x.dtype)], 1)), coarse_maps)[0]
        fine = net.fine_mask(d)
    vertebrae = net.vertebra_head(d) if net.config.vertebra_head else None
    return coarse, fine, vertebrae


_PREPARED = Prepared(prepare)
_TAPED = Taped(_plain)
