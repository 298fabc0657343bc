"""Text encoders: prompts to one vector each.

The paper's is Bio-ClinicalBERT. Ours is part of the network and knows just the closed vocabulary of the
prompts: word and position vectors, one layer of self-attention, their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from .prompts import vocabulary

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
