"""The native 3x3 convolutions against PyTorch in float64, under every instruction set this machine runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore import _native, ops

core = _native.core()
INFO = core.info()
ISAS = INFO["isa_compiled"][: INFO["isa_compiled"].index(INFO["isa_best"]) + 1]
QUICK = settings(max_examples=40, deadline=None, derandomize=True)
# Winograd's F(4x4, 3x3) in float32 errs a few times as much as a direct convolution, by its nature: the bound
# of the contract, relative to the largest result.
FLOAT32, BFLOAT16 = 5e-6, 2.0**-8


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(y: Tensor, oracle: Tensor) -> float:
    assert y.shape == oracle.shape
    return float((y.double() - oracle).abs().max() / oracle.abs().max().clamp_min(1e-30))


@QUICK
@given(
    isa=st.sampled_from(ISAS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    size=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    relu=st.booleans(),
    parts=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 999),
)
@example(ISAS[-1], torch.float32, torch.channels_last, 1, (256, 40), (16, 16), True, (True, True), 0)
def test_conv3x3_of_any_size(
    isa: str,
    dtype: torch.dtype,
    layout: torch.memory_format,
    batch: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    relu: bool,
    parts: tuple[bool, bool],
    seed: int,
) -> None:
    core.set_isa(isa)
    inputs, outputs = channels
    x = draw(seed, batch, inputs, *size).to(dtype).contiguous(memory_format=layout)
    w = (draw(seed + 1, outputs, inputs, 3, 3) / (9 * inputs) ** 0.5).to(dtype)
    bias = draw(seed + 2, outputs) if parts[0] else None
    residual = draw(seed + 3, batch, outputs, *size).to(dtype) if parts[1] else None
    y = ops.conv3x3(x, w, bias, "relu" if relu else "none", residual, backend="cpu")
    oracle = F.conv2d(x.double(), w.double(), None if bias is None else bias.double(), padding=1)
    oracle = oracle if residual is None else oracle + residual.double()
    oracle = oracle.relu() if relu else oracle
    assert y.is_contiguous(memory_format=layout) or 1 in y.shape
    assert error(y, oracle) <= (FLOAT32 if dtype is torch.float32 else BFLOAT16)


@QUICK
@given(
    isa=st.sampled_from(ISAS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    batch=st.integers(1, 2),
    channels=st.integers(1, 40),
    size=st.tuples(st.integers(1, 40), st.sampled_from([1, 3, 17, 64, 66, 81])),
    steps=st.integers(0, 4),
    shared=st.booleans(),
    per_step=st.booleans(),
    residual=st.booleans(),
    seed=st.integers(0, 999),
)
@example(ISAS[-1], torch.float32, 1, 40, (50, 70), 2, True, True, True, 0)  # a wavefront
@example(ISAS[-1], torch.float32, 1, 40, (50, 70), 3, False, False, False, 0)
@example(ISAS[0], torch.float32, 2, 33, (37, 66), 1, False, True, True, 0)
def test_recurrent_residual_conv_of_any_size(
    isa: str,
    dtype: torch.dtype,
    batch: int,
    channels: int,
    size: tuple[int, int],
    steps: int,
    shared: bool,
    per_step: bool,
    residual: bool,
    seed: int,
) -> None:
    core.set_isa(isa)
    x = draw(seed, batch, channels, *size).to(dtype)
    w_in, w_rec = (
        (draw(seed + k, channels, channels, 3, 3) / (9 * channels) ** 0.5).to(dtype) for k in (1, 2)
    )
    rows = (steps + 1, channels) if per_step else (channels,)
    scale, shift = 0.5 + draw(seed + 3, *rows).abs() / 4, draw(seed + 4, *rows) / 2
    args = (x, w_in, w_in if shared else w_rec, scale, shift)
    y = ops.recurrent_residual_conv(*args, steps, residual, backend="cpu")
    wide = [t.double() for t in args]
    oracle = ops.recurrent_residual_conv(*wide, steps, residual, backend="reference")
    assert error(y, oracle) <= (FLOAT32 if dtype is torch.float32 else 2 * BFLOAT16)


@pytest.mark.parametrize("shape", [(1, 24, 61, 70), (3, 16, 9, 11), (2, 5, 70, 64)], ids=str)
def test_the_same_bits_with_one_and_two_threads(shape: tuple[int, ...]) -> None:
    x, channels = draw(0, *shape), shape[1]
    w = draw(1, channels, channels, 3, 3) / (9 * channels) ** 0.5
    results = []
    for threads in (1, 2, 2, 1):
        torch.set_num_threads(threads)
        scale, shift = torch.ones(channels), torch.zeros(channels)
        results.append(
            (
                ops.conv3x3(x, w, backend="cpu"),
                ops.recurrent_residual_conv(x, w, w, scale, shift, 2, backend="cpu"),
                ops.recurrent_residual_conv(x, w, w.clone(), scale, shift, 2, backend="cpu"),
            )
        )
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 3e38])
def test_what_is_not_finite_comes_out_as_in_the_reference(value: float) -> None:
    x = draw(0, 1, 8, 19, 66)
    x[0, 3, 7, 8] = value
    w, row = draw(1, 8, 8, 3, 3), torch.ones(8)
    for name, args in (
        ("conv3x3", (x, w, None, "relu")),
        ("recurrent_residual_conv", (x, w, w, row, row, 2)),
    ):
        y, reference = (getattr(ops, name)(*args, backend=backend) for backend in ("cpu", "reference"))
        assert not y.isfinite().all()
        torch.testing.assert_close(y, reference, rtol=0, atol=0, equal_nan=True)


def test_more_than_two_gigabytes() -> None:
    # Offsets beyond 2^31 bytes: 2.1 GB of bfloat16, of which the last rows are compared.
    x = torch.zeros((1, 8, 16384, 8200), dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    x[:, :, -9:] = draw(0, 1, 8, 9, 8200).to(torch.bfloat16)
    w = (draw(1, 8, 8, 3, 3) / 8).to(torch.bfloat16)
    y = ops.conv3x3(x, w, backend="cpu")
    oracle = F.conv2d(x[:, :, -9:].double(), w.double(), padding=1)
    assert error(y[:, :, -8:], oracle[:, :, -8:]) <= BFLOAT16
    assert not y[:, :, :1000].any()
