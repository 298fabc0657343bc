"""What a plugin model brings to be trained by `spinecore train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


class TrainingTask(Protocol):
    """A model with its data and loss. Everything random follows from (seed, step): a resumed run repeats."""

    steps_per_epoch: int

    def build(self) -> nn.Module:
        """A freshly initialised model."""
        ...

    def loss(self, model: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of batch number `step` (from 0) and its parts for the log."""
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Figures on the validation part; `model` is in eval mode."""
        ...

    def save(self, model: nn.Module, path: Path, figures: dict[str, float]) -> None:
        """Write weights with their card."""
        ...

    def describe(self) -> dict[str, Any]:
        """Options, split and counts, JSON-ready, for RUN/config.json."""
        ...
