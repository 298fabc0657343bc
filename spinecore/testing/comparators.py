"""Comparators for numerical results.

A tolerance written down by hand is either too loose to find a bug or too tight for another dtype. Here the
tolerance comes from PyTorch itself: the error of what is tested, against a double-precision oracle, may be
``factor`` times the error that plain PyTorch makes in the same dtype. Gradients are compared as vectors, so
that a few outliers cannot hide a bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class VectorError(NamedTuple):
    """How a tensor differs from the one expected, both seen as vectors.

    Attributes:
        relative_l2: ||actual - expected|| / ||expected||; with nothing expected, ||actual||.
        cosine: Cosine of the angle between them; 1 where both are zero.
        signed_bias: sum((actual - expected) * sign(expected)) / sum(|expected|): negative where the whole is
            shrunk. A pile of rounding errors has almost none, a forgotten term has much.

    """

    relative_l2: float
    cosine: float
    signed_bias: float


def vector_error(actual: Tensor, expected: Tensor) -> VectorError:
    """The three errors of ``actual``, in double precision.

    Raises:
        AssertionError: The shapes differ, or a value is not finite where the expected one is.

    """
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {tuple(actual.shape)} instead of {tuple(expected.shape)}")
    got, wanted = actual.detach().double().flatten(), expected.detach().double().flatten()
    broken = int((~torch.isfinite(got) & torch.isfinite(wanted)).sum())
    if broken:
        raise AssertionError(f"{broken} of {got.numel()} elements are not finite")
    norm, difference = float(wanted.norm()), float((got - wanted).norm())
    size = float(got.norm())
    if norm == 0.0:
        return VectorError(size, 1.0 if size == 0.0 else 0.0, 0.0)
    cosine = float(got @ wanted) / (size * norm) if size else 0.0
    bias = float(((got - wanted) * wanted.sign()).sum()) / float(wanted.abs().sum())
    return VectorError(difference / norm, cosine, bias)


def assert_gradient_close(
    actual: Tensor,
    expected: Tensor,
    *,
    max_relative_l2: float,
    min_cosine: float | None = None,
    max_signed_bias: float | None = None,
    name: str = "gradient",
) -> None:
    """Fail where a gradient is not the expected vector.

    Args:
        actual: The gradient under test.
        expected: The right one, usually in double precision.
        max_relative_l2: Bound on the relative L2 error.
        min_cosine: Bound on the cosine; by default what the L2 bound implies, 1 - max_relative_l2^2.
        max_signed_bias: Bound on the absolute signed bias; by default the L2 bound.
        name: What the message calls it.

    """
    error = vector_error(actual, expected)
    least = 1 - max_relative_l2**2 if min_cosine is None else min_cosine
    most = max_relative_l2 if max_signed_bias is None else max_signed_bias
    # A cosine near 1 is itself only known to a few units of double precision.
    if error.relative_l2 > max_relative_l2 or error.cosine < least - 1e-14 or abs(error.signed_bias) > most:
        raise AssertionError(
            f"{name}: relative L2 {error.relative_l2:.3g} (allowed {max_relative_l2:.3g}), "
            f"cosine {error.cosine:.9f} (at least {least:.9f}), signed bias {error.signed_bias:.3g} "
            f"(allowed {most:.3g})"
        )


def assert_calibrated(
    actual: Tensor,
    baseline: Tensor,
    oracle: Tensor,
    *,
    perturbed: Sequence[Tensor] = (),
    factor: float = 2.0,
    floor_ulps: float = 8.0,
    name: str = "output",
) -> None:
    """Fail where ``actual`` is further from the oracle than ``factor`` times plain PyTorch in the same dtype.

    Args:
        actual: What is tested.
        baseline: Plain PyTorch in the same dtype.
        oracle: The same in double precision.
        perturbed: The oracle again, its inputs moved by a few units in the last place of the dtype
            (:func:`perturb`): how hard the problem is. What such inputs change, any implementation may
            change, ``factor`` times. This covers sums that cancel and units whose sign rounding flips, where
            plain PyTorch may be right by luck.
        factor: How much worse than PyTorch is allowed.
        floor_ulps: An error of so many units in the last place of the dtype is always allowed.
        name: What the message calls it.

    The vector error and the largest absolute error are both held to it; the floor is relative to the oracle's
    norm and to its largest value.

    """
    if oracle.numel() == 0:
        vector_error(actual, oracle)
        return
    epsilon = torch.finfo(actual.dtype).eps
    others = (baseline, *perturbed)
    allowed = factor * max(vector_error(other, oracle).relative_l2 for other in others) + floor_ulps * epsilon
    assert_gradient_close(actual, oracle, max_relative_l2=allowed, name=name)
    truth = oracle.double()
    worst = float((actual.double() - truth).abs().max())
    scale = float(truth.abs().max())
    limit = factor * max(float((other.double() - truth).abs().max()) for other in others)
    limit += floor_ulps * epsilon * scale
    if worst > limit:
        raise AssertionError(
            f"{name}: largest error {worst:.3g}, allowed {limit:.3g} (largest value {scale:.3g})"
        )


def perturb(args: Sequence[Any], dtype: torch.dtype, seed: int, ulps: float = 4.0) -> list[Any]:
    """The arguments in double precision, every floating-point element moved by up to ``ulps`` units in the
    last place of ``dtype``.
    """
    generator = torch.Generator().manual_seed(seed)
    moved: list[Any] = []
    for value in args:
        if isinstance(value, Tensor) and value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator, dtype=torch.float64) * 2 - 1
            moved.append(value.double() * (1 + ulps * torch.finfo(dtype).eps * noise.to(value.device)))
        else:
            moved.append(value)
    return moved
