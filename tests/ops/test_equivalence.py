"""Every backend of every operator against formulas written with torch.nn.functional, in double precision and
under autograd.

The tolerance calibrates itself: the error may be twice the one the same formula makes in the same dtype.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore.ops import OPS
from spinecore.testing import check_against_formula, outputs_and_gradients

QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16])
# Winograd's F(4x4, 3x3) adds what largely cancels: its float32 error is a few times that of a direct
# convolution, and the bound of the contract is 5e-6 of the largest value. The gradients are the same
# transforms, transposed.
WINOGRAD_ULPS = {torch.float32: 5e-6 / torch.finfo(torch.float32).eps, torch.bfloat16: 8.0}
LAYOUTS = st.sampled_from(["contiguous", "channels_last", "strided"])


def rows(parameter: Tensor, step: int) -> Tensor:
    return (parameter[step] if parameter.dim() == 2 else parameter).view(1, -1, 1, 1)


def recurrent(
    x: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int, residual: bool
) -> Tensor:
    """R2U-Net by linearity: every step convolves the input again."""
    pad = w_in.shape[-1] // 2
    u = torch.relu(rows(scale, 0) * F.conv2d(x, w_in, padding=pad) + rows(shift, 0))
    for step in range(1, steps + 1):
        total = F.conv2d(x, w_in, padding=pad) + F.conv2d(u, w_rec, padding=pad)
        u = torch.relu(rows(scale, step) * total + rows(shift, step))
    return x + u if residual else u


def recurrent_bn(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    steps: int,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    pad = w_in.shape[-1] // 2
    u, means, variances = x, [], []
    for step in range(steps + 1):
        z = F.conv2d(x, w_in, padding=pad)
        if step:
            z = z + F.conv2d(u, w_rec, padding=pad)
        wide = z.detach().to(torch.float64 if z.dtype is torch.float64 else torch.float32)
        means.append(wide.mean((0, 2, 3)))
        variances.append(wide.var((0, 2, 3), correction=0))
        weight, bias = rows(gamma, step).flatten(), rows(beta, step).flatten()
        u = torch.relu(F.batch_norm(z, None, None, weight, bias, training=True, eps=eps))
    return (x + u if residual else u), torch.stack(means), torch.stack(variances)


def conv(x: Tensor, w: Tensor, bias: Tensor | None, activation: str, residual: Tensor | None) -> Tensor:
    y = F.conv2d(x, w, bias, padding=1)
    y = y if residual is None else y + residual
    return torch.relu(y) if activation == "relu" else y


def conv_bn(
    x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor, eps: float, activation: str
) -> tuple[Tensor, Tensor, Tensor]:
    z = F.conv2d(x, w)
    mean, var = z.mean((0, 2, 3)), z.var((0, 2, 3), correction=0)
    y = F.batch_norm(z, None, None, gamma, beta, True, 0.0, eps)
    return y.relu() if activation == "relu" else y, mean.detach(), var.detach()


def scse(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    ws: Tensor,
    bs: Tensor | None,
    mode: str,
) -> Tensor:
    """The module everybody writes: pooling and two 1x1 convolutions, a 1x1 convolution to one channel."""
    pooled = F.adaptive_avg_pool2d(x, 1)
    channel = torch.sigmoid(
        F.conv2d(torch.relu(F.conv2d(pooled, w1[:, :, None, None], b1)), w2[:, :, None, None], b2)
    )
    spatial = torch.sigmoid(F.conv2d(x, ws.view(1, -1, 1, 1), bs))
    return x * channel + x * spatial if mode == "add" else torch.maximum(x.sign() * 0 + channel, spatial) * x


def covariance(z: Tensor, mask: Tensor | None, gamma: float, eps: float) -> tuple[Tensor, Tensor]:
    z = (z if mask is None else z[mask]).to(torch.float64 if z.dtype is torch.float64 else torch.float32)
    matrix = torch.atleast_2d(torch.cov(z.T))
    off = matrix - torch.diag(matrix.diagonal())
    return off.square().sum() / z.shape[1], F.relu(gamma - torch.sqrt(z.var(0) + eps)).mean()


def cross(a: Tensor, b: Tensor) -> Tensor:
    a, b = (z if z.dtype is torch.float64 else z.float() for z in (a, b))
    joint = torch.cov(torch.cat([a, b], 1).T)
    return joint[: a.shape[1], a.shape[1] :].square().mean()


def orthogonality(a: Tensor, b: Tensor) -> Tensor:
    a, b = (z if z.dtype is torch.float64 else z.float() for z in (a, b))
    left, right = ((z - z.mean(0)) / ((z - z.mean(0)).norm(dim=1, keepdim=True) + 1e-6) for z in (a, b))
    return (left.T @ right).square().mean()


def image(generator: torch.Generator, shape: tuple[int, ...], layout: str) -> Tensor:
    if layout == "strided":
        wide = torch.randn((*shape[:3], 2 * shape[3] + 1), generator=generator, dtype=torch.float64)
        return wide[..., 1::2]
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x.contiguous(memory_format=torch.channels_last) if layout == "channels_last" else x


@QUICK
@given(
    seed=st.integers(0, 2**31),
    dtype=DTYPES,
    layout=LAYOUTS,
    channels=st.integers(1, 40),
    hidden=st.integers(1, 9),
    size=st.tuples(st.integers(1, 3), st.integers(1, 19), st.integers(1, 21)),
    bias=st.booleans(),
    mode=st.sampled_from(["add", "max"]),
)
def test_scse_gate(
    seed: int,
    dtype: torch.dtype,
    layout: str,
    channels: int,
    hidden: int,
    size: tuple[int, int, int],
    bias: bool,
    mode: str,
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = image(generator, (size[0], channels, *size[1:]), layout)
    biases = (draw(hidden), draw(channels), draw(1)) if bias else (None, None, None)
    scale = channels**-0.5
    args = [
        x,
        draw(hidden, channels) * scale,
        biases[0],
        draw(channels, hidden),
        biases[1],
        draw(channels) * scale,
        biases[2],
    ]
    check_against_formula("scse_gate", scse, [*args, mode], dtype, seed)


@QUICK
@given(
    seed=st.integers(0, 2**31),
    dtype=DTYPES,
    layout=LAYOUTS,
    channels=st.integers(1, 6),
    size=st.tuples(st.integers(2, 3), st.integers(15, 20), st.integers(15, 20)),
    steps=st.integers(0, 3),
    residual=st.booleans(),
    per_step=st.booleans(),
    shared=st.booleans(),
    kernel=st.sampled_from([1, 3, 3, 5]),
    training=st.booleans(),
)
def test_recurrent_residual_conv(
    seed: int,
    dtype: torch.dtype,
    layout: str,
    channels: int,
    size: tuple[int, int, int],
    steps: int,
    residual: bool,
    per_step: bool,
    shared: bool,
    kernel: int,
    training: bool,
) -> None:
    # Enough pixels that the units whose sign bf16 rounding flips average out in both implementations.
    generator = torch.Generator().manual_seed(seed)
    x = image(generator, (size[0], channels, *size[1:]), layout)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    w_in, w_rec = (draw(channels, channels, kernel, kernel) / (kernel * channels**0.5) for _ in range(2))
    shape = (steps + 1, channels) if per_step else (channels,)
    gamma, beta = 1 + 0.2 * draw(*shape), 0.2 * draw(*shape)
    weights = [w_in, w_in if shared else w_rec]
    if training:
        name, formula, rest = "recurrent_residual_conv_bn", recurrent_bn, [1e-5, steps, residual]
    else:
        name, formula, rest = "recurrent_residual_conv", recurrent, [steps, residual]
    args = [x, *weights, gamma, beta, *rest]
    check_against_formula(name, formula, args, dtype, seed, WINOGRAD_ULPS[dtype])


@QUICK
@given(
    seed=st.integers(0, 2**31),
    dtype=DTYPES,
    layout=LAYOUTS,
    channels=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    size=st.tuples(st.integers(2, 3), st.integers(14, 18), st.integers(14, 18)),
    bias=st.booleans(),
    relu=st.booleans(),
    residual=st.booleans(),
)
def test_conv3x3(
    seed: int,
    dtype: torch.dtype,
    layout: str,
    channels: tuple[int, int],
    size: tuple[int, int, int],
    bias: bool,
    relu: bool,
    residual: bool,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = image(generator, (size[0], channels[0], *size[1:]), layout)
    w = torch.randn((channels[1], channels[0], 3, 3), generator=generator, dtype=torch.float64) / 3
    b = torch.randn(channels[1], generator=generator, dtype=torch.float64) if bias else None
    added = image(generator, (size[0], channels[1], *size[1:]), "contiguous") if residual else None
    args = [x, w, b, "relu" if relu else "none", added]
    check_against_formula("conv3x3", conv, args, dtype, seed, WINOGRAD_ULPS[dtype])


@QUICK
@given(
    seed=st.integers(0, 2**31),
    dtype=DTYPES,
    layout=LAYOUTS,
    channels=st.tuples(st.integers(2, 6), st.integers(1, 6)),
    size=st.tuples(st.integers(2, 3), st.integers(14, 18), st.integers(14, 18)),
    normalise=st.booleans(),
    option=st.booleans(),
)
def test_conv1x1(
    seed: int,
    dtype: torch.dtype,
    layout: str,
    channels: tuple[int, int],
    size: tuple[int, int, int],
    normalise: bool,
    option: bool,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = image(generator, (size[0], channels[0], *size[1:]), layout)
    w = torch.randn((channels[1], channels[0], 1, 1), generator=generator, dtype=torch.float64)
    b, gain = (torch.randn(channels[1], generator=generator, dtype=torch.float64) for _ in range(2))
    if not normalise:
        check_against_formula("conv1x1", F.conv2d, [x, w, b if option else None], dtype, seed)
        return
    args = [x, w, 1 + 0.2 * gain, 0.2 * b, 1e-5, "relu" if option else "none"]
    check_against_formula("conv1x1_bn", conv_bn, args, dtype, seed, WINOGRAD_ULPS[dtype])


@QUICK
@given(
    seed=st.integers(0, 2**31),
    dtype=DTYPES,
    batch=st.integers(3, 40),
    widths=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    mean=st.sampled_from([0.0, 3.0]),
    masked=st.booleans(),
)
def test_decorrelation(
    seed: int, dtype: torch.dtype, batch: int, widths: tuple[int, int], mean: float, masked: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Values a bf16 tensor holds exactly: the penalties are then the same function of the same numbers in
    # every dtype.
    a, b = ((torch.randn((batch, width), generator=generator) + mean).bfloat16().double() for width in widths)
    mask = None
    if masked:
        mask = torch.rand(batch, generator=generator) > 0.3
        mask[:2] = True
    check_against_formula("covariance_penalty", covariance, [a, mask, 1.0, 1e-4], dtype, seed)
    check_against_formula("cross_covariance_penalty", cross, [a, b], dtype, seed)
    if min(widths) > 1:  # rows of one feature normalise to 1 or -1: their gradient is nothing but rounding
        check_against_formula("orthogonality_penalty", orthogonality, [a, b], dtype, seed)


@pytest.mark.parametrize("mode", ["add", "max"])
def test_scse_gate_with_equal_gates_matches_autograd(mode: str) -> None:
    """Zero weights make both gates one half everywhere: the tie of ``max`` is shared as torch.maximum shares
    it.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((2, 5, 4, 3), generator=generator, dtype=torch.float64)
    args = [
        x,
        torch.randn(3, 5).double(),
        None,
        torch.zeros(5, 3).double(),
        None,
        torch.zeros(5).double(),
        None,
        mode,
    ]
    check_against_formula("scse_gate", scse, args, torch.float32, 0)
    y, _ = outputs_and_gradients(OPS["scse_gate"].function, args)
    torch.testing.assert_close(y[0], x if mode == "add" else x / 2)
