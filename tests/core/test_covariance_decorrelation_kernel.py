"""The native covariance penalty against formulas in float64, under every instruction set of this machine."""

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
GAMMA, EPS = 1.0, 1e-4
core = _native.core()
THREADS = 1


class Case(NamedTuple):
    z: Tensor
    mask: Tensor | None
    d_off_diagonal: float
    d_hinge: float


class Result(NamedTuple):
    off_diagonal: Tensor
    hinge: Tensor
    dz: Tensor


def available_isas() -> list[str]:
    compiled = core.info()["isa_compiled"]
    return compiled[: compiled.index(core.info()["isa_best"]) + 1]


def require_isa(isa: str) -> None:
    if isa not in available_isas():
        pytest.skip(f"this machine does not run {isa}")
    core.set_isa(isa)


def make_case(
    rows: int, width: int, dtype: torch.dtype, seed: int, *, masked: bool = False, mean: float = 0.5
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    common = 0.3 * torch.randn((rows, 1), generator=generator)
    z = (torch.randn((rows, width), generator=generator) + common + mean).to(dtype)
    mask = None
    if masked:
        mask = torch.rand(rows, generator=generator) > 0.3
        mask[: min(rows, 2)] = True
        z[~mask] = torch.nan
    return Case(z, mask, 1.3, -0.7)


def native(case: Case) -> tuple[Result, Tensor, Tensor]:
    """Forward and backward of the core; everything it must write is NaN beforehand."""
    rows, width = case.z.shape
    side = rows if 2 * rows <= width else width

    def poisoned(*shape: int) -> Tensor:
        return torch.full(shape, torch.nan)

    off_diagonal, hinge, kept, moments = poisoned(), poisoned(), poisoned(side, side), poisoned(3, width)
    mask = torch.empty(0) if case.mask is None else case.mask.float()
    forward, backward = core.covariance_workspaces(rows, width)
    core.covariance_forward(case.z, mask, GAMMA, EPS, off_diagonal, hinge, kept, moments, poisoned(forward))
    dz = torch.full_like(case.z, torch.nan)
    grads = torch.tensor(case.d_off_diagonal), torch.tensor(case.d_hinge)
    core.covariance_backward(case.z, mask, *grads, kept, moments, GAMMA, EPS, dz, poisoned(backward))
    return Result(off_diagonal, hinge, dz), kept, moments


def autograd(z: Tensor, case: Case) -> Result:
    z = z.detach().requires_grad_()
    used = z if case.mask is None else z[case.mask]
    if used.dtype is torch.bfloat16:
        used = used.float()
    centred = used - used.mean(0)
    rows, width = used.shape
    covariance = centred.T @ centred / max(rows - 1, 1)
    variance = covariance.diagonal()
    off_diagonal = (covariance - torch.diag(variance)).square().sum() / width
    hinge = torch.relu(GAMMA - torch.sqrt(variance + EPS)).mean()
    (dz,) = torch.autograd.grad(off_diagonal * case.d_off_diagonal + hinge * case.d_hinge, [z])
    return Result(off_diagonal.detach(), hinge.detach(), dz)


def assert_close(case: Case) -> None:
    got, oracle, plain = native(case)[0], autograd(case.z.double(), case), autograd(case.z, case)
    clean = case.z if case.mask is None else case.z.masked_fill(~case.mask[:, None], 0.0)
    moved = [autograd(perturb([clean], torch.float32, seed)[0], case) for seed in range(12)]
    for index, name in enumerate(Result._fields):
        assert_calibrated(
            got[index],
            plain[index],
            oracle[index],
            perturbed=[other[index] for other in moved],
            name=f"{name} of {tuple(case.z.shape)}",
        )


@given(
    rows=st.integers(2, 150),
    width=st.integers(1, 150),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    masked=st.booleans(),
    mean=st.sampled_from([0.0, 3.0]),
    isa=st.sampled_from(available_isas()),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=120, deadline=None)
def test_any_shape_matches_float64(
    rows: int, width: int, dtype: torch.dtype, masked: bool, mean: float, isa: str, seed: int
) -> None:
    core.set_isa(isa)
    assert_close(make_case(rows, width, dtype, seed, masked=masked, mean=mean))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "shape",
    [
        (2500, 70),
        (700, 129),
        (300, 256),
        (100, 64),
        (97, 200),
        (65, 130),
        (33, 700),
        (130, 261),
        (1, 5),
        (2, 4),
    ],
)
def test_every_path_of_the_kernels(isa: str, shape: tuple[int, int]) -> None:
    """Slabs, several blocks of the sum, tiles on and off the diagonal, both forms, masks, both types."""
    require_isa(isa)
    for dtype, masked in itertools.product((torch.float32, torch.bfloat16), (False, True)):
        assert_close(make_case(*shape, dtype, seed=1, masked=masked))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(300, 40), (40, 100)])
