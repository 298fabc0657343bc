"""Recurrent residual convolution with batch norm: forward and backward of one training step of a unit."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import ops
from spinecore.bench.case import CONTEXT, Case, Problem, Shape, Target, Variant, Work
from spinecore.bench.cases.images import AXES, LAYOUTS, SHAPES, double, drawn_once
from spinecore.bench.cases.recurrent_residual_conv import STEPS, draw_unit
from spinecore.bench.peers import forward_backward, ours, training


def plain(x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """The unit as R2U-Net has it: one convolution and one normalisation, used at every step."""
    u = _normalised(F.conv2d(x, w, padding=1), gamma, beta)
    for _ in range(STEPS):
        u = _normalised(F.conv2d(x + u, w, padding=1), gamma, beta)
    return x + u


def by_linearity(x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """conv(x + u) = conv(x) + conv(u): the first convolution is shared by the steps."""
    d = F.conv2d(x, w, padding=1)
    u = _normalised(d, gamma, beta)
    for _ in range(STEPS):
        u = _normalised(d + F.conv2d(u, w, padding=1), gamma, beta)
    return x + u


def _normalised(z: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return F.relu(F.batch_norm(z, None, None, gamma, beta, training=True))


def _ours(x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor, backend: str | None = None) -> Tensor:
    return ops.recurrent_residual_conv_bn(x, w, w, gamma, beta, steps=STEPS, backend=backend)[0]


@drawn_once
def _drawn(shape: Shape) -> list[Tensor]:
    return [torch.randn(shape), *draw_unit(shape[1])]


def _problem(shape: Shape) -> Problem:
    inputs = partial(_drawn, shape)
    variants = ours(_ours, inputs, layouts=LAYOUTS, backward=True)
    variants |= training(plain, inputs, layouts=LAYOUTS)
    variants |= training(by_linearity, inputs, layouts=("nhwc",), family="hand-written", compiled=False)
    half = partial(forward_backward, plain, inputs, "nhwc", torch.bfloat16)
    variants["autocast bfloat16 nhwc"] = Variant(half, CONTEXT, "autocast bf16", 0.2)
    exact = partial(_ours, backend="reference")
    return Problem(variants, lambda: forward_backward(exact, lambda: double(inputs()))())


def _work(shape: Shape) -> Work:
    """Forward, the gradient of the input and the gradient of the weight: three times the convolutions."""
    n, c, h, w = shape
    return Work(flops=3 * 18.0 * (STEPS + 1) * n * h * w * c * c)


CASES = [
    Case(
        operator="recurrent_residual_conv_bn",
        name="training float32",
        axes=AXES,
        shapes=SHAPES[:5],
        problem=_problem,
        work=_work,
        tolerance=2e-2,  # activations that rounding puts on the other side of zero change whole gradients
        target=Target(1.7, 2.2),
        against="eager and compile, either layout",
    ),
]
