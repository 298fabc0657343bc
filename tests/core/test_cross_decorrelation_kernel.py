"""The native penalties between two batches against formulas in float64, under every instruction set of this
machine.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore import _native
from spinecore.testing import assert_calibrated, perturb

ISAS = ("baseline", "avx2", "avx512")
core = _native.core()
THREADS = 1


class Case(NamedTuple):
    a: Tensor
    b: Tensor
    normalise: bool
    grad: float = 1.3


class Result(NamedTuple):
    penalty: Tensor
    da: Tensor
    db: Tensor


def available_isas() -> list[str]:
    compiled = core.info()["isa_compiled"]
    return compiled[: compiled.index(core.info()["isa_best"]) + 1]


def require_isa(isa: str) -> None:
    if isa not in available_isas():
        pytest.skip(f"this machine does not run {isa}")
    core.set_isa(isa)


def make_case(
    rows: int,
    widths: tuple[int, int],
    normalise: bool,
    dtype: torch.dtype,
    seed: int,
    mean: float = 0.5,
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    common = 0.5 * torch.randn((rows, 1), generator=generator)
    a, b = ((torch.randn((rows, w), generator=generator) + common + mean).to(dtype) for w in widths)
    return Case(a, b, normalise)


def keeps_gram(case: Case) -> bool:
    rows, (left, right) = case.a.shape[0], (case.a.shape[1], case.b.shape[1])
    return rows * (left + right) <= left * right


def native(case: Case) -> tuple[Result, Tensor, Tensor]:
    """Forward and backward of the core; everything it must write is NaN beforehand."""
    rows, left, right = *case.a.shape, case.b.shape[1]

    def poisoned(*shape: int) -> Tensor:
        return torch.full(shape, torch.nan)

    penalty = poisoned()
    kept = poisoned(2 * rows, rows) if keeps_gram(case) else poisoned(left, right)
    statistics = poisoned(2 * (left + right) + (2 * rows if case.normalise else 0))
    forward, backward = core.cross_decorrelation_workspaces(rows, left, right, case.normalise)
    inputs = case.a, case.b
    core.cross_decorrelation_forward(*inputs, case.normalise, penalty, kept, statistics, poisoned(forward))
    da, db = (torch.full_like(z, torch.nan) for z in inputs)
    core.cross_decorrelation_backward(
        *inputs, torch.tensor(case.grad), kept, statistics, case.normalise, da, db, poisoned(backward)
    )
    return Result(penalty, da, db), kept, statistics


def autograd(a: Tensor, b: Tensor, case: Case) -> Result:
    a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
    left, right = ((z.float() if z.dtype is torch.bfloat16 else z) for z in (a, b))
    left, right = left - left.mean(0), right - right.mean(0)
    if case.normalise:
        left, right = (z / (z.norm(dim=1, keepdim=True) + 1e-6) for z in (left, right))
        divisor = 1
    else:
        divisor = max(len(a) - 1, 1)
    penalty = (left.T @ right / divisor).square().mean()
    da, db = torch.autograd.grad(penalty * case.grad, [a, b])
    return Result(penalty.detach(), da, db)


def assert_close(case: Case) -> None:
    got, plain = native(case)[0], autograd(case.a, case.b, case)
    oracle = autograd(case.a.double(), case.b.double(), case)
    # Rows of few features cancel in their own norm: enough draws to see how much.
    moved = [autograd(*perturb([case.a, case.b], torch.float32, seed), case) for seed in range(12)]
    for index, name in enumerate(Result._fields):
        assert_calibrated(
            got[index],
            plain[index],
            oracle[index],
            perturbed=[other[index] for other in moved],
            name=f"{name} of {tuple(case.a.shape)}, {tuple(case.b.shape)}",
        )


@given(
    rows=st.integers(3, 150),
    widths=st.tuples(st.integers(2, 150), st.integers(2, 150)),
    normalise=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    mean=st.sampled_from([0.0, 3.0]),
    isa=st.sampled_from(available_isas()),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=120, deadline=None)
def test_any_shape_matches_float64(
    rows: int,
    widths: tuple[int, int],
    normalise: bool,
    dtype: torch.dtype,
    mean: float,
    isa: str,
    seed: int,
) -> None:
    core.set_isa(isa)
    assert_close(make_case(rows, widths, normalise, dtype, seed, mean))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("rows", "widths"),
    [
        (2300, (70, 33)),
        (500, (65, 300)),
        (97, (128, 64)),
        (64, (200, 130)),
        (65, (140, 700)),
        (130, (300, 261)),
        (2, (4, 3)),
        (5, (1, 9)),
    ],
)
def test_every_path_of_the_kernels(isa: str, rows: int, widths: tuple[int, int]) -> None:
    """Slabs, several blocks of the sum, wide and tall tiles, both forms, both penalties, both types."""
    require_isa(isa)
    for dtype, normalise in itertools.product((torch.float32, torch.bfloat16), (False, True)):
        if not normalise or min(widths) > 1:  # rows of one feature are all 1 or -1
            assert_close(make_case(rows, widths, normalise, dtype, seed=1))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(("rows", "widths"), [(300, (40, 30)), (40, (100, 150))])
def test_a_large_mean_costs_no_digits(isa: str, normalise: bool, rows: int, widths: tuple[int, int]) -> None:
    """Rows are centred exactly: the error is that of features without a mean, not of the mean's digits."""
    require_isa(isa)
    case = make_case(rows, widths, normalise, torch.float32, seed=2, mean=10000.0)
    got, want = native(case)[0], autograd(case.a.double(), case.b.double(), case)
    for name, actual, expected in zip(Result._fields, got, want, strict=True):
        assert (actual.double() - expected).norm() / expected.norm() < 2e-6, name


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(("rows", "widths"), [(150, (70, 40)), (40, (100, 130))])
def test_what_is_kept_is_what_is_documented(
    isa: str, normalise: bool, rows: int, widths: tuple[int, int]
) -> None:
    require_isa(isa)
    case = make_case(rows, widths, normalise, torch.float32, seed=3)
    _, kept, statistics = native(case)
    centred = [z.double() - z.double().mean(0) for z in (case.a, case.b)]
    norms = [z.norm(dim=1) for z in centred]
    left, right = (
        z / (norm[:, None] + 1e-6) if normalise else z for z, norm in zip(centred, norms, strict=True)
    )
    wanted = torch.cat([left @ left.T, right @ right.T]) if keeps_gram(case) else left.T @ right
    wanted = wanted / (1 if normalise else rows - 1)
    torch.testing.assert_close(kept.double(), wanted, rtol=1e-5, atol=1e-5)
    parts = statistics.double().split([w for w in widths for _ in range(2)] + [rows] * 2 * normalise)
    for mean, rest, z in zip(parts[:4:2], parts[1:4:2], (case.a, case.b), strict=True):
        torch.testing.assert_close(mean + rest, z.double().mean(0), rtol=1e-6, atol=1e-6)
    if normalise:
        torch.testing.assert_close(torch.stack(parts[4:]), torch.stack(norms), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("widths", [(3, 2), (12, 9)])
def test_one_row_has_no_penalty_and_zero_rows_no_direction(
    isa: str, normalise: bool, widths: tuple[int, int]
) -> None:
    require_isa(isa)
    for rows in (1, 4):
        case = Case(torch.full((rows, widths[0]), 3.0), torch.full((rows, widths[1]), -7.0), normalise)
        result = native(case)[0]
        assert float(result.penalty) == 0
        assert (result.da == 0).all()
        assert (result.db == 0).all()


@given(
    value=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    where=st.integers(0, 10**6),
    normalise=st.booleans(),
    shape=st.sampled_from([(20, 7, 5), (70, 66, 30), (6, 13, 20), (1, 4, 3)]),
    isa=st.sampled_from(available_isas()),
)
@settings(max_examples=60, deadline=None)
def test_values_that_are_not_finite_propagate_like_torch(
    value: float, where: int, normalise: bool, shape: tuple[int, int, int], isa: str
) -> None:
    core.set_isa(isa)
    case = make_case(shape[0], shape[1:], normalise, torch.float32, seed=5)
    case.a.view(-1)[where % case.a.numel()] = value
    for got, want in zip(native(case)[0], autograd(case.a, case.b, case), strict=True):
        assert torch.equal(got.isfinite(), want.isfinite())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "widths"), [(3000, (65, 64)), (400, (200, 300)), (90, (400, 300))])
