"""A small configuration and input with which the model is checked."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import DSRSDConfig, ModalityConfig

SMALL = DSRSDConfig(
    modalities=(
        ModalityConfig("profile", "vector", numeric=3, categories=(4,)),
        ModalityConfig("events", "sequence", numeric=2, categories=(5, 3)),
        ModalityConfig("notes", "text", vocabulary=11),
    ),
    width=16,
    factors=8,
    sequence="attention",
    next_step=True,
)


def example_inputs() -> tuple[DSRSDConfig, tuple[Tensor, ...]]:
    """A configuration that runs in milliseconds, and inputs for it: a modality missing, sequences of unequal
    length.
    """
    g = torch.Generator().manual_seed(0)
    steps = 5

    def codes(size: int, *shape: int) -> Tensor:
        return torch.randint(0, size, shape, generator=g).float()

    profile = torch.cat((torch.randn(4, 3, generator=g), codes(4, 4, 1)), -1)
    events = torch.cat(
        (torch.randn(4, steps, 2, generator=g), codes(5, 4, steps, 1), codes(3, 4, steps, 1)), -1
    )
    present = torch.tensor(
        [[True, True, True], [True, False, True], [False, True, True], [True, True, False]]
    )
    valid = torch.arange(steps) < torch.tensor([[5], [3], [1], [4]])
    return SMALL, (present, valid, profile, events, codes(11, 4, 6))
