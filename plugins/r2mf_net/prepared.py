"""R2MF-Net prepared for inference: the same network with batch normalisation folded and passes merged.

What changes besides: a 1x1 convolution commutes with bilinear resizing, so the decoders convolve before they
upsample, at a quarter of the pixels, and nothing is concatenated: convolutions read several inputs in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore.nn import ConvNorm, SCSEGate
from spinecore.nn.prepared import NotPreparable
from spinecore.nn.prepared_parts import fold, prepare_block, prepare_recurrence, require
from spinecore.nn.repeated import Repeated
from spinecore.ops.prepared import PreparedConv, pool2x2
from spinecore.ops.recording import image, run

from .blocks import InceptionBranches, MCSkip, R2Jump

Maps = list[Tensor]


def _rows(*weights: Tensor) -> PreparedConv:
    """Several 1x1 convolutions of one input as one, without bias."""
    return PreparedConv(torch.cat(weights))


class _Extractor:
    """`InceptionBranches` on [bilinear x2 of a deeper map; inputs at this size].

    `above` are the weights of what is upsampled: the caller convolves the deeper map with them and hands the
    results in as `low`, one for `reduce` and one for the sum of `fuse` and `shortcut`.
    """

    def __init__(self, block: nn.Module, upsampled: int) -> None:
        require(block, InceptionBranches)
        block = cast(InceptionBranches, block)
        for part in (block.reduce, block.fuse, block.shortcut):
            require(part, nn.Sequential, ConvNorm)
        (w_reduce, b_reduce), (w_fuse, b_fuse), (w_shortcut, b_shortcut) = (
            fold(part[0], part[1]) for part in (block.reduce, block.fuse, block.shortcut)
        )
        self.above = [w_reduce[:, :upsampled], w_shortcut[:, :upsampled]]
        self.reduce = PreparedConv(w_reduce[:, upsampled:], b_reduce, activation="relu")
        self.fuse = PreparedConv(
            torch.cat([w_fuse, w_shortcut[:, upsampled:]], 1), b_fuse + b_shortcut, activation="relu"
        )
        require(block.branch5, nn.Sequential)
        self.branch3 = prepare_block(block.branch3)
        self.branch5 = [prepare_block(part) for part in block.branch5]
        self.branch7 = prepare_block(block.branch7)
        self.width = w_reduce.shape[0] // 4

    def __call__(self, inputs: Maps, low: Maps) -> Tensor:
        reduced = self.reduce(*inputs, addends=low[:1])
        p1, p2, p3, p4 = torch.split(reduced, self.width, 1)
        for part in self.branch5:
            p3 = part(p3)
        return self.fuse(p1, self.branch3(p2), p3, self.branch7(p4), *inputs, addends=low[1:])


class _Jump:
    def __init__(self, block: nn.Module) -> None:
        self.plain = type(block) is nn.Identity
        if not self.plain:
            require(block, R2Jump)
            block = cast(R2Jump, block)
            self.enter, self.recur = prepare_block(block.enter), prepare_recurrence(block.recur)

    def __call__(self, e: Tensor) -> Tensor:
        return e if self.plain else self.recur(self.enter(e))


class _Cross:
    """`MCSkip`: coarse maps of this size or larger in one convolution, the smaller ones added to it."""

    def __init__(self, block: nn.Module, upsampled: int) -> None:
        require(block, MCSkip)
        block = cast(MCSkip, block)
        self.level = block.level
        self.larger, self.smaller = (
            [j for j in block.levels if j <= self.level],
            [j for j in block.levels if j > self.level],
        )
        folded = {
            j: fold(part[0], part[1])
            for j, part in zip(block.levels, cast("list[nn.Sequential]", list(block.align)), strict=True)
        }
        bias = torch.stack([b for _, b in folded.values()]).sum(0)
        self.here = PreparedConv(torch.cat([folded[j][0] for j in self.larger], 1), bias)
        self.deeper = {j: PreparedConv(folded[j][0]) for j in self.smaller}
        self.gate: PreparedConv | None = None
        self.above: list[Tensor] = []
        if block.gate is not None:
            weight, bias = fold(block.gate)
            self.above = [weight[:, :upsampled]]
            self.gate = PreparedConv(weight[:, upsampled:], bias, activation="gate")

    def __call__(self, pooled: Callable[[int, int], Tensor], coarse: Maps, low: Maps) -> Tensor:
        here = [pooled(j, self.level) for j in self.larger]
        m = self.here(*here, addends=[convolve(coarse[j]) for j, convolve in self.deeper.items()])
        return m if self.gate is None else self.gate(m, addends=low, gate=m)


def _pooled(maps: Maps) -> Callable[[int, int], Tensor]:
    """Map j at the size of level s >= j, by means of 2 x 2, each taken once."""
    kept: dict[tuple[int, int], Tensor] = {}

    def at(j: int, s: int) -> Tensor:
        if j == s:
            return maps[j]
        if (j, s) not in kept:
            kept[j, s] = pool2x2(at(j, s - 1), "mean")
        return kept[j, s]

    return at


class _Encoder:
    def __init__(self, encoder: nn.Module) -> None:
        self.stem = [prepare_block(part) for part in cast(nn.Module, encoder.stem).children()]
        self.levels = [_Extractor(level, 0) for level in cast(nn.ModuleList, encoder.levels)]
        self.bottleneck = cast("Callable[[Tensor], Tensor]", encoder.bottleneck)
        if type(encoder.bottleneck) not in (SCSEGate, nn.Identity):
            raise NotPreparable("another bottleneck")

    def _gate(self, x: Tensor, y: Tensor) -> None:
        y.copy_(self.bottleneck(x))

    def __call__(self, *inputs: Tensor) -> Maps:
        for part in self.stem:
            inputs = (part(*inputs),)
        maps: Maps = []
        for level in self.levels:
            maps.append(level(list(inputs), []))
            inputs = (pool2x2(maps[-1], "max"),) if len(maps) < len(self.levels) else ()
        gated = image(*maps[-1].shape)
        run(self._gate, maps[-1], gated)
        maps[-1] = gated
        return maps


class _Decoder:
    def __init__(self, decoder: nn.Module, widths: tuple[int, ...]) -> None:
        self.jumps = [_Jump(jump) for jump in cast(nn.ModuleList, decoder.jumps)]
        cross = cast("nn.ModuleList | None", decoder.cross)
        self.cross = None if cross is None else [_Cross(c, widths[s + 1]) for s, c in enumerate(cross)]
        self.levels = [
            _Extractor(level, widths[s + 1]) for s, level in enumerate(cast(nn.ModuleList, decoder.levels))
        ]
        self.above: list[PreparedConv] = []
        self.splits: list[list[int]] = []
        for s, level in enumerate(self.levels):
            weights = level.above + (self.cross[s].above if self.cross is not None else [])
            self.above.append(_rows(*weights))
            self.splits.append([len(w) for w in weights])

    def __call__(self, maps: Maps, coarse: Maps) -> Maps:
        pooled = _pooled(coarse)
        d = maps[-1]
        out: Maps = []
        for s in range(3, -1, -1):
            low = torch.split(self.above[s](d), self.splits[s], 1)
            parts = [self.jumps[s](maps[s])]
            if self.cross is not None:
                parts.append(self.cross[s](pooled, coarse, list(low[2:])))
            d = self.levels[s](parts, list(low[:2]))
            out.insert(0, d)
        return out


def _probability(logits: Tensor, resized: Tensor) -> None:
    p = torch.sigmoid(logits)
    resized.copy_(F.interpolate(p, size=resized.shape[-2:], mode="bilinear", align_corners=False))


def _output(conv: nn.Module) -> PreparedConv:
    return PreparedConv(*fold(conv))


class PreparedR2MFNet:
    """What `R2MFNet.forward` computes, from the network's values at the time it was made."""

    def __init__(self, net: Any) -> None:
        config = net.config
        self.coarse_encoder = _Encoder(net.coarse_encoder)
        self.coarse_decoder = _Decoder(net.coarse_decoder, config.coarse_widths)
        self.coarse_mask = _output(net.coarse_mask)
        self.fine = config.fine
        if config.fine:
            self.fine_encoder = _Encoder(net.fine_encoder)
            self.fine_decoder = _Decoder(net.fine_decoder, config.fine_widths)
            self.fine_mask = _output(net.fine_mask)
        self.head: list[PreparedConv] = []
        if config.vertebra_head:
            self.head = [prepare_block(net.vertebra_head[0]), _output(net.vertebra_head[1])]

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Logits (coarse, fine, vertebrae) of x (N, in_channels, H, W), channels-last."""
        maps = self.coarse_decoder(self.coarse_encoder(x), [])
        coarse = self.coarse_mask(maps[0])
        fine, d = None, maps[0]
        if self.fine:
            p = image(x.shape[0], 1, *x.shape[-2:])
            run(_probability, coarse, p)
            d = self.fine_decoder(self.fine_encoder(x, p), maps)[0]
            fine = self.fine_mask(d)
        vertebrae = None
        if self.head:
            vertebrae = self.head[1](self.head[0](d))
        return coarse, fine, vertebrae


def prepare(net: Any) -> Repeated:
    """The prepared form of a network, for `spinecore.nn.prepared.Prepared`."""
    return Repeated(PreparedR2MFNet(net))
