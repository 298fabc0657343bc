"""ATM-Net prepared for inference: normalisation folded into convolutions, nothing concatenated, generic
prompts encoded once, and attention between text and image with its projections multiplied out.

A handful of prompts meets thousands of pixels, so the matrices of both directions are applied to the prompts:

    softmax((X Wq)(T Wk)^T) (T Wv) Wo  =  softmax(X A) B,   A = Wq (T Wk)^T,  B = (T Wv) Wo   for each head

and likewise where prompts pool the image. What pixels see is one product of C by 2 heads P numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore.nn import SCSEGate
from spinecore.nn.prepared import NotPreparable
from spinecore.nn.prepared_parts import fold, prepare_block, require
from spinecore.ops.prepared import PreparedConv, pool2x2

from .config import FUSED_LEVELS, STRIDE
from .contrast import ClassEnhancement
from .fusion import HolisticFusion, ImageQueriesText, TextQueriesImage

Form = Callable[[Tensor], Tensor]


def _linear(part: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight as (in, out), and bias, detached."""
    require(part, nn.Linear)
    part = cast(nn.Linear, part)
    if part.bias is None:
        raise NotPreparable("a linear map without bias")
    return part.weight.detach().T, part.bias.detach()


def _normaliser(part: nn.Module) -> Form:
    require(part, nn.LayerNorm)
    part = cast(nn.LayerNorm, part)
    shape, eps = part.normalized_shape, part.eps
    weight, bias = part.weight.detach(), part.bias.detach()
    return lambda x: F.layer_norm(x, shape, weight, bias, eps)