def test_a_large_mean_costs_no_digits(isa: str, shape: tuple[int, int]) -> None:
    """Rows are centred exactly: the error is that of features without a mean, not of the mean's digits."""
    require_isa(isa)
    case = make_case(*shape, torch.float32, seed=2, mean=10000.0)
    got, want = native(case)[0], autograd(case.z.double(), case)
    error = (got.dz.double() - want.dz).norm() / want.dz.norm()
    assert error < 2e-6
    assert abs(float(got.off_diagonal) / float(want.off_diagonal) - 1) < 2e-6


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(150, 70), (40, 100)])
def test_what_is_kept_is_what_is_documented(isa: str, shape: tuple[int, int]) -> None:
    require_isa(isa)
    case = make_case(*shape, torch.float32, seed=3, masked=True)
    _, kept, moments = native(case)
    assert case.mask is not None
    z = case.z.double()
    used = z[case.mask]
    centred = torch.where(case.mask[:, None], z - used.mean(0), 0.0)
    matrix = centred @ centred.T if 2 * shape[0] <= shape[1] else centred.T @ centred
    torch.testing.assert_close(kept.double(), matrix / (len(used) - 1), rtol=1e-5, atol=1e-6)
    assert torch.equal(kept, kept.T)
    torch.testing.assert_close(moments[0].double() + moments[1].double(), used.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(moments[2].double(), used.var(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(5, 3), (5, 12), (1, 3), (1, 1)])
def test_fewer_than_two_rows_have_no_covariance(isa: str, shape: tuple[int, int]) -> None:
    require_isa(isa)
    for keep in (0, 1):
        mask = torch.arange(shape[0]) < keep
        result = native(Case(torch.randn(shape) + 3, mask, 1.0, 1.0))[0]
        assert float(result.off_diagonal) == 0
        assert float(result.hinge) == pytest.approx(0.99)
        assert (result.dz == 0).all()


@given(
    value=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    where=st.integers(0, 10**6),
    shape=st.sampled_from([(20, 7), (70, 66), (6, 13), (1, 4), (30, 1)]),
    isa=st.sampled_from(available_isas()),
)
@settings(max_examples=60, deadline=None)
def test_values_that_are_not_finite_propagate_like_torch(
    value: float, where: int, shape: tuple[int, int], isa: str
) -> None:
    core.set_isa(isa)
    case = make_case(*shape, torch.float32, seed=5)
    case.z.view(-1)[where % case.z.numel()] = value
    for got, want in zip(native(case)[0], autograd(case.z, case), strict=True):
        assert torch.equal(got.isfinite(), want.isfinite())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3000, 65), (700, 200), (90, 400)])
def test_bitwise_equal_for_any_number_of_threads(
    isa: str, dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    require_isa(isa)
    case = make_case(*shape, dtype, seed=9)
    first, kept, moments = native(case)
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        again, *others = native(case)
        for got, want in zip((*again, *others), (*first, kept, moments), strict=True):
            assert torch.equal(got, want), f"differs with {threads} threads"


def test_wrong_arguments_are_named() -> None:
    case = make_case(6, 4, torch.float32, seed=0)
    outputs = {
        "off_diagonal": torch.empty(()),
        "hinge": torch.empty(()),
        "kept": torch.empty(4, 4),
        "moments": torch.empty(3, 4),
        "workspace": torch.empty(core.covariance_workspaces(6, 4)[0]),
    }
    good = {"z": case.z, "mask": torch.empty(0), "gamma": GAMMA, "eps": EPS, **outputs}
    core.covariance_forward(**good)
    for name, value, message in [
        ("z", torch.zeros(6), "'z' has 1 dimensions"),
        ("z", case.z.double(), "'z' is torch.float64"),
        ("z", torch.zeros(4, 6).T, "'z' has strides"),
        ("mask", torch.ones(5), r"'mask' has shape \(5,\), expected \(6,\)"),
        ("kept", torch.empty(6, 6), r"'kept' has shape \(6, 6\), expected \(4, 4\)"),
        ("moments", torch.empty(2, 4), "'moments' has shape"),
        ("workspace", torch.empty(3), "'workspace' has 3 elements, expected at least"),
        ("workspace", case.z.view(-1)[:3], "'workspace' has 3 elements"),
        ("hinge", outputs["off_diagonal"], "share"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            core.covariance_forward(**{**good, name: value})
    with pytest.raises(ValueError, match="must not be negative"):
        core.covariance_workspaces(-1, 3)
