"""The covariance penalty against its formulas in float64: cases and tolerances for GPU kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from spinecore.ops import covariance_decorrelation as operator

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
NAMES = ("off_diagonal", "hinge", "kept", "moments", "dz")
Run = Callable[..., tuple[Tensor, ...]]


class Case(NamedTuple):
    z: Tensor
    mask: Tensor | None
    gamma: float
    eps: float
    d_off: Tensor
    d_hinge: Tensor


def make_case(
    rows: int,
    width: int,
    dtype: torch.dtype = torch.float32,
    masked: bool = False,
    mean: float = 0.0,
    spread: float = 1.0,
    seed: int = 0,
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn((rows, width), generator=generator) * spread + mean
    mask = torch.rand(rows, generator=generator) < 0.7 if masked else None
    z = z.to(dtype)
    if mask is not None:
        z[~mask] = float("nan")  # rows that do not count may hold anything
    d_off, d_hinge = torch.randn(2, generator=generator)
    return Case(z, mask, 1.0, 1e-4, d_off, d_hinge)


def cases(most_rows: int = 150, most_columns: int = 150) -> st.SearchStrategy[Case]:
    """Any shape, dtype, mask and mean."""
    return st.builds(
        make_case,
        st.integers(1, most_rows),
        st.integers(1, most_columns),
        st.sampled_from(DTYPES),
        st.booleans(),
        mean=st.sampled_from([0.0, 3.0]),
        spread=st.sampled_from([0.3, 1.0, 2.0]),
        seed=st.integers(0, 2**31),
    )


def results(case: Case, forward: Run, backward: Run) -> tuple[Tensor, ...]:
    """Forward and backward of one implementation, as the operator calls them."""
    z, mask, gamma, eps, d_off, d_hinge = case
    off, hinge, kept, moments = forward(z, mask, gamma, eps)
    gradient = backward(z, mask, d_off, d_hinge, kept, moments, gamma, eps)
    return off, hinge, kept, moments, gradient  # type: ignore[return-value]


def _double(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.double()


def expected(case: Case) -> tuple[Tensor, ...]:
    """Every result in double precision: the operator's reference, which autograd confirms elsewhere."""
    double = case._replace(z=case.z.double(), d_off=case.d_off.double(), d_hinge=case.d_hinge.double())
    return results(double, operator._reference, operator._backward_reference)  # type: ignore[arg-type]


def magnitudes(case: Case) -> tuple[Tensor, ...]:
    """What every result would be if nothing cancelled: the scale that rounding errors are measured on."""
    z = case.z.double()
    keep = torch.ones(len(z), dtype=torch.bool) if case.mask is None else case.mask
    z = z.masked_fill(~keep[:, None], 0.0)
    count = max(int(keep.sum()), 1)
    divisor, width = max(count - 1, 1), z.shape[1]
    mean = z.sum(0) / count
    centred = (z - mean).masked_fill(~keep[:, None], 0.0)
    # A centred value keeps the rounding of the value it was.
    grown = centred.abs() + z.abs() * 2.0**-12
    gram = operator._keeps_gram(z)
    kept = (grown @ grown.T if gram else grown.T @ grown) / divisor
    variance = grown.square().sum(0) / divisor
    off = kept.square().sum() / width
    deviation = torch.sqrt(variance + case.eps)
    hinge = (deviation + case.gamma).mean()
    slope = 0.5 / (torch.sqrt(centred.square().sum(0) / divisor + case.eps) * width) * case.d_hinge.abs()
    weight = 2 * case.d_off.double().abs() / width
    product = kept @ grown if gram else grown @ kept
    gradient = (product * weight + grown * (slope + variance * weight)) * 2 / divisor
    moments = torch.stack((z.abs().sum(0) / count, z.abs().sum(0) / count, variance))
    return off, hinge, kept, moments, gradient


def _at_the_kink(case: Case, variance: Tensor) -> Tensor:
    """Columns whose deviation is gamma as far as rounding can tell: their slope is either one."""
    return (torch.sqrt(variance + case.eps) - case.gamma).abs() < 1e-5


def _roundings(case: Case, name: str) -> float | Tensor:
    """What float32 may lose, in eps: eight, and half of one for each term of a sum, the most it can lose
    (Higham, Accuracy and Stability of Numerical Algorithms, 4.2). Means are summed in double, variances may
    be the diagonal of what is kept.
    """
    rows, width = case.z.shape
    if name == "moments":
        return 8.0 + torch.tensor([[0.0], [0.0], [rows / 2]])
    terms = width if operator._keeps_gram(case.z) else rows  # under the sums of what is kept
    own = {"kept": terms / 2, "off_diagonal": float(terms), "hinge": rows / 2, "dz": (rows + width) / 2}
    return 8.0 + own[name]


def assert_close(case: Case, forward: Run, backward: Run) -> None:
    """Within the roundings of its sums, and one rounding of a half-precision result."""
    wanted = expected(case)
    got_all = results(case, forward, backward)
    unsure = _at_the_kink(case, wanted[3][2])
    for name, got, want, scale in zip(NAMES, got_all, wanted, magnitudes(case), strict=True):
        tolerance = _roundings(case, name) * torch.finfo(torch.float32).eps * scale + 1e-30
        if got.dtype in (torch.bfloat16, torch.float16):
            tolerance = tolerance + torch.finfo(got.dtype).eps * want.abs() + torch.finfo(got.dtype).tiny
        error = (got.double() - want).abs()
        if name == "moments":
            error[:2] = (
                (got[0].double() + got[1].double()) - want[0]
            ).abs()  # the mean and what is left of it
        if name == "dz":
            error = error.masked_fill(unsure, 0.0)
        assert bool((error <= tolerance).all()), (
            f"{name}: error {error.max():.3g} over {(error / tolerance).max():.3g} x tolerance"
        )
