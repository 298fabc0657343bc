"""What every form of ATM-Net shares: its output, and how prompts become vectors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .anatomy import STRUCTURES
from .config import ATMConfig
from .prompts import generic
from .text import LONGEST, VocabularyText, tokens


class ATMOutput(NamedTuple):
    """Logits (B, 4, H, W) or (B, 4, S, H, W) of background, vertebrae, discs, canal; u, t (B, 3, W): class
    channels and prompts as unit vectors, without elements where the network has no text.
    """

    logits: Tensor
    u: Tensor
    t: Tensor


class PromptedNet(nn.Module):
    """Keeps the text encoder and checks what a network is given.

    Prompts are (B, 4, LONGEST) numbers of words, or (B, 4, sentence_width) vectors of a sentence encoder. The
    generic ones are part of the network: without prompts they are taken.
    """

    def __init__(self, config: ATMConfig) -> None:
        super().__init__()
        self.config = config

    def add_text(self) -> None:
        """The parts that read prompts, or stand in their place."""
        width = self.config.text_width
        if self.config.text == "prompts" and self.config.sentence_encoder:
            wide = self.config.sentence_width
            self.text: nn.Module = nn.Sequential(nn.Linear(wide, width), nn.LayerNorm(width))
            self.register_buffer("generic", torch.zeros(1 + len(STRUCTURES), wide))
        elif self.config.text == "prompts":
            self.text = VocabularyText(width, self.config.heads)
            self.register_buffer("generic", tokens(generic()), persistent=False)
        elif self.config.text == "one_hot":
            self.one_hot = nn.Parameter(torch.randn(1 + len(STRUCTURES), width))

    generic: Tensor

    def told(self, batch: int, prompts: Tensor | None) -> Tensor:
        """Vectors (B, 4, width) of the global prompt and those of the structures."""
        if self.config.text == "one_hot":
            return self.one_hot.expand(batch, -1, -1)
        vectors: Tensor = self.text(self.generic[None] if prompts is None else prompts)
        return vectors.expand(batch, -1, -1)

    def check(self, x: Tensor, prompts: Tensor | None) -> None:
        """ValueError for shapes that this network does not take."""
        config = self.config
        if x.dim() != 2 + config.dims or x.shape[1] != config.in_channels or min(x.shape[2:]) < 1:
            sides = "H, W" if config.dims == 2 else "S, H, W"
            raise ValueError(
                f"ATMNet: input has shape {tuple(x.shape)}; give (B, {config.in_channels}, {sides})"
            )
        length = config.sentence_width if config.sentence_encoder else LONGEST
        expected = (len(x), 1 + len(STRUCTURES), length)
        if prompts is not None and tuple(prompts.shape) != expected:
            raise ValueError(f"ATMNet: prompts have shape {tuple(prompts.shape)}; give {expected}, or None")
