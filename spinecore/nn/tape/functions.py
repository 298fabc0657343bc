"""PyTorch's functions on the values of a tape, computed by PyTorch in the tape's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore.nn.members import NotPreparable
from spinecore.ops.recording import image, run

from .values import Value, copy_to

FUNCTIONS: dict[Any, Callable[..., Any]] = {}
Compute = Callable[..., None]
aten = torch.ops.aten


def _form(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(form: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(functions, form))
        return form

    return register


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise NotPreparable(f"{what} with these arguments has no form on a tape")


def _require_pair(a: object, b: object, what: str) -> None:
    _require(isinstance(a, Value) and isinstance(b, Value) and a.shape == b.shape, what)


def _like(x: Value) -> Tensor:
    return image(*x.shape)


def _pointwise(x: Value, compute: Compute, gradient: Compute) -> Value:
    """compute(x, y) fills y; gradient(dy, y, dx) fills dx."""
    y = _like(x)
    run(compute, x.data, y)

    def backward(dy: Tensor) -> None:
        dx = _like(x)
        run(gradient, dy, y, dx)
        x.tape.add(x, dx)

    return x.tape.result(y, [x], backward)


def _relu(x: Tensor, y: Tensor) -> None:
    torch.clamp_min(x, 0, out=y)


def _relu_backward(dy: Tensor, y: Tensor, dx: Tensor) -> None:
    aten.threshold_backward.grad_input(dy, y, 0, grad_input=dx)


@_form(torch.relu, F.relu)
def relu(x: Value, inplace: bool = False) -> Value:
    """Into an image of its own: what `inplace` saves, the tape saves."""
    del inplace
    return _pointwise(x, _relu, _relu_backward)


def _sigmoid(x: Tensor, y: Tensor) -> None:
    torch.sigmoid(x, out=y)


def _sigmoid_backward(dy: Tensor, y: Tensor, dx: Tensor) -> None:
    aten.sigmoid_backward.grad_input(dy, y, grad_input=dx)


@_form(torch.sigmoid)
def sigmoid(x: Value) -> Value:
    """Of every value."""
    return _pointwise(x, _sigmoid, _sigmoid_backward)


def _add(a: Tensor, b: Tensor, y: Tensor) -> None:
    torch.add(a, b, out=y)


@_form(torch.add)
def add(a: Value, b: Value) -> Value:
    """Of two images of one size."""
    _require_pair(a, b, "add")
    y = _like(a)
    run(_add, a.data, b.data, y)

    def backward(dy: Tensor) -> None:
        a.tape.add(a, dy, own=False)
        a.tape.add(b, dy, own=False)

    return a.tape.result(y, [a, b], backward)


def _mul(a: Tensor, b: Tensor, y: Tensor) -> None:
    torch.mul(a, b, out=y)


@_form(torch.mul)
def mul(a: Value, b: Value) -> Value:
    """Of two images of one size."""
    _require_pair(a, b, "mul")
    y = _like(a)
    run(_mul, a.data, b.data, y)

    def backward(dy: Tensor) -> None:
        for factor, other in ((a, b), (b, a)):
            if factor.needs:
                gradient = _like(factor)
                run(_mul, dy, other.data, gradient)
                a.tape.add(factor, gradient)

    return a.tape.result(y, [a, b], backward)


def _cat(parts: tuple[Tensor, ...], y: Tensor) -> None:
    torch.cat(parts, 1, out=y)


@_form(torch.cat)
def cat(tensors: Sequence[Value], dim: int = 0) -> Value:
    """Of the channels of several images."""
    _require(dim in (1, -3) and all(isinstance(value, Value) for value in tensors), "cat")
    tape = tensors[0].tape
    n, _, height, width = tensors[0].shape
    y = image(n, sum(value.shape[1] for value in tensors), height, width)
    run(_cat, tuple(value.data for value in tensors), y)

    def backward(dy: Tensor) -> None:
        first = 0
        for value in tensors:
            tape.add(value, dy[:, first : first + value.shape[1]], own=False)
            first += value.shape[1]

    return tape.result(y, tensors, backward)


def _split(x: Tensor, *parts: Tensor) -> None:
    for part, source in zip(parts, torch.split(x, parts[0].shape[1], 1), strict=True):
        part.copy_(source)


def _zero(x: Tensor) -> None:
    x.zero_()


@_form(torch.chunk)
def chunk(x: Value, chunks: int, dim: int = 0) -> tuple[Value, ...]:
    """The channels in equal parts, each an image of its own."""
    n, channels, height, width = x.shape
    _require(dim in (1, -3) and channels % chunks == 0, "chunk")
    length = channels // chunks
    parts = [image(n, length, height, width) for _ in range(chunks)]
    run(_split, x.data, *parts)

    def backward(*gradients: Tensor | None) -> None:
        dx = _like(x)
        for i, gradient in enumerate(gradients):
            place = dx[:, i * length : (i + 1) * length]
            if gradient is None:
                run(_zero, place)
            else:
                run(copy_to, place, gradient)
        x.tape.add(x, dx)

    return x.tape.results(parts, [x], backward)


def _max_pool(x: Tensor, y: Tensor, places: Tensor) -> None:
    aten.max_pool2d_with_indices.out(x, [2, 2], [2, 2], out=y, indices=places)


def _max_pool_backward(dy: Tensor, x: Tensor, places: Tensor, dx: Tensor) -> None:
    how = ([2, 2], [2, 2], [0, 0], [1, 1], False)
    aten.max_pool2d_with_indices_backward.grad_input(dy, x, *how, places, grad_input=dx)


@_form(F.max_pool2d, torch.max_pool2d)
def max_pool2d(x: Value, kernel_size: int, *rest: Any, **options: Any) -> Value:
    """Of squares of 2 x 2 pixels."""
    usual = {
        "stride": (None, 2),
        "padding": (0,),
        "dilation": (1,),
        "ceil_mode": (False,),
        "return_indices": (False,),
    }
    known = all(name in usual and value in usual[name] for name, value in options.items())
    _require(kernel_size == 2 and not rest and known, "max_pool2d")
    n, channels, height, width = x.shape
    y = image(n, channels, height // 2, width // 2)
    places = torch.empty_like(y, dtype=torch.int64)
    run(_max_pool, x.data, y, places)

    def backward(dy: Tensor) -> None:
        dx = _like(x)
        run(_max_pool_backward, dy, x.data, places, dx)
        x.tape.add(x, dx)

    return x.tape.result(y, [x], backward)


def _avg_pool(x: Tensor, size: int, y: Tensor) -> None:
    aten.avg_pool2d.out(x, [size, size], [size, size], out=y)


def _avg_pool_backward(dy: Tensor, x: Tensor, size: int, dx: Tensor) -> None:
    how = ([size, size], [size, size], [0, 0], False, True, None)
    aten.avg_pool2d_backward.grad_input(dy, x, *how, grad_input=dx)


@_form(F.avg_pool2d)
def avg_pool2d(x: Value, kernel_size: int) -> Value:
    """Of squares beside one another."""
    _require(isinstance(kernel_size, int), "avg_pool2d")
    n, channels, height, width = x.shape
    y = image(n, channels, height // kernel_size, width // kernel_size)
    run(_avg_pool, x.data, kernel_size, y)

    def backward(dy: Tensor) -> None:
        dx = _like(x)
        run(_avg_pool_backward, dy, x.data, kernel_size, dx)
        x.tape.add(x, dx)

    return x.tape.result(y, [x], backward)


def _bilinear(x: Tensor, scale: float | None, y: Tensor) -> None:
    aten.upsample_bilinear2d.out(x, y.shape[-2:], False, scale, scale, out=y)


def _bilinear_backward(dy: Tensor, scale: float | None, dx: Tensor) -> None:
    how = (dy.shape[-2:], dx.shape, False, scale, scale)
    aten.upsample_bilinear2d_backward.grad_input(dy, *how, grad_input=dx)


@_form(F.interpolate)
def interpolate(
    x: Value,
    size: Sequence[int] | None = None,
    scale_factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Value:
    """Bilinear, pixels as areas."""
    known = mode == "bilinear" and not (align_corners or recompute_scale_factor or antialias)
    _require(known and (scale_factor is None or isinstance(scale_factor, float)), "interpolate")
    n, channels, height, width = x.shape
    if scale_factor is not None:
        size = (int(height * scale_factor), int(width * scale_factor))
    assert size is not None
    y = image(n, channels, *size)
    run(_bilinear, x.data, scale_factor, y)

    def backward(dy: Tensor) -> None:
        dx = _like(x)
        run(_bilinear_backward, dy, scale_factor, dx)
        x.tape.add(x, dx)

    return x.tape.result(y, [x], backward)
