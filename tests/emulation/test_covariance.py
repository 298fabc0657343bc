"""The CUDA covariance penalty, run on the CPU, through the package's own Python, binding and checks."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from emulation import covariance_oracle as oracle
from hypothesis import HealthCheck, example, given, settings

from spinecore.ops import _covariance_cuda as implementation


@pytest.fixture(autouse=True)
def emulated(emulated_covariance: ModuleType, as_the_core: object, nan_memory: None) -> None:
    as_the_core(emulated_covariance)  # type: ignore[operator]


def check(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.forward, implementation.backward)  # type: ignore[arg-type]


@given(case=oracle.cases())
# Sums whose roundings all go one way.
@example(case=oracle.make_case(74, 74, torch.float16, mean=3.0, spread=0.3, seed=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Case) -> None:
    check(case)


# Both forms, one and many splits of the sums, chunks of the means, tiles with and without a mirror.
SHAPES = [(700, 70), (40, 200), (300, 8), (3, 300), (1, 1), (2, 1), (64, 128), (129, 64)]


@pytest.mark.parametrize("dtype", oracle.DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_path_of_the_kernels(shape: tuple[int, int], dtype: torch.dtype) -> None:
    check(oracle.make_case(*shape, dtype, masked=shape[0] % 2 == 0, mean=2.0))


@pytest.mark.parametrize("order", ["forward", "reverse", "random:1", "random:2"])
@pytest.mark.parametrize("shape", [(700, 70), (40, 132)])
def test_no_schedule_changes_a_bit(
    shape: tuple[int, int], order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = oracle.make_case(*shape)
    runs = (implementation.forward, implementation.backward)
    first = oracle.results(case, *runs)  # type: ignore[arg-type]
    monkeypatch.setenv("EMULATION_ORDER", order)
    second = oracle.results(case, *runs)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_rows_that_start_off_sixteen_bytes() -> None:
    case = oracle.make_case(50, 24, mean=1.0)
    shifted = torch.empty(50 * 24 + 1)[1:].view(50, 24).copy_(case.z)
    assert shifted.data_ptr() % 16 != 0
    check(case._replace(z=shifted))


def test_wrong_arguments_are_refused() -> None:
    z, scalar = torch.ones(8, 4), torch.empty(())
    given = {"z": z, "mask": torch.empty(0), "kept": torch.empty(4, 4), "moments": torch.empty(3, 4)}
    given |= {"off_diagonal": scalar, "hinge": torch.empty(()), "workspace": torch.empty(9000)}
    core = implementation._native.core()

    def call(**changes: torch.Tensor) -> None:
        core.cuda_covariance_forward(**(given | changes), gamma=1.0, eps=1e-4, stream=0)

    call()
    for changes, error, words in (
        ({"z": torch.ones(8, 4).double()}, TypeError, "'z'"),
        ({"z": torch.ones(4)}, ValueError, "'z' has 1 dim"),
        ({"z": torch.ones(0, 4)}, ValueError, "expected 1 to"),
        ({"mask": torch.ones(7)}, ValueError, "'mask'"),
        ({"kept": torch.empty(8, 8)}, ValueError, "'kept'"),
        ({"hinge": scalar}, ValueError, "share"),
        ({"workspace": torch.empty(7)}, ValueError, "'workspace' has 7 elements"),
    ):
        with pytest.raises(error, match=words):
            call(**changes)


def test_a_refused_launch_names_operator_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case(12, 5, torch.float16)
    monkeypatch.setenv("EMULATION_REFUSES_LAUNCHES", "1")
    with pytest.raises(RuntimeError, match=r"covariance_forward.*= 12, 5 \(float16.*InvalidConfiguration"):
        implementation.forward(case.z, None, 1.0, 1e-4)
