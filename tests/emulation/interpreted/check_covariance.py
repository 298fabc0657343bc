"""Run by test_triton.py with TRITON_INTERPRET=1: the Triton covariance penalty in the guarded interpreter."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from emulation import covariance_oracle as oracle
from emulation import interpreter
from hypothesis import HealthCheck, given, settings

from spinecore.kernels import _launch
from spinecore.kernels import covariance_decorrelation as kernels
from spinecore.ops import _covariance_triton as implementation
from spinecore.ops import _device


class Directly:
    """The functions behind the operators: torch's tracing of Triton kernels does not know the interpreter."""

    covariance_triton = staticmethod(kernels.forward)
    covariance_triton_backward = staticmethod(kernels.backward)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch, nan_memory: None) -> None:
    def launch(kernel: Any, grid: Any, arguments: Any, constants: Any, warps: int) -> None:
        with interpreter.guarded(*(v for v in arguments.values() if isinstance(v, torch.Tensor))):
            kernel[grid](**arguments, **constants, num_warps=warps)

    monkeypatch.setattr(_launch, "launch", launch)
    monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(0))
    monkeypatch.setattr(implementation, "_kernels", lambda: Directly)


@given(case=oracle.cases(most_rows=40, most_columns=70))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.forward, implementation.backward)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(90, 70), (20, 130)])
def test_several_tiles_of_either_form(shape: tuple[int, int]) -> None:
    case = oracle.make_case(*shape, masked=True, mean=1.0)
    oracle.assert_close(case, implementation.forward, implementation.backward)  # type: ignore[arg-type]
