"""Copies between NCHW and channels-last move every bit to its place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinecore import _native

core = _native.core()
INFO = core.info()
ISAS = INFO["isa_compiled"][: INFO["isa_compiled"].index(INFO["isa_best"]) + 1]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    isa=st.sampled_from(ISAS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    shape=st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 30)),
    back=st.booleans(),
)
def test_a_copy_has_the_same_values(isa: str, dtype: torch.dtype, shape: tuple[int, ...], back: bool) -> None:
    formats = [torch.contiguous_format, torch.channels_last]
    before, after = formats[::-1] if back else formats
    selected = core.selected_isa()
    try:
        core.set_isa(isa)
        x = torch.randn(shape).to(dtype).contiguous(memory_format=before)
        y = torch.full_like(x, torch.nan, memory_format=after)
        core.copy_layout(x, y)
        assert torch.equal(x, y)
    finally:
        core.set_isa(selected)


def test_a_copy_to_the_same_layout_is_refused() -> None:
    x = torch.randn(1, 2, 3, 4)
    with pytest.raises(ValueError, match="same layout"):
        core.copy_layout(x, torch.empty_like(x))
