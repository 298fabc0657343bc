"""Run by test_triton.py with TRITON_INTERPRET=1: the Triton 3x3 convolutions, guarded."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from emulation import conv_oracle as oracle
from emulation import interpreter
from hypothesis import HealthCheck, given, settings

from spinecore.kernels import _launch
from spinecore.kernels import conv3x3 as kernels
from spinecore.ops import _conv3x3_triton as implementation
from spinecore.ops import _device
from spinecore.ops import _recurrent_residual_conv_triton as recurrences


class Directly:
    """The functions behind the operators: torch's tracing of Triton kernels does not know the interpreter."""

    conv3x3_triton = staticmethod(kernels.run)
    conv3x3_triton_weights = staticmethod(kernels.weights)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch, nan_memory: None) -> None:
    def launch(kernel: Any, grid: Any, arguments: Any, constants: Any, warps: int) -> None:
        with interpreter.guarded(*(v for v in arguments.values() if isinstance(v, torch.Tensor))):
            kernel[grid](**arguments, **constants, num_warps=warps)

    monkeypatch.setattr(_launch, "launch", launch)
    monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(0))
    monkeypatch.setattr(implementation, "_kernels", lambda: Directly)


@given(case=oracle.cases(most_channels=20, most_side=6))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.FORWARD.run, implementation.BACKWARD.run)


def test_several_tiles_and_splits() -> None:
    case = oracle.make_case((1, 5, 20, 17), 70)
    oracle.assert_close(case, implementation.FORWARD.run, implementation.BACKWARD.run)


@pytest.mark.parametrize("bn", [False, True])
def test_the_recurrences(bn: bool) -> None:
    plain = (recurrences.FORWARD, recurrences.BACKWARD)
    kernels = (recurrences.FORWARD_BN, recurrences.BACKWARD_BN) if bn else plain
    oracle.assert_recurrence_close((2, 6, 5, 7), torch.float32, 1, bn, kernels)
