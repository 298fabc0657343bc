"""`Conv2d` on the values of a tape: the native kernels, and PyTorch's for what they do not cover."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from spinecore.nn.members import NotPreparable
from spinecore.ops.recording import image, room, run, workspace

from .values import Tape, Value

NONE = torch.empty(0, dtype=torch.float32, device="cpu")
WINOGRAD_CHANNELS = 8
"""Below, a direct convolution is faster than Winograd's."""
How = tuple[list[int], list[int], list[int]]  # stride, padding, dilation
aten = torch.ops.aten


def for_dx(x: Value) -> Tensor:
    """Memory for the gradient of x, without elements unless it needs one."""
    return image(*x.shape) if x.needs else NONE


def transformed(tape: Tape, w: Tensor, transposed: bool) -> Tensor:
    """Weights (O, I, 3, 3) as the Winograd kernels read them, of the convolution or of its data gradient."""
    outputs, inputs = w.shape[:2]
    sizes = (outputs, inputs) if transposed else (inputs, outputs)
    to = workspace("winograd_weights_size", *sizes)
    run("winograd_transform", tape.dense(w), transposed, to)
    return to


def is_3x3(conv: nn.Conv2d) -> bool:
    """Of padding 1, all at once."""
    plain = conv.groups == 1 and conv.stride == conv.dilation == (1, 1)
    return plain and conv.kernel_size == (3, 3) and conv.padding in ((1, 1), "same")


def is_1x1(conv: nn.Conv2d) -> bool:
    """Every pixel by itself."""
    plain = conv.groups == 1 and conv.kernel_size == conv.stride == (1, 1)
    return plain and conv.padding in ((0, 0), "valid", "same")


def convolution(conv: nn.Conv2d, x: Value) -> Value:
    """(N, C, H, W) -> (N, D, H', W')."""
    if conv.groups != 1 or conv.padding_mode != "zeros" or conv.in_channels != x.shape[1]:
        raise NotPreparable(f"{conv} has no form on a tape")
    if is_1x1(conv):
        return _pointwise(x, conv)
    if is_3x3(conv) and conv.in_channels >= WINOGRAD_CHANNELS:
        return _winograd(x, conv)
    if isinstance(conv.padding, str):
        raise NotPreparable(f"{conv} has no form on a tape")
    return _general(x, conv, (list(conv.stride), list(conv.padding), list(conv.dilation)))


def _bias(tape: Tape, conv: nn.Conv2d) -> Tensor:
    return NONE if conv.bias is None else tape.dense(conv.bias)


def _take(tape: Tape, conv: nn.Conv2d, dw: Tensor, d_bias: Tensor) -> None:
    tape.take((conv.weight, dw))
    if conv.bias is not None:
        tape.take((conv.bias, d_bias))


def _pointwise(x: Value, conv: nn.Conv2d) -> Value:
    tape, outputs = x.tape, conv.out_channels
    n, channels, height, width = x.shape
    w, y = tape.dense(conv.weight).flatten(1), image(n, outputs, height, width)
    space = workspace("conv1x1_workspace", channels, outputs)
    run("conv1x1_forward", x.data, w, _bias(tape, conv), y, space)

    def backward(dy: Tensor) -> None:
        dx, dw = for_dx(x), tape.part(conv.weight)
        d_bias = room(outputs) if conv.bias is None else tape.part(conv.bias)
        space = workspace("conv1x1_backward_workspace", n * height * width, channels, outputs)
        run("conv1x1_backward", x.data, dy, w, dx, dw.flatten(1), d_bias, space)
        _take(tape, conv, dw, d_bias)
        tape.add(x, dx)

    return tape.result(y, [x], backward, parameters=True)


def _winograd(x: Value, conv: nn.Conv2d) -> Value:
    tape, outputs = x.tape, conv.out_channels
    n, channels, height, width = x.shape
    w, y = transformed(tape, conv.weight, False), image(n, outputs, height, width)
    run("conv3x3_forward", x.data, w, _bias(tape, conv), NONE, False, y)

    def backward(dy: Tensor) -> None:
        dx, dw = for_dx(x), tape.part(conv.weight)
        d_bias = room(outputs) if conv.bias is None else tape.part(conv.bias)
        turned = transformed(tape, conv.weight, True) if x.needs else NONE
        space = workspace("conv3x3_backward_workspace", n, channels, height, width, outputs)
        run("conv3x3_backward", x.data, dy, NONE, turned, dx, NONE, dw, d_bias, space)
        _take(tape, conv, dw, d_bias)
        tape.add(x, dx)

    return tape.result(y, [x], backward, parameters=True)


def _run_general(x: Tensor, w: Tensor, bias: Tensor, how: How, y: Tensor) -> None:
    aten.convolution.out(x, w, bias if bias.numel() else None, *how, False, [0, 0], 1, out=y)


def _run_general_backward(
    dy: Tensor, x: Tensor, w: Tensor, how: How, dx: Tensor, dw: Tensor, d_bias: Tensor
) -> None:
    memory = (dx, dw, d_bias)
    needs = [to.numel() > 0 for to in memory]
    found = aten.convolution_backward(dy, x, w, [w.shape[0]], *how, False, [0, 0], 1, needs)
    for to, value in zip(memory, found, strict=True):
        if to.numel():
            to.copy_(value)


def _general(x: Value, conv: nn.Conv2d, how: How) -> Value:
    tape, w = x.tape, conv.weight.detach()
    size = (
        (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for length, kernel, stride, padding, dilation in zip(
            x.shape[2:], cast("tuple[int, int]", conv.kernel_size), *how, strict=True
        )
    )
    y = image(x.shape[0], conv.out_channels, *size)
    run(_run_general, x.data, w, _bias(tape, conv), how, y)

    def backward(dy: Tensor) -> None:
        dx, dw = for_dx(x), tape.part(conv.weight)
        d_bias = NONE if conv.bias is None else tape.part(conv.bias)
        run(_run_general_backward, dy, x.data, w, how, dx, dw, d_bias)
        _take(tape, conv, dw, d_bias)
        tape.add(x, dx)

    return tape.result(y, [x], backward, parameters=True)
