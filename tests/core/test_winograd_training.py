"""The native convolutions in training: gradients and batch statistics against PyTorch in float64, under every
instruction set this machine runs.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import spinecore
from spinecore import _native, ops
from spinecore.ops import OPS
from spinecore.testing import check_against_formula, outputs_and_gradients

core = _native.core()
THREADS = 2
INFO = core.info()
ISAS = INFO["isa_compiled"][: INFO["isa_compiled"].index(INFO["isa_best"]) + 1]
QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# The bound of the contract for Winograd's F(4x4, 3x3) in float32, of the largest value; its transposes, which
# give the gradients, round alike. Beside it stands, as everywhere, twice the error of PyTorch in the same
# dtype: gates of ReLU that rounding flips dominate both.
FLOAT32_ULPS = 5e-6 / torch.finfo(torch.float32).eps
Arguments = tuple[Any, ...]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(seed: int, outputs: int, inputs: int) -> Tensor:
    return draw(seed, outputs, inputs, 3, 3) / (9 * inputs) ** 0.5


def compare(name: str, args: Arguments, dtype: torch.dtype, seed: int) -> None:
    def reference(*inputs: Any) -> Any:
        return OPS[name].function(*inputs, backend="reference")

    def with_spread(results: Any) -> Any:
        """The mean beside the deviation: its error is that of the values it is of, which may cancel."""
        if not isinstance(results, tuple):
            return results
        y, mean, variance = results
        return y, torch.stack([mean, (variance + 1e-5).sqrt()]), variance

    ulps = FLOAT32_ULPS if dtype is torch.float32 else 8.0
    check_against_formula(name, reference, args, dtype, seed, ulps, with_spread)


def recurrence(seed: int, shape: tuple[int, ...], steps: int, per_step: bool, residual: bool) -> Arguments:
    channels = shape[1]
    rows = (steps + 1, channels) if per_step else (channels,)
    weight, bias = 1 + 0.2 * draw(seed, *rows), 0.2 * draw(seed + 1, *rows)
    pair = [weights(seed + k, channels, channels) for k in (2, 3)]
    return (draw(seed + 4, *shape), *pair, weight, bias, steps, residual)


def with_eps(args: Arguments) -> Arguments:
    return (*args[:5], 1e-5, *args[5:])


@QUICK
@given(
    isa=st.sampled_from(ISAS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    size=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    parts=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    seed=st.integers(0, 999),
)
@example(ISAS[-1], torch.float32, torch.channels_last, 1, (130, 40), (16, 16), (True, True, True), 0)
@example(
    ISAS[-1], torch.float32, torch.channels_last, 2, (9, 17), (61, 70), (True, True, True), 0
)  # many parts
def test_gradients_of_conv3x3_of_any_size(
    isa: str,
    dtype: torch.dtype,
    layout: torch.memory_format,
    batch: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    parts: tuple[bool, bool, bool],
    seed: int,
) -> None:
    core.set_isa(isa)
    inputs, outputs = channels
    relu, bias, residual = parts
    x = draw(seed, batch, inputs, *size).contiguous(memory_format=layout)
    args = (
        x,
        weights(seed + 1, outputs, inputs),
        draw(seed + 2, outputs) if bias else None,
        "relu" if relu else "none",
        draw(seed + 3, batch, outputs, *size) if residual else None,
    )
    compare("conv3x3", args, dtype, seed)


@QUICK
@given(
    isa=st.sampled_from(ISAS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    batch=st.integers(1, 2),
    channels=st.integers(1, 40),
    size=st.tuples(st.integers(5, 40), st.integers(9, 40)),
    steps=st.integers(0, 3),
    per_step=st.booleans(),
    residual=st.booleans(),
    training=st.booleans(),
    seed=st.integers(0, 999),
)
@example(ISAS[-1], torch.float32, 1, 130, (16, 16), 2, True, True, True, 0)  # two panels, two parts
@example(ISAS[-1], torch.float32, 1, 16, (80, 70), 2, True, True, True, 0)  # many parts
@example(ISAS[-1], torch.bfloat16, 1, 16, (80, 70), 2, True, True, False, 0)
@example(ISAS[-1], torch.float32, 1, 1, (5, 10), 0, False, False, True, 0)  # a mean of values that cancel
@example(ISAS[-1], torch.float32, 1, 7, (32, 24), 0, False, False, True, 800)  # likewise
def test_gradients_of_the_recurrence_of_any_size(
    isa: str,
    dtype: torch.dtype,
    batch: int,
    channels: int,
    size: tuple[int, int],
    steps: int,
    per_step: bool,
    residual: bool,
    training: bool,
    seed: int,
) -> None:
    core.set_isa(isa)
    args = recurrence(seed, (batch, channels, *size), steps, per_step, residual)
    if training:
        compare("recurrent_residual_conv_bn", with_eps(args), dtype, seed)
    else:
        compare("recurrent_residual_conv", args, dtype, seed)


CALLS = [
    ("conv3x3", (draw(0, 2, 20, 61, 50), weights(1, 24, 20), draw(2, 24), "relu", draw(3, 2, 24, 61, 50))),
    ("recurrent_residual_conv", recurrence(4, (2, 20, 61, 50), 2, True, True)),
    ("recurrent_residual_conv_bn", with_eps(recurrence(4, (2, 20, 61, 50), 2, True, True))),
]


def run(name: str, args: Arguments, backend: str) -> list[Tensor]:
    single = [value.float() if isinstance(value, Tensor) else value for value in args]
    outputs, gradients = outputs_and_gradients(
        lambda *inputs: OPS[name].function(*inputs, backend=backend), single
    )
    return [*outputs, *gradients]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "args"), CALLS, ids=[name for name, _ in CALLS])
def test_the_same_bits_with_any_number_of_threads(isa: str, name: str, args: Arguments) -> None:
    core.set_isa(isa)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(name, args, "cpu"))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize(("name", "args"), CALLS, ids=[name for name, _ in CALLS])
def test_nothing_unwritten_is_read_or_left(name: str, args: Arguments, nan_memory: None) -> None:
    assert all(tensor.isfinite().all() for tensor in run(name, args, "cpu"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 3e38])
@pytest.mark.parametrize("position", [0, 1, -1], ids=["x", "weights", "gradient"])
@pytest.mark.parametrize(("name", "args"), CALLS, ids=[name for name, _ in CALLS])
def test_what_is_not_finite_comes_out_as_in_the_reference(
    name: str, args: Arguments, position: int, value: float
) -> None:
    changed = [tensor.clone() if isinstance(tensor, Tensor) else tensor for tensor in args]
    if position >= 0:
        changed[position].view(-1)[7] = value
    single = [tensor.float() if isinstance(tensor, Tensor) else tensor for tensor in changed]
    results = []
    for backend in ("cpu", "reference"):
        leaves = [t.detach().requires_grad_() if isinstance(t, Tensor) else t for t in single]
        outputs = OPS[name].function(*leaves, backend=backend)
        y = outputs if isinstance(outputs, Tensor) else outputs[0]
        dy = draw(9, *y.shape).float()
        if position < 0:
            dy.view(-1)[7] = value
        gradients = torch.autograd.grad(y, [t for t in leaves if isinstance(t, Tensor)], dy)
        results.append([y.detach(), *gradients])
    for got, wanted in zip(*results, strict=True):
        assert torch.equal(got.isnan(), wanted.isnan())
        assert torch.equal(got.isposinf(), wanted.isposinf())
        assert torch.equal(got.isneginf(), wanted.isneginf())


def test_statistics_far_from_zero_keep_their_digits() -> None:
    """A mean a thousand deviations from zero: squares alone would lose every digit of the variance."""
    x = (1000 + draw(0, 2, 8, 37, 41)).float()
    w = torch.zeros(8, 8, 3, 3)
    w[range(8), range(8), 1, 1] = 1.0
    rows = torch.ones(8), torch.zeros(8)
    _, mean, variance = ops.recurrent_residual_conv_bn(x, w, w, *rows, steps=0, backend="cpu")
    wanted = x.double()
    # Winograd's rounding of a value of 1000 is a few 1e-4; it is noise beside the deviation of 1.
    assert float((mean[0] - wanted.mean((0, 2, 3))).abs().max()) < 1e-3
    assert float((variance[0] / wanted.var((0, 2, 3), correction=0) - 1).abs().max()) < 1e-3


def test_a_constant_channel_has_no_variance() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.full((1, 8, 12, 20), 3.0, dtype=dtype)
        w = torch.zeros(8, 8, 3, 3, dtype=dtype)
        w[range(8), range(8), 1, 1] = 1.0
        rows = torch.ones(8), torch.zeros(8)
        _, mean, variance = ops.recurrent_residual_conv_bn(x, w, w, *rows, steps=0, backend="cpu")
        torch.testing.assert_close(mean, torch.full((1, 8), 3.0))
        assert (variance >= 0).all()
        assert (variance < 1e-9).all()


def test_other_kernel_sizes_go_to_the_reference_in_words() -> None:
    x, w, row = torch.zeros(1, 8, 6, 6), torch.zeros(8, 8, 5, 5), torch.ones(8)
    explanation = spinecore.explain("recurrent_residual_conv_bn", x, w, w, row, row)
    assert explanation.chosen == explanation.backward_chosen == "reference"
    assert "5x5" in explanation.verdicts["cpu"].reason
