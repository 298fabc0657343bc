"""The native 1x1 convolution, forward and backward: against PyTorch in float64, under every instruction set
this machine runs.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import spinecore
from spinecore import _native, ops
from spinecore import nn as snn
from spinecore.testing import check_against_formula, outputs_and_gradients

core = _native.core()
THREADS = 2
INFO = core.info()
ISAS = INFO["isa_compiled"][: INFO["isa_compiled"].index(INFO["isa_best"]) + 1]
QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@QUICK
@given(
    isa=st.sampled_from(ISAS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    layout=st.sampled_from(["contiguous", "channels_last", "strided"]),
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    size=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    bias=st.booleans(),
    seed=st.integers(0, 999),
)
@example(ISAS[-1], torch.float32, "channels_last", 1, (200, 70), (16, 16), True, 0)
@example(ISAS[-1], torch.float32, "channels_last", 2, (9, 17), (61, 70), True, 0)  # many parts
@example(ISAS[-1], torch.bfloat16, "channels_last", 2, (64, 48), (31, 33), True, 0)
def test_values_and_gradients_of_any_size(
    isa: str,
    dtype: torch.dtype,
    layout: str,
    batch: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    bias: bool,
    seed: int,
) -> None:
    core.set_isa(isa)
    c, d = channels
    x = draw(seed, batch, c, size[0], 2 * size[1])
    x = x[..., ::2] if layout == "strided" else x[..., : size[1]].contiguous()
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    args = [x, draw(seed + 1, d, c, 1, 1) / c**0.5, draw(seed + 2, d) if bias else None]
    check_against_formula("conv1x1", F.conv2d, args, dtype, seed)


def run(args: list[Tensor], backend: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    outputs, gradients = outputs_and_gradients(
        lambda *inputs: ops.conv1x1(*inputs, backend=backend), [value.to(dtype) for value in args]
    )
    return [*outputs, *gradients]


ARGUMENTS = [draw(0, 2, 20, 61, 50), draw(1, 24, 20, 1, 1), draw(2, 24)]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_with_any_number_of_threads(isa: str, dtype: torch.dtype) -> None:
    core.set_isa(isa)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(ARGUMENTS, "cpu", dtype))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_nothing_unwritten_is_read_or_left(nan_memory: None) -> None:
    assert all(tensor.isfinite().all() for tensor in run(ARGUMENTS, "cpu"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 3e38])
@pytest.mark.parametrize("position", [0, 1, 2, -1], ids=["x", "weights", "bias", "gradient"])
def test_what_is_not_finite_comes_out_as_in_the_reference(position: int, value: float) -> None:
    changed = [tensor.clone() for tensor in ARGUMENTS]
    dy = draw(9, 2, 24, 61, 50)
    (dy if position < 0 else changed[position]).view(-1)[7] = value
    results = []
    for backend in ("cpu", "reference"):
        leaves = [tensor.float().requires_grad_() for tensor in changed]
        y = ops.conv1x1(*leaves, backend=backend)
        results.append([y.detach(), *torch.autograd.grad(y, leaves, dy.float())])
    for got, wanted in zip(*results, strict=True):
        assert torch.equal(got.isnan(), wanted.isnan())
        assert torch.equal(got.isposinf(), wanted.isposinf())
        assert torch.equal(got.isneginf(), wanted.isneginf())


def test_long_sums_keep_their_digits() -> None:
    """A million pixels of mean one: a single float32 chain would lose three digits."""
    x = (1 + 0.1 * draw(0, 1, 3, 1024, 1024)).float().contiguous(memory_format=torch.channels_last)
    w, bias = torch.ones(2, 3, 1, 1, requires_grad=True), torch.zeros(2, requires_grad=True)
    y = ops.conv1x1(x, w, bias, backend="cpu")
    dw, db = torch.autograd.grad(y, [w, bias], torch.ones_like(y))
    wanted = x.double().sum((0, 2, 3))[None].expand(2, 3)
    assert float((dw.flatten(1) / wanted - 1).abs().max()) < 2e-6
    assert torch.equal(db, torch.full((2,), 2.0**20))


@pytest.mark.parametrize("name", ["x", "w", "bias", "y", "workspace"])
def test_the_binding_refuses_what_it_must_not_read(name: str) -> None:
    given = {
        "x": torch.zeros(2, 4, 3, 5).contiguous(memory_format=torch.channels_last),
        "w": torch.zeros(6, 4),
        "bias": torch.zeros(6),
        "y": torch.zeros(2, 6, 3, 5).contiguous(memory_format=torch.channels_last),
        "workspace": torch.zeros(core.conv1x1_workspace(4, 6)),
    }
    core.conv1x1_forward(**given)
    for wrong in (given[name].double(), given[name].flatten()[1:]):
        with pytest.raises((TypeError, ValueError), match=f"conv1x1_forward: argument '{name}'"):
            core.conv1x1_forward(**{**given, name: wrong})
    with pytest.raises(ValueError, match="share"):
        core.conv1x1_forward(**{**given, "y": given["x"], "w": torch.zeros(4, 4), "bias": torch.zeros(4)})


def test_the_backward_refuses_what_it_must_not_read() -> None:
    given = {
        "x": torch.zeros(2, 4, 3, 5).contiguous(memory_format=torch.channels_last),
        "dy": torch.zeros(2, 6, 3, 5).contiguous(memory_format=torch.channels_last),
        "w": torch.zeros(6, 4),
        "dx": torch.zeros(2, 4, 3, 5).contiguous(memory_format=torch.channels_last),
        "dw": torch.zeros(6, 4),
        "d_bias": torch.zeros(6),
        "workspace": torch.zeros(core.conv1x1_backward_workspace(30, 4, 6)),
    }
    core.conv1x1_backward(**given)
    for name, value in given.items():
        for wrong in (value.double(), value.flatten()[1:]):
            with pytest.raises((TypeError, ValueError), match=f"conv1x1_backward: argument '{name}'"):
                core.conv1x1_backward(**{**given, name: wrong})


# ---- the module --------------------------------------------------------------------------------------------
FORMS: list[dict[str, Any]] = [
    {"kernel_size": 1},
    {"kernel_size": 1, "bias": False},
    {"kernel_size": 1, "padding": "same"},
    {"kernel_size": 1, "padding": 1},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": 1, "groups": 4},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": "same", "bias": False},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": 3, "dilation": 3},
    {"kernel_size": 3},
    {"kernel_size": 5, "stride": 2, "padding": 2},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_module_is_torchs_convolution_in_every_form(form: dict[str, Any]) -> None:
    torch.manual_seed(3)
    plain = nn.Conv2d(16, 24, **form)
    torch.manual_seed(3)
    ours = snn.Conv2d(16, 24, **form)
    assert repr(ours) == repr(plain)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), plain.parameters(), strict=True))
    whole = draw(5, 2, 32, 13, 11).float()
    dense = whole[:, :16].contiguous()
    slice_of_channels = whole.contiguous(memory_format=torch.channels_last)[:, 8:24]
    for x in (dense, dense.contiguous(memory_format=torch.channels_last), slice_of_channels):
        results = []
        for module in (ours, plain):
            leaf = x.detach().requires_grad_()
            y = module(leaf)
            results.append([y, *torch.autograd.grad(y.square().sum(), [leaf, *module.parameters()])])
        for got, wanted in zip(*results, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * float(wanted.detach().abs().max()))
        assert results[0][0].is_contiguous() == results[1][0].is_contiguous()


def test_the_module_takes_what_torchs_takes() -> None:
    ours = snn.Conv2d(4, 6, 1)
    assert ours(torch.zeros(4, 5, 7)).shape == (6, 5, 7)  # without a batch
    assert ours(torch.zeros(0, 4, 5, 7)).shape == (0, 6, 5, 7)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(torch.zeros(1, 4, 5, 7)).dtype is torch.bfloat16
    assert snn.Conv2d(4, 6, 1, dtype=torch.complex64)(torch.zeros(1, 4, 5, 7) + 0j).is_complex()


def test_what_is_slower_goes_to_the_reference_in_words() -> None:
    x = torch.zeros(1, 8, 16, 16).contiguous(memory_format=torch.channels_last)
    w = torch.zeros(8, 8, 1, 1)
    slower = [
        (x.contiguous(), w, "layout"),
        (x.bfloat16(), w.bfloat16(), "bfloat16"),
        (x[:, :, :4, :4].contiguous(memory_format=torch.channels_last), w, "pixels"),
        (x, w[:1], "8 -> 1 channels"),
    ]
    if ISAS[-1] != "baseline":
        explanation = spinecore.explain("conv1x1", x, w)
        assert explanation.chosen == explanation.backward_chosen == "cpu"
        for image, weight, word in slower:
            explanation = spinecore.explain("conv1x1", image, weight)
            assert explanation.chosen == explanation.backward_chosen == "reference"
            assert word in explanation.verdicts["cpu"].reason
    core.set_isa("baseline")
    explanation = spinecore.explain("conv1x1", x, w)
    assert explanation.chosen == explanation.backward_chosen == "reference"
    assert "AVX2" in explanation.verdicts["cpu"].reason
