"""The native 1x1 convolution with batch normalisation: against PyTorch in float64, under every instruction
set this machine runs; and the module that trains on it.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spinecore import _native, backends, ops
from spinecore import nn as snn
from spinecore.testing import check_against_formula, outputs_and_gradients

core = _native.core()
THREADS = 2
INFO = core.info()
ISAS = INFO["isa_compiled"][: INFO["isa_compiled"].index(INFO["isa_best"]) + 1]
QUICK = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
FLOAT32_ULPS = 5e-6 / torch.finfo(torch.float32).eps


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normalised(
    x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor, eps: float, activation: str
) -> tuple[Tensor, Tensor, Tensor]:
    z = F.conv2d(x, w)
    y = F.batch_norm(z, None, None, gamma, beta, True, 0.0, eps)
    mean, var = z.detach().mean((0, 2, 3)), z.detach().var((0, 2, 3), correction=0)
    return F.relu(y) if activation == "relu" else y, mean, var


@QUICK
@given(
    isa=st.sampled_from(ISAS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    batch=st.integers(2, 3),
    # The normalised map of a single channel does not depend on its weight: its gradient is rounding alone.
    channels=st.tuples(st.integers(2, 70), st.integers(1, 70)),
    size=st.tuples(st.integers(8, 21), st.integers(8, 21)),
    activation=st.sampled_from(["none", "relu"]),
    seed=st.integers(0, 999),
)
@example(ISAS[-1], torch.float32, torch.channels_last, 2, (9, 17), (61, 70), "relu", 0)  # many parts
def test_normalised_values_and_gradients_of_any_size(
    isa: str,
    dtype: torch.dtype,
    layout: torch.memory_format,
    batch: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    activation: str,
    seed: int,
) -> None:
    core.set_isa(isa)
    c, d = channels
    x = draw(seed, batch, c, *size).contiguous(memory_format=layout)
    w = draw(seed + 1, d, c, 1, 1) / c**0.5
    args = [x, w, 1 + 0.2 * draw(seed + 2, d), 0.2 * draw(seed + 3, d), 1e-5, activation]
    # As for the recurrence in training: gates of ReLU that rounding flips dominate.
    ulps = FLOAT32_ULPS if dtype is torch.float32 else 8.0
    check_against_formula("conv1x1_bn", normalised, args, dtype, seed, ulps)


def run_normalised(args: list[Any], backend: str) -> list[Tensor]:
    single = [value.float() if isinstance(value, Tensor) else value for value in args]
    outputs, gradients = outputs_and_gradients(
        lambda *inputs: ops.conv1x1_bn(*inputs, backend=backend), single
    )
    return [*outputs, *gradients]


NORMALISED = [draw(0, 2, 20, 61, 50), draw(1, 24, 20, 1, 1), 1 + 0.1 * draw(2, 24), draw(3, 24), 1e-5, "relu"]


@pytest.mark.parametrize("isa", ISAS)
def test_normalised_the_same_bits_with_any_number_of_threads(isa: str) -> None:
    core.set_isa(isa)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run_normalised(NORMALISED, "cpu"))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_normalised_nothing_unwritten_is_read_or_left(nan_memory: None) -> None:
    assert all(tensor.isfinite().all() for tensor in run_normalised(NORMALISED, "cpu"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("position", [0, 1, 2, 3], ids=["x", "weights", "gamma", "beta"])
def test_normalised_what_is_not_finite_comes_out_as_in_the_reference(position: int, value: float) -> None:
    changed = [tensor.clone() if isinstance(tensor, Tensor) else tensor for tensor in NORMALISED]
    changed[position].view(-1)[7] = value  # type: ignore[attr-defined]
    results = [run_normalised(changed, backend)[:4] for backend in ("cpu", "reference")]
    for got, wanted in zip(*results, strict=True):
        assert torch.equal(got.isfinite(), wanted.isfinite())


def test_statistics_far_from_zero_keep_their_digits() -> None:
    """A mean a thousand deviations from zero: squares alone would lose every digit of the variance."""
    x = (1000 + draw(0, 2, 4, 137, 41)).float()
    w = torch.eye(4)[:, :, None, None]
    _, mean, variance = ops.conv1x1_bn(x, w, torch.ones(4), torch.zeros(4), backend="cpu")
    wanted = x.double()
    assert float((mean - wanted.mean((0, 2, 3))).abs().max()) < 1e-4
    assert float((variance / wanted.var((0, 2, 3), correction=0) - 1).abs().max()) < 1e-5


def test_a_constant_channel_has_no_variance() -> None:
    x, w = torch.full((2, 4, 9, 7), 3.0), torch.eye(4)[:, :, None, None]
    y, mean, variance = ops.conv1x1_bn(x, w, torch.ones(4), torch.zeros(4), backend="cpu")
    torch.testing.assert_close(mean, torch.full((4,), 3.0))
    assert (variance >= 0).all()
    assert (variance < 1e-9).all()
    assert float(y.abs().max()) < 1e-3


BLOCKS: list[tuple[nn.Module, ...]] = [
    (snn.Conv2d(6, 9, 1, bias=False), nn.BatchNorm2d(9), nn.ReLU(inplace=True)),
    (snn.Conv2d(6, 9, 1, bias=False), nn.BatchNorm2d(9, momentum=0.3, eps=1e-3)),
    (snn.Conv2d(6, 9, 3, padding=1, bias=False), nn.BatchNorm2d(9), nn.ReLU()),
    (snn.Conv2d(6, 9, 1), nn.BatchNorm2d(9)),
    (snn.Conv2d(6, 9, 1, bias=False), nn.BatchNorm2d(9, affine=False)),
    (snn.Conv2d(6, 9, 1, bias=False), nn.BatchNorm2d(9, momentum=None)),
    (snn.Conv2d(6, 9, 1, bias=False), nn.BatchNorm2d(9, track_running_stats=False)),
    (snn.Conv2d(6, 9, 1, bias=False), nn.BatchNorm2d(9), nn.GELU()),
]


@pytest.mark.parametrize("parts", BLOCKS, ids=str)
def test_a_block_trains_like_the_sequence_of_its_parts(parts: tuple[nn.Module, ...]) -> None:
    ours = snn.ConvNorm(*copy.deepcopy(parts)).double()
    plain = nn.Sequential(*copy.deepcopy(parts)).double()
    plain[0].__class__ = nn.Conv2d
    assert ours.state_dict().keys() == plain.state_dict().keys()
    optimisers = [torch.optim.SGD(module.parameters(), lr=0.1) for module in (ours, plain)]
    for step in range(3):
        x = draw(step, 2, 6, 5, 7).contiguous(memory_format=torch.channels_last)
        for module, optimiser in zip((ours, plain), optimisers, strict=True):
            optimiser.zero_grad()
            (module(x) - 1).square().mean().backward()
            optimiser.step()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], msg=name)
    x = draw(9, 3, 6, 4, 4)
    torch.testing.assert_close(ours.eval()(x), plain.eval()(x))


def test_a_block_is_one_operator_in_training_only_and_not_where_a_part_is_watched() -> None:
    block = snn.ConvNorm(snn.Conv2d(6, 9, 1, bias=False), nn.BatchNorm2d(9), nn.ReLU())
    x = torch.randn(2, 6, 5, 7).contiguous(memory_format=torch.channels_last)

    def one_operator() -> bool:
        backends.reset_usage()
        block(x)
        return "conv1x1_bn" in backends.usage()

    assert one_operator()
    with torch.autocast("cpu", torch.bfloat16):
        assert not one_operator()
    seen: list[int] = []
    handle = block[1].register_forward_hook(lambda *_: seen.append(1))
    assert not one_operator()
    assert seen
    handle.remove()
    block[1].eval()  # frozen statistics
    assert not one_operator()
    block.eval()
    assert not one_operator()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        block.train()(torch.randn(1, 6, 1, 1))
