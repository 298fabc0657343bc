"""Run by test_triton.py with TRITON_INTERPRET=1: the Triton penalties between two batches, guarded."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from emulation import cross_oracle as oracle
from emulation import interpreter
from hypothesis import HealthCheck, given, settings

from spinecore.kernels import _launch
from spinecore.kernels import cross_decorrelation as kernels
from spinecore.ops import _cross_triton as implementation
from spinecore.ops import _device


class Directly:
    """The functions behind the operators: torch's tracing of Triton kernels does not know the interpreter."""

    cross_triton = staticmethod(kernels.forward)
    cross_triton_backward = staticmethod(kernels.backward)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch, nan_memory: None) -> None:
    def launch(kernel: Any, grid: Any, arguments: Any, constants: Any, warps: int) -> None:
        with interpreter.guarded(*(v for v in arguments.values() if isinstance(v, torch.Tensor))):
            kernel[grid](**arguments, **constants, num_warps=warps)

    monkeypatch.setattr(_launch, "launch", launch)
    monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(0))
    monkeypatch.setattr(implementation, "_kernels", lambda: Directly)


@given(case=oracle.cases(most_rows=30, most_columns=70))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Case) -> None:
    forward, backward = implementation.kernels(case.normalise)
    oracle.assert_close(case, forward.run, backward.run)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("shape", [(90, 70, 20), (20, 70, 130)])
def test_several_tiles_of_either_form(shape: tuple[int, ...], normalise: bool) -> None:
    forward, backward = implementation.kernels(normalise)
    oracle.assert_close(oracle.make_case(*shape, normalise=normalise, mean=1.0), forward.run, backward.run)
