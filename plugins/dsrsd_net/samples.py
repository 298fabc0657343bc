"""Samples of several modalities as tensors, whole sets and batches alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import ModalityConfig

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """N samples of M modalities over T steps (T = 1 without sequences).

    Attributes:
        modalities: what `inputs` hold.
        inputs: one tensor a modality, as :class:`ModalityConfig` says.
        present: (N, M) bool.
        valid: (N, T) bool, the steps that exist, the first ones of each row.
        outcome: (N,) class, -1 unknown.
        steps: (N, T) 1 yes, 0 no, -1 unknown or not to be counted.
        group: (N,) number of the person; all rows of a person go to one side of a split.
        domain: (N,) number of the presentation, site or year.
        names: (N,) for people.

    """

    modalities: tuple[ModalityConfig, ...]
    inputs: tuple[Tensor, ...]
    present: Tensor
    valid: Tensor
    outcome: Tensor
    steps: Tensor
    group: Tensor
    domain: Tensor
    names: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = len(self.present)
        sizes = [
            len(x) for x in (*self.inputs, self.valid, self.outcome, self.steps, self.group, self.domain)
        ]
        if any(size != rows for size in sizes) or self.present.shape[1] != len(self.inputs) != 0:
            raise ValueError(f"samples: {rows} rows of presence, but inputs and targets have {sizes}")

    def __len__(self) -> int:
        return len(self.present)

    def take(self, index: Tensor | Index) -> Samples:
        """Some of the samples."""
        at = torch.as_tensor(index, dtype=torch.long)
        names = tuple(self.names[int(i)] for i in at) if self.names else ()
        return replace(
            self,
            inputs=tuple(x[at] for x in self.inputs),
            present=self.present[at],
            valid=self.valid[at],
            outcome=self.outcome[at],
            steps=self.steps[at],
            group=self.group[at],
            domain=self.domain[at],
            names=names,
        )

    def batch(self, index: Tensor | Index) -> Samples:
        """Like `take` without names, cut to the longest sample."""
        got = replace(self, names=()).take(index)
        longest = max(int(got.valid.sum(1).amax()), 1) if len(got) else 1
        if longest == got.valid.shape[1]:
            return got
        inputs = tuple(
            x[:, :longest] if m.stepwise else x for m, x in zip(self.modalities, got.inputs, strict=True)
        )
        return replace(got, inputs=inputs, valid=got.valid[:, :longest], steps=got.steps[:, :longest])

    def only(self, kept: list[int]) -> Samples:
        """Some of the modalities."""
        return replace(
            self,
            modalities=tuple(self.modalities[m] for m in kept),
            inputs=tuple(self.inputs[m] for m in kept),
            present=self.present[:, kept],
        )

    def without(self, modality: int) -> Samples:
        """The same samples with one modality absent."""
        present = self.present.clone()
        present[:, modality] = False
        return replace(self, present=present)

    @property
    def last(self) -> Tensor:
        """(N,) index of the last step."""
        return (self.valid.sum(1) - 1).clamp_min(0)


def hide_modalities(present: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Presence with a share of what is present hidden at random, never all of a sample."""
    if share <= 0:
        return present
    draw = torch.rand(present.shape, generator=generator)
    luckiest = draw.masked_fill(~present, -1.0)
    luckiest = luckiest == luckiest.amax(1, keepdim=True)
    return present & ((draw >= share) | luckiest)


def split_groups(group: Tensor, share: float, seed: int, index: Index | None = None) -> tuple[Index, Index]:
    """Indices of the rest and of a random `share` of the groups; no group is in both."""
    at = np.arange(len(group)) if index is None else index
    numbers = np.asarray(group)[at]
    order = np.random.default_rng(seed).permutation(np.unique(numbers))
    held = np.isin(numbers, order[: max(1, round(len(order) * share))])
    return at[~held], at[held]


def group_folds(
    group: Tensor, count: int, seed: int, outcome: Tensor | None = None
) -> list[tuple[Index, Index]]:
    """(training, test) indices of `count` folds, disjoint in groups; with `outcome`, its classes in even
    shares.

    A group's class is that of its first sample.
    """
    numbers, first = np.unique(np.asarray(group), return_index=True)
    order = np.random.default_rng(seed).permutation(len(numbers))
    if outcome is not None:
        order = order[np.argsort(np.asarray(outcome)[first[order]], kind="stable")]
    folds = [np.isin(np.asarray(group), numbers[order[i::count]]) for i in range(count)]
    return [(np.flatnonzero(~held), np.flatnonzero(held)) for held in folds]
