"""The training task of DSRSD-Net for `spinecore train`: split by person, validation, weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from spinecore.weights import write_card

from .config import DSRSDConfig
from .data.source import load_samples
from .errors import TableError
from .network import DSRSDNet
from .samples import hide_modalities, split_groups
from .study.protocol import figures
from .training import batch_loss, score


def save_weights(model: DSRSDNet, path: Path, card: dict[str, Any]) -> None:
    """Write weights as safetensors, atomically, and the card beside them."""
    state = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={"model": "dsrsd_net", "config": json.dumps(model.config.as_dict())})
    partial.replace(path)
    write_card(path, card)


class SampleTask:
    """Trains DSRSD-Net on samples in memory; a `share` of the people validates."""

    def __init__(
        self,
        source: dict[str, Path | str | None],
        *,
        config: dict[str, Any] | None = None,
        batch: int = 256,
        seed: int = 1,
        share: float = 0.15,
    ) -> None:
        self.samples, self.record = load_samples(**source)  # type: ignore[arg-type]
        several = bool((self.samples.outcome >= 0).any())
        chosen = {
            "modalities": self.samples.modalities,
            "outcomes": len(self.samples.outcomes) if several else 0,
            "next_step": bool((self.samples.steps >= 0).any()),
            **(config or {}),
        }
        try:
            self.config = DSRSDConfig(**chosen)
        except (TypeError, ValueError) as e:
            raise TableError(f"configuration: {e}") from e
        self.train, self.held = split_groups(self.samples.group, share, seed)
        if len(self.train) < 8 or not len(self.held):
            raise TableError(
                f"{len(self.train)} training samples after the split by person; at least 8 are needed"
            )
        self.batch, self.seed = min(batch, len(self.train)), seed
        self.steps_per_epoch = max(1, len(self.train) // self.batch)

    def build(self) -> DSRSDNet:
        """A model whose columns are standardised with the training samples."""
        torch.manual_seed(self.seed)
        model = DSRSDNet(self.config)
        seen = self.samples.take(self.train)
        model.fit_columns(list(seen.inputs), seen.present, seen.valid)
        return model

    def loss(self, model: DSRSDNet, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of batch `step`; order and hidden modalities follow from (seed, step)."""
        epoch, at = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.train)
        batch = self.samples.batch(order[at * self.batch : (at + 1) * self.batch])
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        torch.manual_seed(self.seed * 1_000_003 + step)  # dropout, so that a resumed run repeats
        hidden = hide_modalities(batch.present, self.config.modality_dropout, draw)
        loss, parts = batch_loss(model, replace(batch, present=hidden))
        return loss, {k: float(v) for k, v in parts.items()}

    def validate(self, model: DSRSDNet) -> dict[str, float]:
        """Figures on the held-out people."""
        held = self.samples.take(self.held)
        return {k: v for k, v in figures(held, score(model, held)).items() if np.isfinite(v)}

    def save(self, model: DSRSDNet, path: Path, figures: dict[str, float]) -> None:
        """Weights with a card that says how to read another table alike."""
        known = {
            "outcomes": list(self.samples.outcomes),
            "source": self.record,
            "figures": figures,
            "split": f"by person, {len(self.held)} of {len(self.samples)} samples validate",
        }
        save_weights(model, path, known)

    def describe(self) -> dict[str, Any]:
        """Options and counts."""
        return {
            "config": self.config.as_dict(),
            "samples": len(self.train),
            "validation": len(self.held),
            "batch": self.batch,
            "seed": self.seed,
        }


def sample_task(source: dict[str, Path | str | None], **options: Any) -> SampleTask:
    """Load a table or a set and make the task; `source` as `load_samples` takes it, `options` as
    `SampleTask`.
    """
    return SampleTask(source, **options)
