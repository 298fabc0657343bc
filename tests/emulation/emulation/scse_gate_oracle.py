"""The scSE gate against autograd in float64: cases, magnitudes and tolerances for GPU implementations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

MODES = ("add", "max")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
NAMES = ("y", "channel_gate", "spatial_gate", "pooled", "dx", "dw1", "db1", "dw2", "db2", "dws", "dbs")
Forward = Callable[..., tuple[Tensor, ...]]


class Case(NamedTuple):
    x: Tensor
    dy: Tensor
    parameters: list[Tensor]  # w1, b1, w2, b2, ws, bs
    mode: str
    bias: bool

    def arguments(self) -> list[Tensor | None]:
        """w1, b1, w2, b2, ws, bs as an operator takes them."""
        return [p if self.bias or i % 2 == 0 else None for i, p in enumerate(self.parameters)]


def make_case(
    shape: tuple[int, ...],
    hidden: int,
    mode: str = "add",
    channels_last: bool = False,
    dtype: torch.dtype = torch.float32,
    bias: bool = True,
    seed: int = 0,
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    channels = shape[1]

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    form = torch.channels_last if channels_last else torch.contiguous_format
    x, dy = (draw(*shape).to(dtype).contiguous(memory_format=form) for _ in range(2))
    root = channels**0.5
    parameters = [draw(hidden, channels) / root, draw(hidden), draw(channels, hidden), draw(channels)]
    parameters += [draw(channels) / root, draw(1)]
    if not bias:
        for index in (1, 3, 5):
            parameters[index].zero_()
    return _settle(Case(x, dy, parameters, mode, bias))


def cases(most_channels: int = 40, most_side: int = 12) -> st.SearchStrategy[Case]:
    """Any shape, layout, dtype and mode."""
    return st.builds(
        make_case,
        st.tuples(
            st.integers(1, 3),
            st.integers(1, most_channels),
            st.integers(1, most_side),
            st.integers(1, most_side),
        ),
        hidden=st.integers(1, 18),
        mode=st.sampled_from(MODES),
        channels_last=st.booleans(),
        dtype=st.sampled_from(DTYPES),
        bias=st.booleans(),
        seed=st.integers(0, 2**31),
    )


def _gates(x: Tensor, parameters: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    w1, b1, w2, b2, ws, bs = parameters
    pooled = x.mean((2, 3))
    before = pooled @ w1.T + b1
    channel = torch.sigmoid(torch.relu(before) @ w2.T + b2)[:, :, None, None]
    return channel, torch.sigmoid(torch.einsum("nchw,c->nhw", x, ws) + bs)[:, None], before, pooled


def _settle(case: Case) -> Case:
    """No gradient where rounding may decide: gates as good as equal, hidden units at their kink."""
    channel, spatial, before, _ = _gates(case.x.double(), [p.double() for p in case.parameters])
    unsure = ((channel - spatial).abs() < 1e-5) | (before.abs() < 1e-5).any(1)[:, None, None, None]
    case.dy[unsure] = 0.0
    return case


def expected(case: Case) -> tuple[Tensor, ...]:
    """Every result of forward and backward in double precision, by autograd."""
    x = case.x.double().requires_grad_()
    parameters = [parameter.double().requires_grad_() for parameter in case.parameters]
    channel, spatial, _, pooled = _gates(x, parameters)
    y = x * (channel + spatial if case.mode == "add" else torch.maximum(channel, spatial))
    gradients = torch.autograd.grad(y, [x, *parameters], case.dy.double())
    batch = x.shape[0]
    gates = (channel.flatten(1), spatial.reshape(batch, -1), pooled)
    return tuple(value.detach() for value in (y, *gates, *gradients))


def magnitudes(case: Case) -> tuple[Tensor, ...]:
    """What every result would be if nothing cancelled: the scale that rounding errors are measured on."""
    x, dy = case.x.double().abs(), case.dy.double().abs()
    w1, _, w2, _, ws, _ = (parameter.double().abs() for parameter in case.parameters)
    channel, spatial, before, _ = _gates(
        case.x.double(), [parameter.double() for parameter in case.parameters]
    )
    pixels, pooled, hidden = x.shape[2] * x.shape[3], x.mean((2, 3)), before.relu()
    excite = 1 + (pooled @ w1.T + 1) @ w2.T
    squeeze = 1 + torch.einsum("nchw,c->nhw", x, ws)
    score = squeeze[:, None] + excite[:, :, None, None]
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
    scales = (x * score, excite, squeeze.flatten(1), pooled, dx * growth)
    return (*scales, *(total * growth for total in sums))


def results(case: Case, forward: Forward, backward: Forward) -> tuple[Tensor, ...]:
    """Forward and backward of one implementation, as the operator calls them."""
    arguments = case.arguments()
    y, channel_gate, spatial_gate, pooled = forward(case.x, *arguments, case.mode)
    gates = (channel_gate, spatial_gate, pooled)
    return y, *gates, *backward(case.x, case.dy, *arguments[:5], *gates, case.mode)


def assert_close(case: Case, forward: Forward, backward: Forward) -> None:
    """Within four roundings of the magnitude, and one rounding of a half-precision result."""
    got_all = results(case, forward, backward)
    for name, got, want, scale in zip(NAMES, got_all, expected(case), magnitudes(case), strict=True):
        tolerance = 4 * torch.finfo(torch.float32).eps * scale
        if got.dtype in (torch.bfloat16, torch.float16):
            tolerance = tolerance + torch.finfo(got.dtype).eps * want.abs() + torch.finfo(got.dtype).tiny
        error = (got.double() - want).abs()
        assert bool((error <= tolerance).all()), (
            f"{name}: error {error.max():.3g} over {(error / tolerance).max():.3g} x tolerance"
        )


def same_layout(case: Case, value: Any) -> bool:
    """Whether an image result has the strides of x."""
    return bool(value.stride() == case.x.stride())
