"""One 3x3 convolution with bias and activation, as encoders and decoders have them."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import ops
from spinecore.bench.case import Case, Problem, Shape, Target, Work
from spinecore.bench.cases.images import LAYOUTS, double, drawn_once
from spinecore.bench.peers import inference, ours

SHAPES: tuple[Shape, ...] = (
    (1, 64, 64, 256, 256),
    (1, 64, 128, 128, 128),
    (1, 32, 16, 512, 256),
    (1, 256, 256, 64, 64),
)


def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Convolution, bias, ReLU."""
    return F.relu(F.conv2d(x, w, b, padding=1))


@drawn_once
def _drawn(shape: Shape) -> list[Tensor]:
    n, c, d, height, width = shape
    weight = torch.randn(d, c, 3, 3) / (3 * c**0.5)
    return [torch.randn(n, c, height, width), weight, 0.2 * torch.randn(d)]


def _problem(shape: Shape) -> Problem:
    inputs = partial(_drawn, shape)
    activated = partial(ops.conv3x3, activation="relu")
    variants = ours(activated, inputs, layouts=LAYOUTS)
    variants |= inference(plain, inputs, layouts=LAYOUTS)
    return Problem(variants, lambda: [activated(*double(inputs()), backend="reference")])


def _work(shape: Shape) -> Work:
    n, c, d, height, width = shape
    return Work(flops=18.0 * n * height * width * c * d)


CASES = [
    Case(
        operator="conv3x3",
        name="inference float32",
        axes="N,C,D,H,W",
        shapes=SHAPES,
        problem=_problem,
        work=_work,
        tolerance=1e-4,
        target=Target(),
        against="eager, compile with freezing and max-autotune, ONNX Runtime, OpenVINO, either layout",
    ),
]
