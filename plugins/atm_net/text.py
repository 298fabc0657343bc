"""Text encoders: prompts to one vector each.

The paper's is Bio-ClinicalBERT. Ours ships and knows just the closed vocabulary of the prompts: word and position
vectors, one layer of self-attention, their mean. `TransformersText` takes a local model instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

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
        self.layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, prompts: Tensor) -> Tensor:
        """Vectors of the prompts."""
        flat = prompts.flatten(0, 1)
        here = flat != PADDING
        x = self.layer(self.words(flat) + self.positions, src_key_padding_mask=~here)
        weights = here.to(x.dtype).unsqueeze(-1)
        mean = (x * weights).sum(1) / weights.sum(1).clamp_min(1)
        result: Tensor = self.norm(mean)
        return result.unflatten(0, prompts.shape[:2])


class TransformersText:
    """Prompts through a frozen model of `transformers` from a local folder, averaged over words: (P, its width)."""

    def __init__(self, folder: Path) -> None:
        try:
            from transformers import AutoModel, AutoTokenizer  # type: ignore[import-not-found, unused-ignore]
        except ImportError as e:
            raise RuntimeError("text of a transformers model needs `pip install transformers`") from e
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; give a model saved with save_pretrained")
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model: Any = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Vectors (P, width) of the prompts."""
        given = self.tokenizer(list(prompts), return_tensors="pt", padding=True, truncation=True, max_length=77)
        states: Tensor = self.model(**given).last_hidden_state
        weights = given["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)
