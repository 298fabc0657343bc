"""Run by test_triton.py with TRITON_INTERPRET=1: the Triton scSE gate in the guarded interpreter."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from emulation import interpreter
from emulation import scse_gate_oracle as oracle
from hypothesis import HealthCheck, given, settings
from triton.runtime.errors import InterpreterError

from spinecore.kernels import _launch
from spinecore.kernels import scse_gate as kernels
from spinecore.ops import _device
from spinecore.ops import _scse_gate_triton as implementation


class Directly:
    """The functions behind the operators: torch's tracing of Triton kernels does not know the interpreter."""

    scse_gate_triton = staticmethod(kernels.forward)
    scse_gate_triton_backward = staticmethod(kernels.backward)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch, nan_memory: None) -> None:
    def launch(kernel: Any, grid: Any, arguments: Any, constants: Any, warps: int) -> None:
        with interpreter.guarded(*(v for v in arguments.values() if isinstance(v, torch.Tensor))):
            kernel[grid](**arguments, **constants, num_warps=warps)

    monkeypatch.setattr(_launch, "launch", launch)
    monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(0))
    monkeypatch.setattr(implementation, "_kernels", lambda: Directly)


@given(case=oracle.cases(most_channels=20, most_side=7))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_autograd_in_float64(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.forward, implementation.backward)


@pytest.mark.parametrize("channels_last", [False, True])
def test_several_chunks_and_blocks(channels_last: bool) -> None:
    case = oracle.make_case((2, 100, 18, 20), 5, "max", channels_last)
    oracle.assert_close(case, implementation.forward, implementation.backward)


@triton.jit
def planted(out, size, SHIFT: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * STEP + tl.arange(0, BLOCK) + SHIFT
    tl.store(out + at, tl.load(out + at, mask=at < size + SHIFT) + 1.0, mask=at < size + SHIFT)


@pytest.mark.parametrize(
    ("shift", "step", "error"), [(0, 16, ""), (1, 16, "OutOfBounds"), (0, 8, "Race.*both store")]
)
def test_the_guard_finds_planted_mistakes(shift: int, step: int, error: str) -> None:
    out = torch.zeros(32)
    expected = pytest.raises(InterpreterError, match=error) if error else nullcontext()
    with expected, interpreter.guarded(out):
        planted[(2,)](out, 32, SHIFT=shift, STEP=step, BLOCK=16)