def test_bitwise_equal_for_any_number_of_threads(
    isa: str, normalise: bool, dtype: torch.dtype, rows: int, widths: tuple[int, int]
) -> None:
    require_isa(isa)
    case = make_case(rows, widths, normalise, dtype, seed=9)
    first, *others = native(case)
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        again, *more = native(case)
        for got, want in zip((*again, *more), (*first, *others), strict=True):
            assert torch.equal(got, want), f"differs with {threads} threads"


def test_wrong_arguments_are_named() -> None:
    case = make_case(9, (6, 4), True, torch.float32, seed=0)
    good = {
        "a": case.a,
        "b": case.b,
        "normalise": True,
        "penalty": torch.empty(()),
        "kept": torch.empty(6, 4),
        "statistics": torch.empty(2 * 10 + 2 * 9),
        "workspace": torch.empty(core.cross_decorrelation_workspaces(9, 6, 4, True)[0]),
    }
    core.cross_decorrelation_forward(**good)
    for name, value, message in [
        ("a", torch.zeros(6), "'a' has 1 dimensions"),
        ("b", case.b.double(), "'b' is torch.float64"),
        ("b", case.b.bfloat16(), "'a' and 'b' have two dtypes"),
        ("b", case.b[:-1], r"'b' has shape \(8, 4\), expected \(9, 4\)"),
        ("kept", torch.empty(4, 6), r"'kept' has shape \(4, 6\), expected \(6, 4\)"),
        ("statistics", torch.empty(20), r"'statistics' has shape \(20,\), expected \(38,\)"),
        ("workspace", torch.empty(3), "'workspace' has 3 elements, expected at least"),
        ("kept", case.a.view(-1)[:24].view(6, 4), "share"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            core.cross_decorrelation_forward(**{**good, name: value})
    with pytest.raises(ValueError, match="must not be negative"):
        core.cross_decorrelation_workspaces(-1, 3, 3, False)
