"""ATM-Net: a U-shaped segmentation network whose skips and classes are told what to look for in words
(arXiv 2504.03476). The convolutional backbone is our choice: it trains on two cores.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore.nn import Conv2d, ConvNorm, SCSEGate
from spinecore.nn.prepared import NotFinite, Prepared

from .anatomy import CLASSES
from .config import FUSED_LEVELS, STRIDE, ATMConfig
from .contrast import ClassEnhancement
from .fusion import HolisticFusion
from .prepared import PreparedATMNet
from .prompted import ATMOutput, PromptedNet


def conv_norm_relu(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> ConvNorm:
    """Bias-free convolution, batch normalisation, ReLU."""
    conv = Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
    return ConvNorm(conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class Level(nn.Sequential):
    """Two 3x3 convolutions, and a gate if wanted."""

    def __init__(self, c_in: int, c_out: int, gate: bool = False) -> None:
        super().__init__(conv_norm_relu(c_in, c_out), conv_norm_relu(c_out, c_out))
        if gate:
            self.append(SCSEGate(c_out))


class ATMNet(PromptedNet):
    """Slices (B, C, H, W) and prompts as `PromptedNet` takes them -> `ATMOutput`.

    Sides of any length: they are padded to multiples of 32 inside.
    """

    def __init__(self, config: ATMConfig) -> None:
        super().__init__(config)
        w = config.widths
        self.stem = conv_norm_relu(config.in_channels, w[0], 5, stride=2)
        self.encoder = nn.ModuleList(Level(a, b) for a, b in zip((w[0], *w[:-1]), w, strict=True))
        self.decoder = nn.ModuleList(Level(w[i] + w[i + 1], w[i], config.scse) for i in range(4))
        width, heads = config.text_width, config.heads
        if config.text == "none":
            self.classes: nn.Module = Conv2d(w[0], len(CLASSES), 1)
        else:
            self.fusion = nn.ModuleList(HolisticFusion(w[i], width, heads) for i in FUSED_LEVELS)
            self.classes = ClassEnhancement(w[0], len(CLASSES), width, config.contrast_width)
        self.add_text()

    def forward(self, x: Tensor, prompts: Tensor | None = None) -> ATMOutput:
        """Logits at the size of x."""
        self.check(x, prompts)
        prepared = _PREPARED.find(self, x)
        if prepared is not None:
            try:
                return ATMOutput(*prepared(x, prompts))
            except NotFinite:
                pass
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE))
        text = None if self.config.text == "none" else self.told(len(x), prompts)
        maps = [self.encoder[0](self.stem(padded))]
        for level in list(self.encoder)[1:]:
            maps.append(level(F.max_pool2d(maps[-1], 2)))
        if text is not None:
            for i, fuse in zip(FUSED_LEVELS, self.fusion, strict=True):
                maps[i], text = fuse(maps[i], text)
        d = maps[-1]
        for i in range(3, -1, -1):
            up = F.interpolate(d, scale_factor=2.0, mode="bilinear", align_corners=False)
            d = self.decoder[i](torch.cat([up, maps[i]], 1))
        none = d.new_empty(len(x), 0, self.config.contrast_width)
        logits, u, t = (self.classes(d), none, none) if text is None else self.classes(d, text[:, 1:])
        full = F.interpolate(logits, size=padded.shape[2:], mode="bilinear", align_corners=False)
        return ATMOutput(full[..., :height, :width], u, t)


_PREPARED = Prepared(PreparedATMNet)
