"""scSE gate, forward and forward + backward; bound by traffic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import ops
from spinecore.bench.case import Case, Problem, Shape, Target, Work
from spinecore.bench.cases.images import AXES, LAYOUTS, SHAPES, double, drawn_once, in_dtype
from spinecore.bench.peers import forward_backward, inference, ours, training

_SQUEEZE = 8


def plain(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, ws: Tensor, bs: Tensor) -> Tensor:
    """The gate as one writes it in a model."""
    channel = torch.sigmoid(F.linear(F.relu(F.linear(x.mean((2, 3)), w1, b1)), w2, b2))
    spatial = torch.sigmoid(F.conv2d(x, ws.view(1, -1, 1, 1), bs))
    return x * channel[:, :, None, None] + x * spatial


def one_product(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, ws: Tensor, bs: Tensor) -> Tensor:
    """Both gates added first: one pass over x less."""
    channel = torch.sigmoid(F.linear(F.relu(F.linear(x.mean((2, 3)), w1, b1)), w2, b2))
    spatial = torch.sigmoid(F.conv2d(x, ws.view(1, -1, 1, 1), bs))
    return x * (channel[:, :, None, None] + spatial)


@drawn_once
def _inputs(shape: Shape) -> list[Tensor]:
    c, r = shape[1], shape[1] // _SQUEEZE
    return [
        torch.randn(shape),
        torch.randn(r, c) / c**0.5,
        torch.randn(r),
        torch.randn(c, r),
        torch.randn(c),
        torch.randn(c) / c**0.5,
        torch.randn(1),
    ]


def _forward(shape: Shape) -> Problem:
    def inputs() -> list[Tensor]:
        return _inputs(shape)

    variants = ours(ops.scse_gate, inputs, layouts=LAYOUTS)
    variants |= inference(plain, inputs, layouts=LAYOUTS)
    variants |= inference(
        one_product, inputs, layouts=("nhwc",), family="hand-written", runtimes=False, max_autotune=False
    )
    return Problem(variants, lambda: [ops.scse_gate(*double(inputs()), backend="reference")])


def _bfloat16(shape: Shape) -> Problem:
    def inputs() -> list[Tensor]:
        return in_dtype(_inputs(shape), torch.bfloat16)

    def mine() -> list[Tensor]:
        x, *parameters = inputs()
        return [x, *in_dtype(parameters, torch.float32)]

    variants = ours(ops.scse_gate, mine, layouts=LAYOUTS)
    variants |= inference(plain, inputs, layouts=LAYOUTS, runtimes=False, max_autotune=False)
    return Problem(variants, lambda: [ops.scse_gate(*double(inputs()), backend="reference")])


def _backward(shape: Shape) -> Problem:
    def inputs() -> list[Tensor]:
        return _inputs(shape)

    variants = ours(ops.scse_gate, inputs, layouts=LAYOUTS, backward=True)
    variants |= training(plain, inputs, layouts=LAYOUTS)
    return Problem(
        variants,
        lambda: forward_backward(partial(ops.scse_gate, backend="reference"), lambda: double(inputs()))(),
    )


def _traffic(reads: int, writes: int, element: int) -> Callable[[Shape], Work]:
    def work(shape: Shape) -> Work:
        n, c, h, w = shape
        return Work(tensor_bytes=n * c * h * w * element, reads=reads, writes=writes)

    return work


CASES = [
    Case(
        operator="scse_gate",
        name="forward float32",
        axes=AXES,
        shapes=SHAPES,
        problem=_forward,
        work=_traffic(2, 1, 4),
        tolerance=1e-4,
        target=Target(2.5, 3.3),
        against="eager, compile with freezing and max-autotune, ONNX Runtime, OpenVINO, either layout",
    ),
    Case(
        operator="scse_gate",
        name="forward + backward float32",
        axes=AXES,
        shapes=SHAPES,
        problem=_backward,
        work=_traffic(5, 2, 4),
        tolerance=1e-3,
        target=Target(2.5, 3.5),
        against="eager and compile, either layout",
    ),
    Case(
        operator="scse_gate",
        name="forward bfloat16",
        axes=AXES,
        shapes=SHAPES,
        problem=_bfloat16,
        work=_traffic(2, 1, 2),
        tolerance=2e-2,
        target=Target(),
        against="eager and compile with freezing on bfloat16 tensors, either layout",
    ),
]
