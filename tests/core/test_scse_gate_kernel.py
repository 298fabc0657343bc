"""The native scSE gate against autograd in float64, under every instruction set this machine runs."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore import _native

ISAS = ("baseline", "avx2", "avx512")
core = _native.core()


class Case(NamedTuple):
    x: Tensor
    dy: Tensor
    parameters: list[Tensor]  # w1, b1, w2, b2, ws, bs
    mode: int


class Result(NamedTuple):
    y: Tensor
    dx: Tensor
    dw1: Tensor
    db1: Tensor
    dw2: Tensor
    db2: Tensor
    dws: Tensor
    dbs: Tensor


def available_isas() -> list[str]:
    compiled = core.info()["isa_compiled"]
    return compiled[: compiled.index(core.info()["isa_best"]) + 1]


def make_case(
    shape: tuple[int, ...], reduced: int, mode: int, channels_last: bool, dtype: torch.dtype, seed: int
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    channels = shape[1]

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    form = torch.channels_last if channels_last else torch.contiguous_format
    x, dy = (draw(*shape).to(dtype).contiguous(memory_format=form) for _ in range(2))
    w1, b1, w2, b2 = (
        draw(reduced, channels) / channels**0.5,
        draw(reduced),
        draw(channels, reduced),
        draw(channels),
    )
    return Case(x, dy, [w1, b1, w2, b2, draw(channels) / channels**0.5, draw(1)], mode)


def native(case: Case) -> Result:
    """Forward and backward of the core; everything it must write is NaN beforehand."""
    n, c, h, w = case.x.shape
    y, dx = torch.full_like(case.x, torch.nan), torch.full_like(case.x, torch.nan)
    channel_gate, spatial_gate, pooled = (
        torch.full(size, torch.nan) for size in ((n, c), (n, h * w), (n, c))
    )
    gradients = [torch.full_like(parameter, torch.nan) for parameter in case.parameters]
    workspace = torch.full((core.scse_gate_workspace(n, c, h, w, case.parameters[0].shape[0]),), torch.nan)
    core.scse_gate_forward(case.x, *case.parameters, case.mode, y, channel_gate, spatial_gate, pooled)
    gates = (channel_gate, spatial_gate, pooled)
    core.scse_gate_backward(
        case.x, case.dy, *case.parameters[:5], *gates, case.mode, dx, *gradients, workspace
    )
    return Result(y, dx, *gradients)


def gates_of(x: Tensor, parameters: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    w1, b1, w2, b2, ws, bs = parameters
    before = x.sum((2, 3)) / max(x.shape[2] * x.shape[3], 1) @ w1.T + b1
    channel = torch.sigmoid(torch.relu(before) @ w2.T + b2)[:, :, None, None]
    return channel, torch.sigmoid(torch.einsum("nchw,c->nhw", x, ws) + bs)[:, None], before


def autograd(case: Case, dtype: torch.dtype = torch.float64) -> Result:
    x = case.x.to(dtype).requires_grad_()
    parameters = [parameter.to(dtype).requires_grad_() for parameter in case.parameters]
    channel, spatial, _ = gates_of(x, parameters)
    y = x * (channel + spatial if case.mode == 0 else torch.maximum(channel, spatial))
    return Result(y.detach(), *torch.autograd.grad(y, [x, *parameters], case.dy.to(dtype)))


def magnitudes(case: Case) -> Result:
    """What every result would be if nothing cancelled: the scale that rounding errors are measured on."""
    x, dy = case.x.double().abs(), case.dy.double().abs()
    w1, _, w2, _, ws, _ = (parameter.double().abs() for parameter in case.parameters)
    channel, spatial, before = gates_of(
        case.x.double(), [parameter.double() for parameter in case.parameters]
    )
    pixels, pooled, hidden = max(x.shape[2] * x.shape[3], 1), x.mean((2, 3)), before.relu()
    score = 1 + torch.einsum("nchw,c->nhw", x, ws)[:, None] + ((pooled @ w1.T + 1) @ w2.T)[:, :, None, None]
    y = x * score
    # 1 - gate of a saturated gate keeps few digits of its own: its rounding counts beside the slope.
    d_score = (x * dy).sum(1) * (spatial * (1 - spatial) + 1 / 16).squeeze(1)
    d_excite = (x * dy).sum((2, 3)) * (channel * (1 - channel) + 1 / 16).squeeze((2, 3))
    d_hidden = d_excite @ w2
    dx = dy * score + d_score[:, None] * ws[:, None, None] + (d_hidden @ w1 / pixels)[:, :, None, None]
    growth = 4.0  # errors of the gates, carried into what they multiply
    sums = (
        d_hidden.T @ pooled,
        d_hidden.sum(0),
        d_excite.T @ (hidden + pooled @ w1.T),
        d_excite.sum(0),
        torch.einsum("nchw,nhw->c", x, d_score),
        d_score.sum().reshape(1),
    )
    return Result(y, dx * growth, *(total * growth for total in sums))


def assert_close(case: Case) -> None:
    result, expected, scales = native(case), autograd(case), magnitudes(case)
    for name, got, want, scale in zip(Result._fields, result, expected, scales, strict=True):
        tolerance = 4 * torch.finfo(torch.float32).eps * scale
        if got.dtype == torch.bfloat16:  # one rounding of the result
            tolerance = tolerance + torch.finfo(torch.bfloat16).eps * want.abs()
        error = (got.double() - want).abs()
        assert bool((error <= tolerance).all()), (
            f"{name}: error {error.max():.3g} over {(error / tolerance).max():.3g} x tolerance"
        )


def settle(case: Case) -> Case:
    """No gradient where rounding may decide: gates as good as equal, hidden units at their kink."""
    channel, spatial, before = gates_of(
        case.x.double(), [parameter.double() for parameter in case.parameters]
    )
    unsure = ((channel - spatial).abs() < 1e-5) | (before.abs() < 1e-5).any(1)[:, None, None, None]
    case.dy[unsure] = 0.0
    return case


@given(
    n=st.integers(0, 3),
    c=st.integers(1, 70),
    h=st.integers(1, 21),
    w=st.integers(1, 21),
    reduced=st.integers(0, 18),
    mode=st.integers(0, 1),
    channels_last=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    isa=st.sampled_from(available_isas()),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_any_shape_matches_autograd_in_float64(
    n: int,
    c: int,
    h: int,
    w: int,
    reduced: int,
    mode: int,
    channels_last: bool,
    dtype: torch.dtype,
    isa: str,
    seed: int,
) -> None:
    core.set_isa(isa)
    assert_close(settle(make_case((n, c, h, w), reduced, mode, channels_last, dtype, seed)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 16, 64, 64),
        (1, 32, 33, 31),
        (1, 64, 40, 50),
        (2, 128, 24, 24),
        (1, 250, 13, 11),  # groups of 8, 4, 2 and 1 vectors and a rest
        (1, 256, 9, 9),
        (5, 1, 70, 33),
        (1, 3, 200, 3),
    ],
)
def test_every_path_of_the_kernels(isa: str, shape: tuple[int, ...]) -> None:
    """Row lengths with constant loops, several chunks, several groups, both layouts, types and modes."""
    require_isa(isa)
    for mode, channels_last, dtype in itertools.product(
        (0, 1), (False, True), (torch.float32, torch.bfloat16)
    ):
        assert_close(settle(make_case(shape, max(1, shape[1] // 8), mode, channels_last, dtype, seed=1)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("batch", "dtype"), [(1, torch.float32), (2, torch.bfloat16)], ids=["fp32", "bf16"])
def test_results_beyond_the_caches(isa: str, channels_last: bool, batch: int, dtype: torch.dtype) -> None:
    """Where the images of a call are 8 MiB or more, results are streamed past the caches."""
    require_isa(isa)
    assert_close(settle(make_case((batch, 16, 512, 400), 2, 0, channels_last, dtype, seed=2)))


def require_isa(isa: str) -> None:
    if isa not in available_isas():
        pytest.skip(f"this machine does not run {isa}")
    core.set_isa(isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_equal_gates_share_the_gradient_as_torch_maximum_does(isa: str, channels_last: bool) -> None:
    require_isa(isa)
    case = make_case((2, 5, 4, 4), 2, 1, channels_last, torch.float32, seed=3)
    for index in (2, 3, 4, 5):  # w2, b2, ws, bs = 0: both gates are exactly one half
        case.parameters[index].zero_()
    result, expected = native(case), autograd(case)
    for name, got, want in zip(Result._fields, result, expected, strict=True):
        torch.testing.assert_close(
            got.double(), want, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("isa", ISAS)
def test_a_dead_hidden_unit_gets_no_gradient(isa: str) -> None:
    require_isa(isa)
    case = make_case((1, 6, 3, 3), 2, 0, False, torch.float32, seed=4)
    case.parameters[0].zero_()
    case.parameters[1].zero_()  # the hidden unit is exactly 0: relu'(0) = 0
    result = native(case)
    assert not result.dw1.any()
    assert not result.db1.any()


@given(
    value=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    where=st.integers(0, 2 * 5 * 6 * 7 - 1),
    mode=st.integers(0, 1),
    channels_last=st.booleans(),
    isa=st.sampled_from(available_isas()),
)
@settings(max_examples=60, deadline=None)
def test_nan_and_infinity_propagate_like_torch(
    value: float, where: int, mode: int, channels_last: bool, isa: str
) -> None:
    core.set_isa(isa)
    case = make_case((2, 5, 6, 7), 3, mode, channels_last, torch.float32, seed=5)
    case.x[tuple(torch.unravel_index(torch.tensor(where), case.x.shape))] = value
    got, want = native(case).y, autograd(case, torch.float32).y
    assert torch.equal(got.isnan(), want.isnan())
    assert torch.equal(got.isinf(), want.isinf())


@pytest.mark.parametrize("isa", ISAS)
def test_a_nan_gate_gives_nan_in_max_mode(isa: str) -> None:
    require_isa(isa)
    for index in (3, 5):  # the channel gate, then the spatial gate
        case = make_case((1, 4, 3, 3), 2, 1, False, torch.float32, seed=6)
        case.parameters[index].fill_(torch.nan)
        assert native(case).y.isnan().all()


def test_saturated_gates_are_exact() -> None:
    for isa, (logit, gate) in itertools.product(available_isas(), [(-200.0, 0.0), (200.0, 1.0), (0.0, 0.5)]):
        core.set_isa(isa)
        case = make_case((1, 3, 2, 2), 1, 0, False, torch.float32, seed=7)
        for index, fill in ((2, 0.0), (3, logit), (4, 0.0), (5, logit)):
            case.parameters[index].fill_(fill)
        assert torch.equal(native(case).y, case.x * (2 * gate))


def test_no_gradient_is_left_unwritten_by_an_empty_batch() -> None:
    case = make_case((0, 4, 3, 3), 2, 0, False, torch.float32, seed=8)
    assert all(not gradient.any() for gradient in native(case)[2:])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bitwise_equal_for_any_number_of_threads(isa: str, channels_last: bool, dtype: torch.dtype) -> None:
    require_isa(isa)
    case = make_case((3, 40, 75, 61), 5, 1, channels_last, dtype, seed=9)
    torch.set_num_threads(1)
    first = native(case)
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        for name, got, want in zip(Result._fields, native(case), first, strict=True):
            assert torch.equal(got, want), f"{name} differs with {threads} threads"
