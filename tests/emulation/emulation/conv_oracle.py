"""The 3x3 convolutions against their formulas in float64: cases and tolerances for GPU kernels."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

conv3x3 = importlib.import_module("spinecore.ops.conv3x3")
recurrent = importlib.import_module("spinecore.ops.recurrent_residual_conv")
recurrent_bn = importlib.import_module("spinecore.ops.recurrent_residual_conv_bn")

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
Run = Callable[..., Any]
# Roundings of one result. Half-precision intermediates are rounded once a step, as torch's are.
ROUNDINGS = {torch.float32: 32.0, torch.bfloat16: 6.0, torch.float16: 6.0}


class Case(NamedTuple):
    x: Tensor
    dy: Tensor
    w: Tensor
    bias: Tensor | None
    activation: str
    residual: Tensor | None


def make_case(
    shape: tuple[int, int, int, int],
    out: int,
    dtype: torch.dtype = torch.float32,
    activation: str = "relu",
    extras: bool = True,
    channels_last: bool = False,
    seed: int = 0,
) -> Case:
    batch, channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(dtype)

    form = torch.channels_last if channels_last else torch.contiguous_format
    x = draw(*shape).contiguous(memory_format=form)
    w = (draw(out, channels, 3, 3).float() / (9 * channels) ** 0.5).to(dtype)
    bias, residual = (draw(out), draw(batch, out, height, width)) if extras else (None, None)
    return Case(x, draw(batch, out, height, width), w, bias, activation, residual)


def cases(most_channels: int = 80, most_side: int = 9) -> st.SearchStrategy[Case]:
    """Any shape, layout and dtype, with and without bias, residual and activation."""
    side = st.integers(1, most_side)
    return st.builds(
        make_case,
        st.tuples(st.integers(1, 3), st.integers(1, most_channels), side, side),
        st.integers(1, most_channels),
        st.sampled_from(DTYPES),
        st.sampled_from(("none", "relu")),
        st.booleans(),
        st.booleans(),
        st.integers(0, 2**31),
    )


def _compare(name: str, got: Tensor, want: Tensor, roundings: float, dtype: torch.dtype) -> None:
    assert got.shape == want.shape, name
    if not got.numel():
        return
    scale = want.abs().max()
    tolerance = (roundings * torch.finfo(dtype).eps) * scale + 1e-30
    error = (got.double() - want).abs().max()
    assert bool(error <= tolerance), f"{name}: error {error:.3g} is {error / tolerance:.3g} x tolerance"


def assert_close(case: Case, forward: Run, backward: Run) -> None:
    """A single convolution, and its gradients at the same activations: a few roundings of the dtype."""
    x, dy, w, bias, activation, residual = case
    wide = [None if t is None else t.double() for t in (x, w, bias, residual)]
    y = forward(x, w, bias, activation, residual)
    want = conv3x3._reference(wide[0], wide[1], wide[2], activation, wide[3])
    assert y.dtype is x.dtype
    assert y.is_contiguous() == x.is_contiguous() or min(x.shape[1:]) == 1 or y.shape[1] == 1
    roundings = ROUNDINGS[x.dtype]
    _compare("y", y, want, roundings, x.dtype)
    kept = y if activation == "relu" else None
    need = residual is not None
    got = backward(x, dy, w, kept, True, need)
    wide_kept = None if kept is None else kept.double()
    wanted = conv3x3._backward_reference(wide[0], dy.double(), wide[1], wide_kept, True, need)
    for name, value, target in zip(("dx", "dw", "dbias", "dresidual"), got, wanted, strict=True):
        _compare(name, value, target, roundings, x.dtype)


class Recurrence(NamedTuple):
    x: Tensor
    w_in: Tensor
    w_rec: Tensor
    scale: Tensor
    shift: Tensor
    steps: int
    residual: bool

    @property
    def dtype(self) -> torch.dtype:
        return self.x.dtype

    def arguments(self) -> tuple[Any, ...]:
        return tuple(self)


def make_recurrence(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype = torch.float32,
    steps: int = 2,
    residual: bool = True,
    each_step: bool = True,
    channels_last: bool = True,
    seed: int = 0,
) -> Recurrence:
    """``each_step``: a scale and a shift of its own for every step."""
    generator = torch.Generator().manual_seed(seed)
    channels = shape[1]
    form = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=form)
    w_in, w_rec = (
        (torch.randn((channels, channels, 3, 3), generator=generator) / (3 * channels**0.5)).to(dtype)
        for _ in range(2)
    )
    size = (steps + 1, channels) if each_step else (channels,)
    scale = torch.rand(size, generator=generator) * 0.5 + 0.5
    shift = torch.randn(size, generator=generator) * 0.3
    return Recurrence(x, w_in, w_rec, scale, shift, steps, residual)


def recurrences(
    steps: tuple[int, ...], most_channels: int = 64, most_side: int = 17
) -> st.SearchStrategy[Recurrence]:
    """Any shape, layout and dtype of at most so many channels (half as many in float32)."""
    side = st.integers(1, most_side)

    def of(dtype: torch.dtype) -> st.SearchStrategy[Recurrence]:
        channels = st.integers(1, most_channels * 2 // dtype.itemsize)
        shape = st.tuples(st.integers(1, 2), channels, side, side)
        flag = st.booleans()
        return st.builds(
            make_recurrence,
            shape,
            st.just(dtype),
            st.sampled_from(steps),
            flag,
            flag,
            flag,
            st.integers(0, 2**31),
        )

    return st.sampled_from(DTYPES).flatmap(of)


def assert_forward_close(case: Recurrence, run: Run) -> None:
    """The inference form against its reference in double precision."""
    x, w_in, w_rec, scale, shift, steps, residual = case
    wide = [t.double() for t in (x, w_in, w_rec, scale, shift)]
    y = run(*case)
    assert y.dtype is x.dtype
    assert y.is_contiguous() == x.is_contiguous() or min(x.shape[1:]) == 1
    want = recurrent._reference(*wide, steps, residual)
    _compare("y", y, want, ROUNDINGS[x.dtype] * (steps + 1), x.dtype)


def assert_recurrence_close(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    steps: int,
    bn: bool,
    kernels: tuple[Any, Any],
    seed: int = 0,
) -> None:
    """Both directions of a recurrence; the gradient only in float32: in half precision roundings move
    activations over the kink of relu, and the gradient with them.
    """
    generator = torch.Generator().manual_seed(seed)
    channels = shape[1]
    x = torch.randn(shape, generator=generator).to(dtype)
    w_in, w_rec = (
        (torch.randn((channels, channels, 3, 3), generator=generator) / (3 * channels**0.5)).to(dtype)
        for _ in range(2)
    )
    scale = torch.rand((steps + 1, channels), generator=generator) * 0.5 + 0.5
    shift = torch.randn((steps + 1, channels), generator=generator) * 0.3
    forward, backward = (kernel.run for kernel in kernels)
    wide = [t.double() for t in (x, w_in, w_rec, scale, shift)]
    roundings = ROUNDINGS[dtype] * (steps + 1)
    if bn:
        want = recurrent_bn._reference(*wide, 1e-5, steps, True)
        got = forward(x, w_in, w_rec, scale, shift, 1e-5, steps, True)
        for name, a, b in zip(("y", "mean", "variance"), got[:3], want[:3], strict=True):
            _compare(name, a, b, roundings * 2, dtype)
    else:
        want = recurrent._reference(*wide, steps, True)
        _compare("y", forward(x, w_in, w_rec, scale, shift, steps, True), want, roundings, dtype)
    if dtype is not torch.float32:
        return
    dy = torch.randn(shape, generator=generator)
    if bn:
        given = (got[1], got[3], list(got[4]))
        wide_given = (got[1].double(), got[3].double(), [z.double() for z in got[4]])
        gradients = backward(x, dy, w_in, w_rec, scale, shift, *given, 1e-5, True)
        wanted = recurrent_bn._backward_reference(wide[0], dy.double(), *wide[1:], *wide_given, 1e-5, True)
    else:
        gradients = backward(x, dy, w_in, w_rec, scale, shift, steps, True)
        wanted = recurrent._backward_reference(wide[0], dy.double(), *wide[1:], steps, True)
    for name, a, b in zip(("dx", "dw_in", "dw_rec", "dscale", "dshift"), gradients, wanted, strict=True):
        _compare(name, a, b, roundings * 4, dtype)
