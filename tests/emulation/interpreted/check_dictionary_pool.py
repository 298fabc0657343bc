"""Run by test_triton.py with TRITON_INTERPRET=1: the Triton dictionary pooling, guarded."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from emulation import dictionary_oracle as oracle
from emulation import interpreter
from hypothesis import HealthCheck, given, settings

from spinecore.kernels import _launch
from spinecore.kernels import dictionary_pool as kernels
from spinecore.ops import _device
from spinecore.ops import _dictionary_pool_triton as implementation


class Directly:
    """The functions behind the operators: torch's tracing of Triton kernels does not know the interpreter."""

    dictionary_pool_triton = staticmethod(kernels.weigh)
    dictionary_pool_triton_backward = staticmethod(kernels.differentiate)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch, nan_memory: None) -> None:
    def launch(kernel: Any, grid: Any, arguments: Any, constants: Any, warps: int) -> None:
        with interpreter.guarded(*(v for v in arguments.values() if isinstance(v, torch.Tensor))):
            kernel[grid](**arguments, **constants, num_warps=warps)

    monkeypatch.setattr(_launch, "launch", launch)
    monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(0))
    monkeypatch.setattr(implementation, "_kernels", lambda: Directly)


@given(case=oracle.cases(most_tokens=70, most_head=20))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.forward, implementation.backward)


def test_several_tiles_and_splits() -> None:
    case = oracle.make_case((2, 70, 17), 20, 4, masked=True)
    oracle.assert_close(case, implementation.forward, implementation.backward)
