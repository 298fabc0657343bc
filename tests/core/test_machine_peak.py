"""The bursts that measure the machine do what their names say, under every instruction set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from spinecore import _native

core = _native.core()
INFO = core.info()
ORDER = ("baseline", "avx2", "avx512")


@pytest.fixture(params=INFO["isa_compiled"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    if ORDER.index(request.param) > ORDER.index(INFO["isa_best"]):
        pytest.skip(f"this machine does not run {request.param}")
    core.set_isa(request.param)
    yield request.param
    core.set_isa(INFO["isa_selected"])


def test_operations_are_those_of_the_vectors(isa: str) -> None:
    lanes = {"baseline": 4, "avx2": 8, "avx512": 16}[isa]
    assert core.fma_burst(1000) == 1000 * 12 * lanes * 2
    assert core.fma_burst(0) == 0


@pytest.mark.parametrize("length", [0, 1, 15, 16, 127, 128, 129, 1000])
@pytest.mark.parametrize("shift", [0, 1])
def test_reads_and_copies_all_of_it(isa: str, length: int, shift: int) -> None:
    x = torch.arange(length + shift, dtype=torch.float32)[shift:]
    assert core.read_burst(x) == x.double().sum().item()
    for streamed in (False, True):
        y = torch.full((length + 2,), torch.nan)
        core.copy_burst(x, y[1:-1], streamed)
        assert torch.equal(y[1:-1], x)
        assert y[[0, -1]].isnan().all(), "written out of bounds"


def test_wrong_arguments_are_refused_by_name() -> None:
    x = torch.zeros(8)
    with pytest.raises(ValueError, match="steps is -1"):
        core.fma_burst(-1)
    with pytest.raises(TypeError, match=r"'x' is torch\.float64"):
        core.read_burst(x.double())
    with pytest.raises(ValueError, match="'x' has shape"):
        core.read_burst(x.view(2, 4))
    with pytest.raises(ValueError, match="'y' has shape"):
        core.copy_burst(x, torch.zeros(9), False)
    with pytest.raises(ValueError, match="shares memory"):
        core.copy_burst(x, x, False)
    with pytest.raises(ValueError, match="contiguous"):
        core.read_burst(torch.zeros(16)[::2])
