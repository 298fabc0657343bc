"""Recurrent residual convolution, inference: one unit of three convolutions, and the block of two units.

Batch norm is folded into the weights for the peers, which is their best setting, and into scale and shift for
ours. Two formulations are timed: R2U-Net's convolution of x + u, and the same by linearity with the first
convolution computed once, which compilers fuse with its addition.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import ops
from spinecore.bench.case import CONTEXT, Case, Problem, Shape, Target, Variant, Work
from spinecore.bench.cases.images import AXES, LAYOUTS, SHAPES, double, drawn_once, in_dtype
from spinecore.bench.peers import autocast, inference, ours
from spinecore.bench.runtimes import openvino

STEPS = 2


def unit(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """The unit as R2U-Net has it, batch norm folded, before the residual."""
    u = F.relu(F.conv2d(x, w, b, padding=1))
    for _ in range(STEPS):
        u = F.relu(F.conv2d(x + u, w, b, padding=1))
    return u


def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """The residual unit."""
    return x + unit(x, w, b)


def by_linearity(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """conv(x + u) = conv(x) + conv(u)."""
    d = F.conv2d(x, w, b, padding=1)
    u = F.relu(d)
    for _ in range(STEPS):
        u = F.relu(d + F.conv2d(u, w, None, padding=1))
    return x + u


def draw_unit(channels: int) -> list[Tensor]:
    """Weight, scale and shift of one unit."""
    weight = torch.randn(channels, channels, 3, 3) / (3 * channels**0.5)
    return [weight, 1 + 0.2 * torch.randn(channels), 0.2 * torch.randn(channels)]


def folded(weight: Tensor, scale: Tensor, shift: Tensor) -> list[Tensor]:
    """The unit's weight and bias with the scale folded in."""
    return [weight * scale[:, None, None, None], shift]


@drawn_once
def _drawn(shape: Shape) -> list[Tensor]:
    return [torch.randn(shape), *draw_unit(shape[1])]


def _inputs(shape: Shape, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Ours: x, w_in, w_rec (the same tensor), scale, shift; the affine map stays float32."""
    x, weight, scale, shift = _drawn(shape)
    weight = weight.to(dtype)
    return [x.to(dtype), weight, weight, scale, shift]


def _peer_inputs(shape: Shape, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    x, *unit = _drawn(shape)
    return in_dtype([x, *folded(*unit)], dtype)


def _expected(shape: Shape, dtype: torch.dtype) -> list[Tensor]:
    exact = partial(ops.recurrent_residual_conv, steps=STEPS, backend="reference")
    return [exact(*double(_inputs(shape, dtype)))]


def _problem(shape: Shape) -> Problem:
    mine, theirs = partial(_inputs, shape), partial(_peer_inputs, shape)
    variants = ours(partial(ops.recurrent_residual_conv, steps=STEPS), mine, layouts=LAYOUTS)
    variants |= inference(plain, theirs, layouts=LAYOUTS)
    variants |= inference(
        by_linearity, theirs, layouts=("nhwc",), family="hand-written", runtimes=False, max_autotune=False
    )
    half = partial(autocast, plain, theirs, "nhwc")
    variants["autocast bfloat16 nhwc"] = Variant(half, CONTEXT, "autocast bf16", 3e-2)
    return Problem(variants, lambda: _expected(shape, torch.float32))


def _bfloat16(shape: Shape) -> Problem:
    mine = partial(_inputs, shape, torch.bfloat16)
    theirs = partial(_peer_inputs, shape, torch.bfloat16)
    variants = ours(partial(ops.recurrent_residual_conv, steps=STEPS), mine, layouts=LAYOUTS)
    variants |= inference(plain, theirs, layouts=("nhwc",), runtimes=False, max_autotune=False)
    variants |= inference(
        by_linearity, theirs, layouts=("nhwc",), family="hand-written", runtimes=False, max_autotune=False
    )
    whole = partial(_peer_inputs, shape)
    variants["autocast nhwc"] = Variant(partial(autocast, plain, whole, "nhwc"), CONTEXT, "autocast")
    runtime = partial(openvino, plain, whole, precision="bf16")
    variants["openvino bf16"] = Variant(runtime, CONTEXT, "openvino bf16")
    return Problem(variants, lambda: _expected(shape, torch.bfloat16))


# ---- the block: a 1x1 convolution and two units ------------------------------------------------------------


def plain_block(x: Tensor, w: Tensor, b: Tensor, w0: Tensor, b0: Tensor, w1: Tensor, b1: Tensor) -> Tensor:
    """R2U-Net's block."""
    z = F.conv2d(x, w, b)
    return z + unit(unit(z, w0, b0), w1, b1)


def _our_block(x: Tensor, w: Tensor, b: Tensor, *units: Tensor, backend: str | None = None) -> Tensor:
    z = ops.conv1x1(x, w, b, backend=backend)
    u = z
    for weight, scale, shift in (units[:3], units[3:]):
        u = ops.recurrent_residual_conv(u, weight, weight, scale, shift, STEPS, False, backend=backend)
    return u.add_(z)


@drawn_once
def _block_drawn(shape: Shape) -> list[Tensor]:
    c = shape[1]
    point = [torch.randn(c, c, 1, 1) / c**0.5, 0.2 * torch.randn(c)]
    return [torch.randn(shape), *point, *draw_unit(c), *draw_unit(c)]


def _block_folded(shape: Shape) -> list[Tensor]:
    drawn = _block_drawn(shape)
    return [*drawn[:3], *folded(*drawn[3:6]), *folded(*drawn[6:])]


def _block(shape: Shape) -> Problem:
    mine, theirs = partial(_block_drawn, shape), partial(_block_folded, shape)
    variants = ours(_our_block, mine, layouts=("nhwc",))
    variants |= inference(plain_block, theirs, layouts=("nhwc",), max_autotune=False)
    return Problem(variants, lambda: [_our_block(*double(mine()), backend="reference")])


def convolution_work(convolutions: int, point: int = 0) -> Callable[[Shape], Work]:
    """So many 3x3 and 1x1 convolutions of C to C channels, computed directly."""

    def work(shape: Shape) -> Work:
        n, c, h, w = shape
        return Work(flops=2.0 * n * h * w * c * c * (9 * convolutions + point))

    return work


CASES = [
    Case(
        operator="recurrent_residual_conv",
        name="inference float32",
        axes=AXES,
        shapes=SHAPES,
        problem=_problem,
        work=convolution_work(STEPS + 1),
        tolerance=1e-4,
        target=Target(2.3, 2.6),
        against=(
            "eager, compile with freezing and max-autotune, ONNX Runtime, OpenVINO, either layout, and the "
            "formulation by linearity"
        ),
    ),
    Case(
        operator="recurrent_residual_conv",
        name="inference bfloat16",
        axes=AXES,
        shapes=SHAPES,
        problem=_bfloat16,
        work=convolution_work(STEPS + 1),
        tolerance=3e-2,
        target=Target(1.2, 1.4),
        against="torch on bfloat16 tensors, channels-last, eager and compile with freezing",
    ),
    Case(
        operator="recurrent_residual_conv",
        name="block inference float32",
        axes=AXES,
        shapes=SHAPES,
        problem=_block,
        work=convolution_work(2 * (STEPS + 1), 1),
        tolerance=1e-4,
        target=Target(2.3, 2.6),
        against="eager, compile with freezing, ONNX Runtime, OpenVINO, channels-last",
    ),
]
