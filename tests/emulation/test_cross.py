"""The CUDA penalties between two batches, run on the CPU, through the package's own Python and checks."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from emulation import cross_oracle as oracle
from emulation import ptx
from emulation import sources as emulation_sources
from hypothesis import HealthCheck, given, settings

from spinecore.ops import _cross_cuda

KERNELS = {normalise: _cross_cuda.kernels(normalise) for normalise in (False, True)}


@pytest.fixture(scope="module", params=["source", pytest.param("ptx", marks=pytest.mark.gpu_less)])
def module(request: pytest.FixtureRequest) -> ModuleType:
    """The sources compiled for the CPU, or all that nvcc makes of them, translated."""
    if request.param == "source":
        return emulation_sources.operator_module("cross_decorrelation", "emulated_cross")
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    return ptx.operator_module("cross_decorrelation", "ptx_cross", ())


@pytest.fixture(autouse=True)
def emulated(module: ModuleType, as_the_core: object, nan_memory: None) -> None:
    as_the_core(module)  # type: ignore[operator]


def check(case: oracle.Case) -> None:
    forward, backward = KERNELS[case.normalise]
    oracle.assert_close(case, forward.run, backward.run)


@given(case=oracle.cases())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Case) -> None:
    check(case)


# Both forms, one and many splits of the sums, aligned rows and others.
SHAPES = [(600, 70, 30), (30, 130, 140), (20, 64, 64), (300, 8, 5), (3, 200, 9), (1, 1, 1), (2, 3, 1)]


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("dtype", oracle.DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_path_of_the_kernels(shape: tuple[int, ...], dtype: torch.dtype, normalise: bool) -> None:
    check(oracle.make_case(*shape, dtype, normalise, mean=1.0))


@pytest.mark.parametrize("order", ["reverse", "random:1"])
@pytest.mark.parametrize("shape", [(600, 70, 30), (30, 130, 140)])
def test_no_schedule_changes_a_bit(
    shape: tuple[int, ...], order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = oracle.make_case(*shape, normalise=True)
    runs = tuple(kernel.run for kernel in KERNELS[True])
    first = oracle.results(case, *runs)
    monkeypatch.setenv("EMULATION_ORDER", order)
    second = oracle.results(case, *runs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_wrong_arguments_are_refused(module: ModuleType) -> None:
    given = {"a": torch.ones(8, 4), "b": torch.ones(8, 2), "penalty": torch.empty(())}
    given |= {"kept": torch.empty(4, 2), "statistics": torch.empty(12), "workspace": torch.empty(9000)}

    def call(**changes: torch.Tensor) -> None:
        module.cuda_cross_forward(**(given | changes), normalise=False, stream=0)

    call()
    for changes, error, words in (
        ({"b": torch.ones(7, 2)}, ValueError, "'b'"),
        ({"b": torch.ones(8, 2).half()}, TypeError, "'b' is not of the dtype of 'a'"),
        ({"kept": torch.empty(16, 8)}, ValueError, "'kept'"),
        ({"statistics": torch.empty(28)}, ValueError, "'statistics'"),
        ({"workspace": torch.empty(7)}, ValueError, "'workspace' has 7 elements"),
    ):
        with pytest.raises(error, match=words):
            call(**changes)


def test_a_refused_launch_names_operator_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case(12, 5, 3, torch.bfloat16)
    monkeypatch.setenv("EMULATION_REFUSES_LAUNCHES", "1")
    with pytest.raises(RuntimeError, match=r"cross_forward.*= 12, 5, 3 \(bfloat16.*InvalidConfiguration"):
        KERNELS[False][0].run(case.a, case.b)
