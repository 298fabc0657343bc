"""The penalties between two batches against their formulas in float64, for GPU kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from spinecore.ops import cross_decorrelation as operator

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
NAMES = ("penalty", "kept", "statistics", "da", "db")
Run = Callable[..., tuple[Tensor, ...]]


class Case(NamedTuple):
    a: Tensor
    b: Tensor
    grad: Tensor
    normalise: bool


def make_case(
    rows: int,
    width_a: int,
    width_b: int,
    dtype: torch.dtype = torch.float32,
    normalise: bool = False,
    mean: float = 0.0,
    seed: int = 0,
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    a, b = ((torch.randn((rows, w), generator=generator) + mean).to(dtype) for w in (width_a, width_b))
    return Case(a, b, torch.randn((), generator=generator), normalise)


def cases(most_rows: int = 100, most_columns: int = 100) -> st.SearchStrategy[Case]:
    """Any shape, dtype and mean, of either penalty."""
    return st.builds(
        make_case,
        st.integers(1, most_rows),
        st.integers(1, most_columns),
        st.integers(1, most_columns),
        st.sampled_from(DTYPES),
        st.booleans(),
        mean=st.sampled_from([0.0, 2.0]),
        seed=st.integers(0, 2**31),
    )


def results(case: Case, forward: Run, backward: Run) -> tuple[Tensor, ...]:
    """Forward and backward of one implementation, as the operator calls them."""
    penalty, kept, statistics = forward(case.a, case.b)
    return penalty, kept, statistics, *backward(case.a, case.b, case.grad, kept, statistics)


def expected(case: Case) -> tuple[Tensor, ...]:
    """Every result in double precision: the operator's reference, which autograd confirms elsewhere."""
    forward, backward = operator._cross_reference, operator._cross_backward_reference
    if case.normalise:
        forward, backward = operator._orthogonality_reference, operator._orthogonality_backward_reference
    double = case._replace(a=case.a.double(), b=case.b.double(), grad=case.grad.double())
    return results(double, forward, backward)


def _grown(z: Tensor) -> tuple[Tensor, Tensor]:
    """Centred values, and their size with the rounding of the value each was."""
    centred = z - z.mean(0)
    return centred, centred.abs() + z.abs() * 2.0**-12


def _through_norms(gradient: Tensor, centred: Tensor, grown: Tensor) -> Tensor:
    norms = centred.norm(dim=1, keepdim=True)
    scale = 1 / (norms + 1e-6)
    along = (gradient * grown).sum(1, keepdim=True) * scale.square() / norms.masked_fill(norms == 0, 1.0)
    gradient = gradient * scale + grown * along
    return gradient + gradient.mean(0)


def magnitudes(case: Case) -> tuple[Tensor, ...]:
    """What every result would be if nothing cancelled: the scale that rounding errors are measured on."""
    a, b = case.a.double(), case.b.double()
    (centred_a, left), (centred_b, right) = _grown(a), _grown(b)
    grown_a, grown_b = left, right
    rows = len(a)
    divisor = 1 if case.normalise else max(rows - 1, 1)
    statistics = [part.abs().sum(0) / rows for part in (a, a, b, b)]
    if case.normalise:
        norms = [centred.norm(dim=1) for centred in (centred_a, centred_b)]
        left, right = left / (norms[0] + 1e-6)[:, None], right / (norms[1] + 1e-6)[:, None]
        statistics += [grown.norm(dim=1) for grown in (grown_a, grown_b)]
    size = a.shape[1] * b.shape[1]
    scale = 2 * case.grad.double().abs() / (size * divisor)
    product = left.T @ right / divisor
    gram_a, gram_b = left @ left.T / divisor, right @ right.T / divisor
    gram = operator._keeps_gram(a, b)
    kept = torch.cat((gram_a, gram_b)) if gram else product
    penalty = (gram_a * gram_b).sum() / size if gram else product.square().mean()
    da = (gram_b @ left if gram else right @ product.T) * scale
    db = (gram_a @ right if gram else left @ product) * scale
    if case.normalise:
        da, db = _through_norms(da, centred_a, grown_a), _through_norms(db, centred_b, grown_b)
    return penalty, kept, torch.cat(statistics), da, db


def assert_close(case: Case, forward: Run, backward: Run) -> None:
    """Within eight roundings of the magnitude, and one rounding of a half-precision result."""
    got_all = results(case, forward, backward)
    widths = (case.a.shape[1], case.b.shape[1])
    for name, got, want, scale in zip(NAMES, got_all, expected(case), magnitudes(case), strict=True):
        tolerance = 8 * torch.finfo(torch.float32).eps * scale + 1e-30
        if got.dtype in (torch.bfloat16, torch.float16):
            tolerance = tolerance + torch.finfo(got.dtype).eps * want.abs() + torch.finfo(got.dtype).tiny
        value = got.double()
        if name == "statistics":  # the means are split: their parts are compared as sums
            for start, width in ((0, widths[0]), (2 * widths[0], widths[1])):
                value[start : start + width] += value[start + width : start + 2 * width]
                value[start + width : start + 2 * width] = 0.0
        error = (value - want).abs()
        assert bool((error <= tolerance).all()), (
            f"{name}: error {error.max():.3g} over {(error / tolerance).max():.3g} x tolerance"
        )
