"""1x1 convolutions as the blocks of R2MF-Net train them: alone, and with batch normalisation and ReLU."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import ops
from spinecore.bench.case import Case, Problem, Shape, Target, Work
from spinecore.bench.cases.images import LAYOUTS, double, drawn_once
from spinecore.bench.peers import forward_backward, medium, ours, training

SHAPES: tuple[Shape, ...] = (
    (2, 48, 48, 128, 48),
    (2, 192, 48, 128, 48),
    (2, 320, 96, 64, 24),
    (2, 448, 128, 32, 12),
    (2, 640, 192, 16, 6),
)


def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Convolution and bias."""
    return F.conv2d(x, w, b)


def plain_block(x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Convolution, batch normalisation, ReLU."""
    return F.relu(F.batch_norm(F.conv2d(x, w), None, None, gamma, beta, training=True))


def _block(x: Tensor, w: Tensor, gamma: Tensor, beta: Tensor, backend: str | None = None) -> Tensor:
    return ops.conv1x1_bn(x, w, gamma, beta, activation="relu", backend=backend)[0]


@drawn_once
def _drawn(shape: Shape) -> list[Tensor]:
    n, c, d, height, width = shape
    return [torch.randn(n, c, height, width), torch.randn(d, c, 1, 1) / c**0.5, 0.2 * torch.randn(d)]


@drawn_once
def _drawn_block(shape: Shape) -> list[Tensor]:
    x, w, b = _drawn(shape)
    return [x, w, 1 + 0.2 * torch.randn(shape[2]), b]


def _problem(shape: Shape) -> Problem:
    inputs = partial(_drawn, shape)
    variants = ours(ops.conv1x1, inputs, layouts=LAYOUTS, backward=True)
    peers = training(plain, inputs, layouts=LAYOUTS)
    variants |= peers | medium({name: peer for name, peer in peers.items() if name.startswith("eager")})
    exact = partial(ops.conv1x1, backend="reference")
    return Problem(variants, lambda: forward_backward(exact, lambda: double(inputs()))())


def _problem_block(shape: Shape) -> Problem:
    inputs = partial(_drawn_block, shape)
    variants = ours(_block, inputs, layouts=LAYOUTS, backward=True)
    variants |= training(plain_block, inputs, layouts=LAYOUTS)
    exact = partial(_block, backend="reference")
    return Problem(variants, lambda: forward_backward(exact, lambda: double(inputs()))())


def _work(shape: Shape) -> Work:
    """Forward, the gradient of the input and the gradient of the weight."""
    n, c, d, height, width = shape
    return Work(flops=6.0 * n * height * width * c * d)


CASES = [
    Case(
        operator="conv1x1",
        name="training float32",
        axes="N,C,D,H,W",
        shapes=SHAPES,
        problem=_problem,
        work=_work,
        tolerance=2e-2,  # peers at 'medium' precision round to bfloat16
        target=Target(),
        against="eager, compile and 'medium' precision, either layout",
    ),
    Case(
        operator="conv1x1",
        name="with batch norm and ReLU, training float32",
        axes="N,C,D,H,W",
        shapes=SHAPES,
        problem=_problem_block,
        work=_work,
        tolerance=2e-2,  # activations that rounding puts on the other side of zero change whole gradients
        target=Target(),
        against="eager and compile, either layout",
    ),
]
