"""The PTX that nvcc emits for the CUDA scSE gate, run on the CPU: the code a GPU would be given."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from emulation import ptx
from emulation import scse_gate_oracle as oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spinecore.ops import _scse_gate_cuda as implementation

# Mangled pieces of names: float and bfloat16 over aligned rows of up to 256 channels; float over any rows.
KERNELS = ("IfLb1ELi8E", "I13__nv_bfloat16Lb1ELi8E", "contiguousIfLb", "contiguousI13__nv_bfloat16Lb1")
KERNELS += ("apply_gatesIfL", "apply_gatesI13__nv_bfloat16Li8E")


@pytest.fixture(scope="module")
def scse_gate_ptx() -> ModuleType:
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    return ptx.operator_module("scse_gate", "ptx_scse_gate", KERNELS)


@pytest.fixture(autouse=True)
def translated(scse_gate_ptx: ModuleType, as_the_core: object, nan_memory: None) -> None:
    as_the_core(scse_gate_ptx)  # type: ignore[operator]


@st.composite
def cases(draw: st.DrawFn) -> oracle.Case:
    """Shapes whose kernels are among those above."""
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16]))
    step = 4 if dtype is torch.float32 else 8
    channels_last = draw(st.booleans())
    if channels_last:
        sides = draw(st.tuples(st.integers(2, 9), st.integers(1, 9)))
        shape = (draw(st.integers(1, 3)), step * draw(st.integers(1, 5)), *sides)
    else:
        width = draw(st.integers(1, 30)) if dtype is torch.float32 else 8 * draw(st.integers(1, 4))
        shape = (draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 9)), width)
    return oracle.make_case(
        shape,
        draw(st.integers(1, 18)),
        draw(st.sampled_from(oracle.MODES)),
        channels_last,
        dtype,
        draw(st.booleans()),
        draw(st.integers(0, 2**31)),
    )


def check(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.forward, implementation.backward)


@given(case=cases())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_autograd_in_float64(case: oracle.Case) -> None:
    check(case)


@pytest.mark.parametrize("order", ["reverse", "random:1"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_no_schedule_changes_a_bit(channels_last: bool, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case((2, 20, 46, 32), 5, "max", channels_last)
    first = oracle.results(case, implementation.forward, implementation.backward)
    monkeypatch.setenv("EMULATION_ORDER", order)
    check(case)
    second = oracle.results(case, implementation.forward, implementation.backward)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
