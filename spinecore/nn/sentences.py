"""Sentences to vectors by a transformers model from a local folder; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spinecore.registry import PluginError


class SentenceEncoder:
    """A frozen encoder such as Bio-ClinicalBERT (768 numbers) or all-MiniLM-L6-v2 (384).

    Args:
        folder: config.json, weights as safetensors, tokenizer.

    Raises:
        PluginError: transformers is missing, or the folder holds no such model; with the remedy.

    """

    def __init__(self, folder: Path) -> None:
        try:
            import transformers
        except ImportError as e:
            raise PluginError(
                f"{folder}: a sentence encoder needs transformers; install it with "
                "pip install 'spinecore-torch[text]', or use the built-in encoder"
            ) from e
        if not folder.is_dir():
            raise PluginError(f"{folder}: no such folder; give one with config.json, weights and tokenizer")
        try:
            auto: Any = transformers
            self.tokenizer = auto.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            self.model = auto.AutoModel.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True
            ).eval()
        except (OSError, ValueError) as e:
            raise PluginError(
                f"{folder}: not a transformers model with safetensors weights ({str(e)[:200]})"
            ) from e

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, E) unit vectors: means over the tokens."""
        with torch.no_grad():
            batch = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
            hidden = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            found: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return found
