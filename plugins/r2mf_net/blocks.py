"""Building blocks of R2MF-Net (arXiv 2512.07576), named as in its abstract.

The abstract names the parts and says where they go; the layouts below are our choice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore.nn import Conv2d, ConvNorm, RecurrentResidualConv, SCSEGate


def conv_bn(c_in: int, c_out: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1) -> ConvNorm:
    """Bias-free convolution, batch normalisation: (N,c_in,H,W) -> (N,c_out,ceil(H/stride),ceil(W/stride))."""
    padding = dilation * (kernel // 2)
    return ConvNorm(Conv2d(c_in, c_out, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(c_out))


def conv_bn_relu(c_in: int, c_out: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1) -> ConvNorm:
    """`conv_bn` followed by ReLU."""
    return ConvNorm(*conv_bn(c_in, c_out, kernel, stride=stride, dilation=dilation), nn.ReLU(inplace=True))


class InceptionBranches(nn.Module):
    """Improved Inception-style multi-branch extractor: (N,c_in,H,W) -> (N,c_out,H,W). Layout: our choice.

    Four branches of c_out/4 channels see 1x1, 3x3, 5x5 (two 3x3) and 7x7 (3x3, dilation 3) fields;
    a 1x1 convolution fuses them and a 1x1 shortcut is added before the last ReLU.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        b = c_out // 4
        # One 1x1 convolution reduces for all four branches at once.
        self.reduce = conv_bn_relu(c_in, 4 * b, 1)
        self.branch3 = conv_bn_relu(b, b)
        self.branch5 = nn.Sequential(conv_bn_relu(b, b), conv_bn_relu(b, b))
        self.branch7 = conv_bn_relu(b, b, dilation=3)
        self.fuse = conv_bn(4 * b, c_out, 1)
        self.shortcut = conv_bn(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features of x."""
        p1, p2, p3, p4 = self.reduce(x).chunk(4, dim=1)
        branches = torch.cat([p1, self.branch3(p2), self.branch5(p3), self.branch7(p4)], 1)
        return F.relu(self.fuse(branches) + self.shortcut(x))


def extractor(c_in: int, c_out: int, inception: bool) -> nn.Module:
    """Feature extractor of one level; `inception=False` is the plain form for ablation."""
    if inception:
        return InceptionBranches(c_in, c_out)
    return nn.Sequential(conv_bn_relu(c_in, c_out), conv_bn_relu(c_out, c_out))


class R2Jump(nn.Module):
    """Recurrent residual jump connection on a skip: (N,C,H,W) -> (N,C,H,W).

    h = BN(1x1(e)); u_0 = relu(BN(W_f h)); u_k = relu(BN(W_f h + W_r u_{k-1})); out = h + u_t.
    Form: R2U-Net's recurrent residual convolution, our reading of the paper's name.
    """

    def __init__(self, channels: int, steps: int, shared: bool) -> None:
        super().__init__()
        self.enter = conv_bn(channels, channels, 1)
        self.recur = RecurrentResidualConv(channels, steps=steps, shared_weights=shared, residual=True)

    def forward(self, e: Tensor) -> Tensor:
        """Aligned encoder features."""
        out: Tensor = self.recur(self.enter(e))
        return out


class MCSkip(nn.Module):
    """Multi-scale cross-stage skip: coarse decoder maps of several levels -> (N,c_out,H,W) at one fine level.

    m = sum_j A_j(Resize_j(d_j)); gated: sigmoid(1x1([up; m])) * m. Resize and gate are our choice.
    """

    def __init__(
        self, coarse: tuple[int, ...], level: int, c_up: int, c_out: int, mode: str, gate: bool
    ) -> None:
        super().__init__()
        self.levels = tuple(range(len(coarse))) if mode == "all" else (level,)
        self.level = level
        self.align = nn.ModuleList(conv_bn(coarse[j], c_out, 1) for j in self.levels)
        self.gate = Conv2d(c_up + c_out, c_out, 1) if gate else None

    def forward(self, maps: list[Tensor], up: Tensor) -> Tensor:
        """Coarse maps d_1..d_4 and the fine decoder's (N,c_up,H,W) -> what joins the skip."""
        size = up.shape[-2:]
        m: Tensor | None = None
        for j, align in zip(self.levels, self.align, strict=True):
            d = maps[j]
            # A 1x1 convolution commutes with resizing; run it at the smaller of the two sizes.
            if j < self.level:
                d = align(F.avg_pool2d(d, 2 ** (self.level - j)))
            else:
                d = align(d)
                if j > self.level:
                    d = F.interpolate(d, size=size, mode="bilinear", align_corners=False)
            m = d if m is None else m + d
        assert m is not None
        if self.gate is None:
            return m
        return torch.sigmoid(self.gate(torch.cat([up, m], 1))) * m


def scse_lite(channels: int) -> SCSEGate:
    """SCSE-Lite at the bottleneck: reduction 16 (hidden >= 8), bias-free, additive. Sizes: our choice."""
    return SCSEGate(channels, reduction=16, minimum=8, bias=False, mode="add")
