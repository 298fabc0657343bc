"""The CUDA latent dictionary pooling, run on the CPU, through the package's own Python and checks."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from emulation import dictionary_oracle as oracle
from emulation import ptx, sources
from hypothesis import HealthCheck, given, settings

from spinecore.ops import _dictionary_pool_cuda as implementation


@pytest.fixture(scope="module", params=["source", pytest.param("ptx", marks=pytest.mark.gpu_less)])
def module(request: pytest.FixtureRequest) -> ModuleType:
    """The sources compiled for the CPU, or all that nvcc makes of them, translated."""
    if request.param == "source":
        return sources.operator_module("dictionary_pool", "emulated_dictionary_pool")
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    return ptx.operator_module("dictionary_pool", "ptx_dictionary_pool", ())


@pytest.fixture(autouse=True)
def emulated(module: ModuleType, as_the_core: object, nan_memory: None) -> None:
    as_the_core(module)  # type: ignore[operator]


def check(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.forward, implementation.backward)


@given(case=oracle.cases())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Case) -> None:
    check(case)


@pytest.mark.parametrize("dtype", oracle.DTYPES)
@pytest.mark.parametrize(
    ("shape", "rows", "heads"),
    [
        ((1, 700, 16), 6, 2),
        ((2, 70, 18), 40, 4),
        ((1, 30, 80), 5, 2),
        ((1, 30, 80), 70, 2),
        ((1, 9, 40), 64, 2),
    ],
)
def test_several_tiles_and_splits(
    shape: tuple[int, int, int], rows: int, heads: int, dtype: torch.dtype
) -> None:
    check(oracle.make_case(shape, rows, heads, dtype, masked=True))


def test_tf32_where_torch_allows_it_and_only_there(tf32_allowed: None) -> None:
    """Then float32 has tf32's 10 bits; without it the other tests hold it to float32's."""
    case = oracle.make_case((2, 200, 16), 8, 4)
    wanted, got = oracle.expected(case), oracle.results(case, implementation.forward, implementation.backward)
    for name, ours, want in zip(oracle.NAMES, got, wanted, strict=True):
        if name in ("y", "dx", "d_latents", "d_wk"):
            assert 5e-6 < (ours - want).abs().max() / want.abs().max() < 1e-2, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("shape", "rows", "heads"), [((2, 200, 16), 8, 4), ((4, 64, 9), 5, 3)])
def test_halves_err_no_more_than_twice_what_torch_does(
    shape: tuple[int, int, int], rows: int, heads: int, dtype: torch.dtype
) -> None:
    case = oracle.make_case(shape, rows, heads, dtype)
    got = oracle.results(case, implementation.forward, implementation.backward)
    wanted, by_torch = oracle.expected(case), oracle.by_torch(case)
    for name, ours, theirs, want in zip(oracle.NAMES, got, by_torch, wanted, strict=True):
        assert (ours - want).abs().max() <= 2 * (theirs - want).abs().max(), name


@pytest.mark.parametrize("order", ["reverse", "random:1"])
def test_no_schedule_changes_a_bit(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case((2, 300, 10), 5, 4, masked=True)
    runs = (implementation.forward, implementation.backward)
    first = oracle.results(case, *runs)
    monkeypatch.setenv("EMULATION_ORDER", order)
    second = oracle.results(case, *runs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_refused_launch_names_operator_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case((2, 6, 4), 3, 2, torch.float16)
    monkeypatch.setenv("EMULATION_REFUSES_LAUNCHES", "1")
    with pytest.raises(RuntimeError, match=r"dictionary_pool_forward.*= 2, 6, 8 \(float16, 6 entries"):
        implementation.forward(case.x, *case.parameters, 2, None)
