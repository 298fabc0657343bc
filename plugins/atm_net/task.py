"""Training of ATM-Net on annotated slices: batches, loss, validation figures, weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from spinecore.weights import write_card

from .augment import random_view
from .build import build
from .config import ATMConfig
from .contrast import contrastive_loss
from .errors import SliceError
from .evaluation import figures
from .loss import dice_focal, present_structures
from .prompted import PromptedNet
from .prompts import described, generic
from .segmenter import Segmenter
from .slice_input import normalise
from .spider import load_slices, split_patients
from .text import prompt_encoder

GENERIC_SHARE = 0.5
"""How often a training image gets the generic prompts, so that the network needs no others (our choice)."""


class SliceTask:
    """Trains ATM-Net on a folder of slices; a share of the patients validates."""

    def __init__(
        self,
        data: Path,
        *,
        config: dict[str, Any] | None = None,
        batch: int = 4,
        seed: int = 1,
        every: int = 3,
    ) -> None:
        try:
            self.config = ATMConfig(**(config or {}))
        except (TypeError, ValueError) as e:
            raise SliceError(f"configuration: {e}") from e
        self.encode = prompt_encoder(self.config)
        self.batch, self.seed = batch, seed
        self.load(data, every)
        self.steps_per_epoch = len(self.train) // batch

    def load(self, data: Path, every: int) -> None:
        """Slices and split."""
        self.slices = load_slices(data)
        self.size = tuple(
            max(side) for side in zip(*(image.shape for image in self.slices.images), strict=True)
        )
        self.training, self.held = split_patients(self.slices.patients)
        self.train = np.array(self.slices.of(self.training))
        self.validation = self.slices.of(self.held)[::every]
        self.enough(data, "slices")

    def enough(self, data: Path, what: str) -> None:
        """SliceError unless there is one batch to train on."""
        if len(self.train) < self.batch:
            raise SliceError(
                f"{data}: {len(self.train)} training {what}, fewer than one batch of {self.batch}"
            )

    def build(self) -> PromptedNet:
        """A freshly initialised model."""
        torch.manual_seed(self.seed)
        model = build(self.config)
        if self.config.text == "prompts" and self.config.sentence_encoder:
            model.generic.copy_(self.encode(generic()))
        return model

    def loss(self, model: PromptedNet, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of batch `step`; order, views and prompts follow from (seed, step)."""
        epoch, at = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.train)
        chosen = order[at * self.batch : (at + 1) * self.batch]
        g = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        x, labels = self.inputs(chosen, g)
        out = model(x, self.prompts(labels, g))
        segmentation = dice_focal(out.logits, labels)
        parts = {"dice_focal": float(segmentation.detach())}
        if self.config.text == "none":
            return segmentation, parts
        ftc = contrastive_loss(
            out.u, out.t, present_structures(labels, out.logits.shape[1]), self.config.temperature
        )
        return segmentation + ftc, {**parts, "ftc": float(ftc.detach())}

    def inputs(self, chosen: NDArray[np.int64], g: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random views of some slices and their labels."""
        images = self._stacked(self.slices.images, chosen)[:, None].float() / 255
        images, labels = random_view(images, self._stacked(self.slices.masks, chosen), g)
        return normalise(images).contiguous(memory_format=torch.channels_last), labels

    def _stacked(self, arrays: Sequence[NDArray[np.uint8]], chosen: NDArray[np.int64]) -> Tensor:
        """Slices of one size: smaller ones get a margin of zeros, which is background."""
        stack = np.zeros((len(chosen), *self.size), np.uint8)
        for to, i in zip(stack, chosen, strict=True):
            height, width = arrays[i].shape
            to[:height, :width] = arrays[i]
        return torch.from_numpy(stack)

    def prompts(self, labels: Tensor, g: torch.Generator) -> Tensor | None:
        """Generic prompts for half of the images, descriptions of the annotation for the others."""
        if self.config.text != "prompts":
            return None
        plain = torch.rand(len(labels), generator=g) < GENERIC_SHARE
        return torch.stack(
            [
                self.encode(generic() if p else described(mask.numpy()))
                for p, mask in zip(plain.tolist(), labels, strict=True)
            ]
        )

    def validate(self, model: PromptedNet) -> dict[str, float]:
        """Dice on slices of held patients, at full size, with generic prompts."""
        segmenter = Segmenter(model)
        found = [segmenter.segment(self.slices.images[i]) for i in self.validation]
        return figures(found, [self.slices.masks[i] for i in self.validation])

    def describe(self) -> dict[str, Any]:
        """What a resumed run must share with the one it goes on."""
        return {
            "config": asdict(self.config),
            "batch": self.batch,
            "seed": self.seed,
            "slices": len(self.train),
            "validation_patients": self.held,
        }

    def save(self, model: PromptedNet, path: Path, figures_of: dict[str, float]) -> None:
        """Write weights as safetensors, atomically, and the card beside them."""
        state = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
        partial = path.with_suffix(".partial")
        save_file(state, partial, metadata={"model": "atm_net", "config": json.dumps(asdict(self.config))})
        partial.replace(path)
        write_card(path, {"model": "atm_net", **self.describe(), "validation": figures_of})


def build_task(data: Path, *, config: dict[str, Any] | None = None, **options: Any) -> SliceTask:
    """Named by the plugin's `ModelSpec.trainer`: slices, or volumes where `config` says dims 3."""
    if (config or {}).get("dims", 2) == 3:
        from .volume_task import VolumeTask

        return VolumeTask(data, config=config, **options)
    return SliceTask(data, config=config, **options)
