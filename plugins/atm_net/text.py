"""Text encoders: prompts to one vector each.

The paper's is Bio-ClinicalBERT, which `prompt_encoder` takes from a local folder. Ours is part of the network
and knows just the closed vocabulary of the prompts: word and position vectors, one layer of self-attention,
their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from spinecore.nn.sentences import SentenceEncoder

from .config import ATMConfig
from .errors import SliceError
from .prompts import vocabulary

Encode = Callable[[Sequence[str]], Tensor]
LONGEST = 48
PADDING = 0


@cache
def _numbers() -> dict[str, int]:
    return {word: n + 1 for n, word in enumerate(vocabulary())}


def tokens(prompts: Sequence[str]) -> Tensor:
    """(number of prompts, LONGEST) int64 numbers of words, 0 after the last. Unknown words are an error."""
    numbers = _numbers()
    rows = torch.full((len(prompts), LONGEST), PADDING)
    for row, prompt in zip(rows, prompts, strict=True):
        words = prompt.split()
        unknown = [word for word in words if word not in numbers]
        if unknown:
            raise ValueError(f"prompt {prompt!r} has words outside the vocabulary: {', '.join(unknown)}")
        if len(words) > LONGEST:
            raise ValueError(f"prompt {prompt!r} has {len(words)} words, more than {LONGEST}")
        row[: len(words)] = torch.tensor([numbers[word] for word in words])
    return rows


class VocabularyText(nn.Module):
    """(B, P, LONGEST) numbers of words -> (B, P, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.words = nn.Embedding(len(vocabulary()) + 1, width, padding_idx=PADDING)
        self.positions = nn.Parameter(torch.randn(LONGEST, width) * 0.02)
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, prompts: Tensor) -> Tensor:
        """Vectors of the prompts."""
        flat = prompts.flatten(0, 1)
        here = flat != PADDING
        x = self.layer(self.words(flat) + self.positions, src_key_padding_mask=~here)
        weights = here.to(x.dtype).unsqueeze(-1)
        mean = (x * weights).sum(1) / weights.sum(1).clamp_min(1)
        vectors: Tensor = self.norm(mean)
        return vectors.reshape(*prompts.shape[:2], -1)


def prompt_encoder(config: ATMConfig) -> Encode:
    """What turns prompts into the input of a network of `config`: numbers of words, or vectors (P, E) of the
    model in `config.sentence_encoder`, each sentence encoded once.

    Raises:
        PluginError: no such model, no transformers, or vectors of another width; with the remedy.

    """
    if not config.sentence_encoder:
        return tokens
    encoder = SentenceEncoder(Path(config.sentence_encoder))
    known: dict[str, Tensor] = {}

    def encode(prompts: Sequence[str]) -> Tensor:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
        if new:
            known.update(zip(new, torch.from_numpy(encoder(new)), strict=True))
        return torch.stack([known[prompt] for prompt in prompts])

    width = encode(["width"]).shape[1]
    if width != config.sentence_width:
        raise SliceError(
            f"{config.sentence_encoder}: gives vectors of {width} numbers, sentence_width is "
            f"{config.sentence_width}; set it to {width}"
        )
    return encode
