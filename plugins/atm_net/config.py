"""Configuration of ATM-Net. Every size here is our choice; the paper's abstract names the parts only."""

from __future__ import annotations

from dataclasses import dataclass

STRIDE = 32
"""Both sides of an input are padded to multiples of this: five levels and a stem of stride 2."""

FUSED_LEVELS = (2, 3, 4)
"""Where text and image meet: strides 8, 16 and 32."""

TEXT_MODES = ("prompts", "one_hot", "none")
BACKBONES = ("light", "swin_unetr")


@dataclass(frozen=True)
class ATMConfig:
    """Sizes and ablation switches of ATM-Net.

    Attributes:
        in_channels: channels of a slice; 1 for T1 or T2.
        widths: channels of the five levels, at strides 2, 4, 8, 16 and 32.
        text_width: width of prompt tokens and of text-image attention.
        heads: attention heads, a divisor of text_width.
        contrast_width: width of the space where class channels and prompts are compared.
        temperature: of the contrastive loss.
        dims: 2 for slices, 3 for patches of volumes.
        backbone: "light", convolutions that train on two cores, or "swin_unetr", MONAI's, as in the paper.
        feature_size: of Swin UNETR; a multiple of 12, 48 in its paper.
        patch: slices, rows and columns that a volume is cut into, for dims 3.
        sentence_encoder: folder of a transformers model that reads the prompts (the paper: Bio-ClinicalBERT);
            empty: the built-in encoder of the closed vocabulary. It is needed where prompts are not generic.
        sentence_width: numbers of its vectors; 768 for BERT-base.
        text: "prompts"; "one_hot" gives every class a learned vector in place of its prompt; "none" removes
            text, fusion and contrast (the backbone alone).
        scse: SCSE gates in the decoder.

    """

    in_channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 128, 192)
    text_width: int = 64
    heads: int = 4
    contrast_width: int = 64
    temperature: float = 0.07
    text: str = "prompts"
    scse: bool = True
    dims: int = 2
    backbone: str = "light"
    feature_size: int = 24
    patch: tuple[int, int, int] = (8, 192, 192)
    sentence_encoder: str = ""
    sentence_width: int = 768

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # a list is what a JSON configuration holds
        if len(self.widths) != 5 or any(w < 1 for w in self.widths):
            raise ValueError(f"ATMConfig: widths is {self.widths}; give five numbers of channels")
        if self.heads < 1 or self.text_width % self.heads:
            raise ValueError(f"ATMConfig: heads={self.heads} must divide text_width={self.text_width}")
        if self.text not in TEXT_MODES:
            raise ValueError(f"ATMConfig: text is {self.text!r}; use one of {', '.join(TEXT_MODES)}")
        object.__setattr__(self, "patch", tuple(self.patch))
        if self.dims not in (2, 3):
            raise ValueError(f"ATMConfig: dims is {self.dims}; give 2 for slices or 3 for volumes")
        if self.backbone not in BACKBONES:
            raise ValueError(f"ATMConfig: backbone is {self.backbone!r}; use one of {', '.join(BACKBONES)}")
        if self.feature_size < 12 or self.feature_size % 12:
            raise ValueError(f"ATMConfig: feature_size is {self.feature_size}; give a multiple of 12")
        if len(list(self.patch)) != 3 or min(self.patch) < 1:
            raise ValueError(f"ATMConfig: patch is {self.patch}; give slices, rows and columns")
        if self.sentence_width < 1:
            raise ValueError(f"ATMConfig: sentence_width is {self.sentence_width}; give a number > 0")
        if not self.temperature > 0:
            raise ValueError(f"ATMConfig: temperature is {self.temperature}; give a number > 0")
