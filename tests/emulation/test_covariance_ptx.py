"""The PTX that nvcc emits for the CUDA covariance penalty, run on the CPU: the code a GPU would be given."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from emulation import covariance_oracle as oracle
from emulation import ptx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spinecore.ops import _covariance_cuda as implementation

pytestmark = pytest.mark.gpu_less

SHARED = ("covariance_penalties", "covariance_slopes")
# Mangled pieces of names.
FLOAT = (*SHARED, "sum_columns_of_featuresIf", "multiply_factorsIfLb1EfLb1Ef", "multiply_factorsIfLb0EfLb")
HALF = (
    *SHARED,
    "sum_columns_of_featuresI13",
    "multiply_factorsINS0_4Half",
    "multiply_factorsIfLb1ENS0_4Half",
)


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16])
def emitted(request: pytest.FixtureRequest) -> tuple[ModuleType, torch.dtype]:
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    dtype = request.param
    kernels, name = (FLOAT, "float") if dtype is torch.float32 else (HALF, "bfloat")
    return ptx.operator_module("covariance_decorrelation", f"ptx_covariance_{name}", kernels), dtype


@pytest.fixture(autouse=True)
def translated(emitted: tuple[ModuleType, torch.dtype], as_the_core: object, nan_memory: None) -> None:
    as_the_core(emitted[0])  # type: ignore[operator]


def check(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.forward, implementation.backward)  # type: ignore[arg-type]


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(
    data: st.DataObject, emitted: tuple[ModuleType, torch.dtype]
) -> None:
    rows, width = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150))
    check(oracle.make_case(rows, width, emitted[1], data.draw(st.booleans()), data.draw(st.floats(-3, 3))))


@pytest.mark.parametrize("order", ["reverse", "random:1"])
@pytest.mark.parametrize("shape", [(500, 68), (40, 200)])
def test_no_schedule_changes_a_bit(
    shape: tuple[int, int],
    order: str,
    emitted: tuple[ModuleType, torch.dtype],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = oracle.make_case(*shape, emitted[1])
    check(case)
    runs = (implementation.forward, implementation.backward)
    first = oracle.results(case, *runs)  # type: ignore[arg-type]
    monkeypatch.setenv("EMULATION_ORDER", order)
    second = oracle.results(case, *runs)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
