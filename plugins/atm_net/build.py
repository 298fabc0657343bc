"""The form of ATM-Net that a configuration asks for."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .anatomy import CLASSES
from .backbones import LightVolume, SwinBackbone
from .config import ATMConfig
from .contrast import ClassEnhancement
from .fusion import HolisticFusion
from .network import ATMNet
from .prompted import ATMOutput, PromptedNet


class BackboneNet(PromptedNet):
    """ATM-Net around any backbone, on slices (B, C, H, W) or volumes (B, C, S, H, W) -> `ATMOutput`."""

    def __init__(self, config: ATMConfig) -> None:
        super().__init__(config)
        chosen = SwinBackbone(config) if config.backbone == "swin_unetr" else LightVolume(config)
        self.backbone = chosen
        convolution = nn.Conv2d if config.dims == 2 else nn.Conv3d
        if config.text == "none":
            self.classes: nn.Module = convolution(chosen.channels, len(CLASSES), 1)
        else:
            width = config.text_width
            self.fusion = nn.ModuleList(HolisticFusion(w, width, config.heads) for w in chosen.widths)
            self.classes = ClassEnhancement(
                chosen.channels, len(CLASSES), width, config.contrast_width, config.dims
            )
        self.add_text()

    def forward(self, x: Tensor, prompts: Tensor | None = None) -> ATMOutput:
        """Logits at the size of x."""
        self.check(x, prompts)
        maps = self.backbone.encode(x)
        if self.config.text == "none":
            logits = self.classes(self.backbone.decode(x, maps))
            u = t = logits.new_empty(len(x), 0, self.config.contrast_width)
        else:
            text = self.told(len(x), prompts)
            for i, fuse in zip(self.backbone.fused, self.fusion, strict=True):
                maps[i], text = fuse(maps[i], text)
            logits, u, t = self.classes(self.backbone.decode(x, maps), text[:, 1:])
        return ATMOutput(_resized(logits, x, self.backbone.stride), u, t)


def _resized(logits: Tensor, x: Tensor, stride: int) -> Tensor:
    """Logits at the size of x, from those of x padded, taken every `stride` pixels within slices."""
    if stride > 1:
        flat = logits.transpose(1, 2).flatten(0, 1) if x.dim() == 5 else logits
        flat = F.interpolate(flat, scale_factor=float(stride), mode="bilinear", align_corners=False)
        logits = flat.view(len(x), -1, *flat.shape[1:]).transpose(1, 2) if x.dim() == 5 else flat
    if x.dim() == 5:
        logits = logits[:, :, : x.shape[2]]
    return logits[..., : x.shape[-2], : x.shape[-1]]


def build(config: ATMConfig) -> PromptedNet:
    """Named by the plugin's `ModelSpec.build`."""
    return ATMNet(config) if config.backbone == "light" and config.dims == 2 else BackboneNet(config)