class _Fusion:
    """`HolisticFusion` on (B, C, H, W) channels-last and (B, P, D)."""

    def __init__(self, part: nn.Module) -> None:
        require(part, HolisticFusion)
        part = cast(HolisticFusion, part)
        image, text = part.to_image, part.to_text
        require(image, ImageQueriesText)
        require(text, TextQueriesImage)
        self.norm_image, self.norm_text = _normaliser(part.norm_image), _normaliser(part.norm_text)
        self.heads = heads = image.heads
        query, query_bias = _linear(image.query)
        back, back_bias = _linear(image.back)
        self.query, self.query_bias = self._split(query).transpose(-1, -2), query_bias.view(heads, -1, 1)
        self.key, self.value, self.gate = _linear(image.key), _linear(image.value), _linear(part.gate)
        # The weights of a head add up to 1: each row carries its share of the bias.
        self.back, self.back_bias = back.view(heads, -1, back.shape[1]), back_bias / heads
        self.tokens, self.tokens_bias = _linear(text.tokens)
        self.wq, self.wo = text.wq.detach(), text.wo.detach()
        self.token_keys = self._split(self.tokens @ text.wk.detach()).transpose(-1, -2)
        self.wv = self._split(text.wv.detach())
        self.scale = (query.shape[1] // heads) ** -0.5

    def _split(self, x: Tensor) -> Tensor:
        """(..., P, D) -> (..., heads, P, D / heads)."""
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(-3, -2)

    def __call__(self, features: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Fused features, and prompts that have seen them."""
        batch, channels, height, width = features.shape
        count, heads = text.shape[1], self.heads
        pixels = features.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        seen = self.norm_image(pixels)
        # Pixels look at prompts: what they ask (B, heads, P, C), a constant a prompt, what they are told.
        keys = (
            self._split(torch.addmm(self.key[1], text.flatten(0, 1), self.key[0]).view_as(text)) * self.scale
        )
        ask, constant = keys @ self.query, (keys @ self.query_bias).flatten(1)
        tell = (self._split(text @ self.value[0] + self.value[1]) @ self.back + self.back_bias).flatten(1, 2)
        # Prompts look at pixels; a constant a prompt changes no softmax over pixels.
        look = self._split(self.norm_text(text) @ self.wq) * self.scale @ self.token_keys
        scores = seen @ torch.cat([ask, look], 1).flatten(1, 2).transpose(1, 2)
        asked, looked = scores.chunk(2, -1)
        weights = (asked + constant[:, None]).view(batch, -1, heads, count).softmax(-1).flatten(2)
        pooled = looked.transpose(1, 2).contiguous().softmax(-1) @ seen
        found = pooled.view(batch, heads, count, channels) @ self.tokens + self.tokens_bias
        told = text + (found @ self.wv).transpose(1, 2).flatten(2) @ self.wo
        mean = pixels.mean(1) + (weights.mean(1)[:, None] @ tell)[:, 0]
        gate = torch.sigmoid(torch.cat([mean, told.mean(1)], -1) @ self.gate[0] + self.gate[1])
        fused = torch.baddbmm(pixels, weights, tell * gate[:, None])
        return fused.view(batch, height, width, channels).permute(0, 3, 1, 2), told


def _gates(level: nn.Module) -> list[SCSEGate]:
    """What follows the two convolutions of a `Level`."""
    gates = list(level.children())[2:]
    for gate in gates:
        require(gate, SCSEGate)
    return cast("list[SCSEGate]", gates)


class _Block:
    """`Level` of one map: two convolutions, a gate if there is one."""

    def __init__(self, level: nn.Module) -> None:
        parts = list(level.children())
        self.parts: list[Form] = [*(prepare_block(part) for part in parts[:2]), *_gates(level)]

    def __call__(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class _Joint:
    """`Level` on [bilinear x2 of a deeper map; a map of this size]: convolved apart and added up."""

    def __init__(self, level: nn.Module, upsampled: int) -> None:
        parts = list(level.children())
        block = list(parts[0].children())
        require(block[2], nn.ReLU)
        weight, bias = fold(block[0], block[1])
        self.deep = PreparedConv(weight[:, :upsampled])
        self.here = PreparedConv(weight[:, upsampled:], bias, activation="relu")
        self.second = prepare_block(parts[1])
        self.gates = _gates(level)

    def __call__(self, d: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(d, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.second(self.here(skip, addends=[self.deep(up)]))
        for gate in self.gates:
            x = gate(x)
        return x


class _Classes:
    """`ClassEnhancement`, or a plain 1x1 convolution where there is no text."""

    def __init__(self, part: nn.Module, contrast_width: int) -> None:
        self.width = contrast_width
        if type(part) is not ClassEnhancement:
            self.convolve = PreparedConv(*fold(part))
            return
        self.convolve = PreparedConv(*fold(part.channels_of_classes))
        self.of_image, self.of_text = _linear(part.of_image), _linear(part.of_text)
        self.sharpness = part.sharpness.detach()

    def __call__(self, d: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        e = self.convolve(d).contiguous()
        if text is None:
            none = e.new_empty(len(e), 0, self.width)
            return e, none, none
        pixels = d.permute(0, 2, 3, 1).flatten(1, 2)
        pooled = e[:, 1:].flatten(2).softmax(-1) @ pixels
        u = F.normalize(pooled @ self.of_image[0] + self.of_image[1], dim=-1)
        t = F.normalize(text @ self.of_text[0] + self.of_text[1], dim=-1)
        e[:, 1:] *= (1 + torch.sigmoid(self.sharpness * (u * t).sum(-1)))[..., None, None]
        return e, u, t


class PreparedATMNet:
    """What `ATMNet.forward` computes, from the network's values at the time it was made."""

    def __init__(self, net: Any) -> None:
        config = net.config
        w = config.widths
        self.stem = prepare_block(net.stem)
        self.encoder = [_Block(level) for level in net.encoder]
        self.decoder = [_Joint(level, w[i + 1]) for i, level in enumerate(net.decoder)]
        self.classes = _Classes(net.classes, config.contrast_width)
        self.fusion = [_Fusion(part) for part in net.fusion] if config.text != "none" else []
        self.encode: Form | None = net.text if config.text == "prompts" else None
        self.plain: Tensor | None = None if config.text == "none" else net.told(1, None)
        self.generic: Tensor | None = net.generic if config.text == "prompts" else None

    def _told(self, batch: int, prompts: Tensor | None) -> Tensor | None:
        """The vectors of the generic prompts are known."""
        if self.plain is None:
            return None
        if (
            prompts is None
            or self.encode is None
            or torch.equal(prompts, cast(Tensor, self.generic).expand_as(prompts))
        ):
            return self.plain.expand(batch, -1, -1)
        return self.encode(prompts)

    def __call__(self, x: Tensor, prompts: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of x (B, C, H, W) at its size, and u and t of `ATMOutput`."""
        height, width = x.shape[2:]
        if height % STRIDE or width % STRIDE:
            x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE))
        x = x.contiguous(memory_format=torch.channels_last)
        text = self._told(len(x), prompts)
        maps = [self.encoder[0](self.stem(x))]
        for level in self.encoder[1:]:
            maps.append(level(pool2x2(maps[-1], "max")))
        for i, fuse in zip(FUSED_LEVELS, self.fusion, strict=False):
            assert text is not None
            maps[i], text = fuse(maps[i], text)
        d = maps[-1]
        for i in range(3, -1, -1):
            d = self.decoder[i](d, maps[i])
        logits, u, t = self.classes(d, None if text is None else text[:, 1:])
        full = F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)
        return full[..., :height, :width], u, t
