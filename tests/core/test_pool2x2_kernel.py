"""Native pooling of 2 x 2 pixels against PyTorch, under every instruction set this machine runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore import _native
from spinecore.ops.prepared import pool2x2

core = _native.core()
INFO = core.info()
ISAS = INFO["isa_compiled"][: INFO["isa_compiled"].index(INFO["isa_best"]) + 1]
PEERS = {"max": F.max_pool2d, "mean": F.avg_pool2d}


def draw(seed: int, *shape: int) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    isa=st.sampled_from(ISAS),
    pooling=st.sampled_from(sorted(PEERS)),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(2, 40), st.integers(2, 40)),
    seed=st.integers(0, 99),
)
def test_every_size(isa: str, pooling: str, shape: tuple[int, int, int, int], seed: int) -> None:
    core.set_isa(isa)
    x = draw(seed, *shape)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(pool2x2(x, pooling))
    assert torch.equal(*results)
    torch.testing.assert_close(results[0], PEERS[pooling](x, 2), rtol=0, atol=1e-6 * (pooling == "mean"))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("pooling", sorted(PEERS))
def test_nan_and_infinity_come_out_as_in_torch(isa: str, pooling: str) -> None:
    core.set_isa(isa)
    x = draw(0, 1, 5, 8, 8)
    for place, value in enumerate((torch.nan, torch.inf, -torch.inf, torch.nan)):
        x[0, place, place // 2, place % 2] = value
    torch.testing.assert_close(pool2x2(x, pooling), PEERS[pooling](x, 2), equal_nan=True)


def test_a_single_row_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="1x6 pixels cannot be halved"):
        pool2x2(draw(0, 1, 3, 1, 6), "max")


@pytest.mark.parametrize(
    ("x", "pooling", "y", "words"),
    [
        (torch.zeros(1, 3, 4, 4), 0, draw(0, 1, 3, 2, 2), "channels-last"),
        (draw(0, 1, 3, 4, 4), 0, draw(0, 1, 3, 2, 1), "expected"),
        (draw(0, 1, 3, 4, 4), 2, draw(0, 1, 3, 2, 2), "0 .largest. or 1 .mean."),
        (draw(0, 1, 3, 4, 4).bfloat16(), 0, draw(0, 1, 3, 2, 2), "."),
    ],
)
def test_wrong_arguments(x: Tensor, pooling: int, y: Tensor, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        core.pool2x2(x, pooling, y)
