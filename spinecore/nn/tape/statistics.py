"""Running statistics of batch normalisations on a tape: all moved at the end of the forward.

What is not finite on the way ends the run before, and leaves them as they are for the plain form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spinecore.nn.members import NotPreparable
from spinecore.ops.recording import run

from .values import Value


class Statistics(NamedTuple):
    """Of one normalisation: what is kept of all batches, and what this batch adds.

    What is kept is given past its version counter, as PyTorch's normalisation writes it: graphs of the plain
    form hold it too, and only look at it where it is fixed.
    """

    kept_mean: Tensor
    kept_variance: Tensor
    mean: Tensor
    variance: Tensor
    unbiased: float  # factor of the variance
    momentum: float
    batches: Tensor | None  # how many there were


def unbiased(x: Value) -> float:
    """From the variance of all pixels, as divided by their number, to that divided by one less."""
    pixels = x.numel() // x.shape[1]
    if pixels < 2:
        raise NotPreparable("a normalisation of one pixel has no form on a tape")
    return pixels / (pixels - 1)


def of_norm(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, factor: float) -> Statistics:
    """Of a module of PyTorch that tracks them."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    kept = (norm.running_mean.data, norm.running_var.data)
    return Statistics(*kept, mean, variance, factor, norm.momentum, norm.num_batches_tracked)


def note(all_of_them: Sequence[Statistics]) -> None:
    """Note their move, those of one momentum together."""
    for momentum in sorted({entry.momentum for entry in all_of_them}):
        entries = [entry for entry in all_of_them if entry.momentum == momentum]
        run(
            _move,
            tuple(entry.kept_mean for entry in entries),
            tuple(entry.kept_variance for entry in entries),
            tuple(entry.mean for entry in entries),
            tuple(entry.variance for entry in entries),
            [entry.unbiased for entry in entries],
            momentum,
            tuple(entry.batches for entry in entries if entry.batches is not None),
        )


def _move(
    kept_means: tuple[Tensor, ...],
    kept_variances: tuple[Tensor, ...],
    means: tuple[Tensor, ...],
    variances: tuple[Tensor, ...],
    factors: list[float],
    momentum: float,
    counts: tuple[Tensor, ...],
) -> None:
    torch._foreach_mul_(variances, factors)
    torch._foreach_lerp_(kept_means, means, momentum)
    torch._foreach_lerp_(kept_variances, variances, momentum)
    if counts:
        torch._foreach_add_(counts, 1)
