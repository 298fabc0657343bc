"""spinecore's modules on the values of a tape, in their training forms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spinecore.nn.conv2d import Conv2d, ConvNorm
from spinecore.nn.members import NotPreparable
from spinecore.nn.recurrent import RecurrentResidualConv
from spinecore.nn.scse import SCSEGate
from spinecore.ops.recording import image, room, run, workspace

from .convolutions import NONE, convolution, for_dx, is_1x1, is_3x3, transformed
from .statistics import Statistics, of_norm, unbiased
from .values import Value, add_to

aten = torch.ops.aten


def _like(x: Value) -> Tensor:
    return image(*x.shape)


def _matrix(rows: int, columns: int) -> Tensor:
    return room(rows * columns).view(rows, columns)


def conv_norm(unit: ConvNorm, x: Value) -> Value:
    """`ConvNorm`: (N, C, H, W) -> (N, D, H', W')."""
    parts = list(unit)
    if len(parts) not in (2, 3) or type(parts[0]) is not Conv2d or type(parts[1]) is not nn.BatchNorm2d:
        raise NotPreparable(f"{unit} has no form on a tape")
    conv, norm, relu = parts[0], parts[1], len(parts) == 3
    tracked = norm.affine and norm.track_running_stats and norm.momentum is not None
    if not tracked or conv.bias is not None or (relu and type(parts[2]) is not nn.ReLU):
        raise NotPreparable(f"{unit} has no form on a tape")
    if is_1x1(conv):
        return _pointwise_norm(x, conv, norm, relu)
    if relu and is_3x3(conv) and conv.in_channels == conv.out_channels:
        # Without steps the recurrence is a convolution, a normalisation and a ReLU in one.
        y, statistics = _recurrence(x, conv.weight, conv.weight, norm.weight, norm.bias, norm.eps)
        mean, variance = statistics
        x.tape.statistics.append(of_norm(norm, mean[0], variance[0], unbiased(x)))
        return y
    y = _norm(convolution(conv, x), norm)
    return x.tape.call(torch.relu, y) if relu else y


def _pointwise_norm(x: Value, conv: nn.Conv2d, norm: nn.BatchNorm2d, relu: bool) -> Value:
    tape, outputs = x.tape, conv.out_channels
    n, channels, height, width = x.shape
    w, gamma, beta = tape.dense(conv.weight).flatten(1), tape.dense(norm.weight), tape.dense(norm.bias)
    z, y = image(n, outputs, height, width), image(n, outputs, height, width)
    mean, variance, inverse = room(outputs), room(outputs), room(outputs)
    sizes = (n * height * width, channels, outputs)
    results = (z, y, mean, variance, inverse)
    space = workspace("conv1x1_bn_workspace", *sizes)
    run("conv1x1_bn_forward", x.data, w, gamma, beta, norm.eps, relu, *results, space)
    tape.statistics.append(of_norm(norm, mean, variance, unbiased(x)))

    def backward(dy: Tensor) -> None:
        dx, dw = for_dx(x), tape.part(conv.weight)
        d_gamma, d_beta = tape.part(norm.weight), tape.part(norm.bias)
        saved, gradients = (w, gamma, beta, z, mean, inverse, relu), (dx, dw.flatten(1), d_gamma, d_beta)
        space = workspace("conv1x1_bn_workspace", *sizes)
        run("conv1x1_bn_backward", x.data, dy, *saved, *gradients, space)
        tape.take((conv.weight, dw), (norm.weight, d_gamma), (norm.bias, d_beta))
        tape.add(x, dx)

    return tape.result(y, [x], backward, parameters=True)


def _run_norm(z: Tensor, gamma: Tensor, beta: Tensor, eps: float, y: Tensor, to: tuple[Tensor, ...]) -> None:
    mean, variance, saved_mean, inverse = to
    # Running statistics of momentum 1 are those of the batch; of NaN in their memory nothing may remain.
    for statistic in (mean, variance):
        statistic.zero_()
    out = {"out": y, "save_mean": saved_mean, "save_invstd": inverse}
    aten.native_batch_norm.out(z, gamma, beta, mean, variance, True, 1.0, eps, **out)


def _run_norm_backward(
    dy: Tensor, z: Tensor, gamma: Tensor, saved: tuple[Tensor, ...], eps: float, to: tuple[Tensor, ...]
) -> None:
    needs = [True, True, True]
    found = aten.native_batch_norm_backward(dy, z, gamma, None, None, *saved, True, eps, needs)
    for memory, value in zip(to, found, strict=True):
        memory.copy_(value)


def _norm(z: Value, norm: nn.BatchNorm2d) -> Value:
    """Batch normalisation alone, PyTorch's."""
    tape = z.tape
    unbiased(z)  # complains where there is none
    gamma, beta = tape.dense(norm.weight), tape.dense(norm.bias)
    y, results = _like(z), tuple(room(z.shape[1]) for _ in range(4))
    run(_run_norm, z.data, gamma, beta, norm.eps, y, results)
    tape.statistics.append(of_norm(norm, results[0], results[1], 1.0))

    def backward(dy: Tensor) -> None:
        gradients = (_like(z), tape.part(norm.weight), tape.part(norm.bias))
        run(_run_norm_backward, dy, z.data, gamma, results[2:], norm.eps, gradients)
        tape.take((norm.weight, gradients[1]), (norm.bias, gradients[2]))
        tape.add(z, gradients[0])

    return tape.result(y, [z], backward, parameters=True)


def _recurrence(
    x: Value,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    steps: int = 0,
    residual: bool = False,
) -> tuple[Value, tuple[Tensor, Tensor]]:
    """The recurrent residual convolution; mean and variance (steps + 1, C) of what it normalises."""
    tape = x.tape
    rows, channels, shared = steps + 1, x.shape[1], w_rec is w_in
    w = transformed(tape, w_in, False)
    weights = (w, w if shared else transformed(tape, w_rec, False))
    scale, shift = (tape.dense(p).view(rows, channels) for p in (gamma, beta))
    y, z = _like(x), [_like(x) for _ in range(rows)]
    mean, variance, inverse = (_matrix(rows, channels) for _ in range(3))
    space = workspace("recurrence_workspace", x.data, steps, False)
    results = (y, mean, variance, inverse, z)
    run("recurrence_forward", x.data, *weights, scale, shift, eps, residual, *results, space)

    def backward(dy: Tensor) -> None:
        turned = transformed(tape, w_in, True)
        weights = (turned, turned if shared else transformed(tape, w_rec, True))
        dx, dw_in, d_gamma, d_beta = _like(x), tape.part(w_in), tape.part(gamma), tape.part(beta)
        dw_rec = room(w_rec.numel()).view(w_rec.shape) if shared else tape.part(w_rec)
        du, dd = (_like(x) if steps else NONE for _ in range(2))
        gradients = (dx, dw_in, dw_rec, d_gamma.view(rows, channels), d_beta.view(rows, channels), du, dd)
        saved = (scale, shift, mean, inverse, z, True, residual)
        space = workspace("recurrence_workspace", x.data, steps, True)
        run("recurrence_backward", x.data, dy, *weights, *saved, *gradients, space)
        if not shared:
            tape.take((w_rec, dw_rec))
        elif steps:
            run(add_to, dw_in, dw_rec)
        tape.take((w_in, dw_in), (gamma, d_gamma), (beta, d_beta))
        tape.add(x, dx)

    return tape.result(y, [x], backward, parameters=True), (mean, variance)


def recurrence(unit: RecurrentResidualConv, x: Value) -> Value:
    """`RecurrentResidualConv`: (N, C, H, W) -> (N, C, H, W)."""
    one_norm_a_step = unit.gamma.dim() == 2
    separate = unit.steps or unit.w_rec is None  # without steps w_rec has no gradient
    if unit.w_in.shape[-1] != 3 or unit.backend not in (None, "cpu") or not (one_norm_a_step and separate):
        raise NotPreparable(f"{unit} has no form on a tape")
    w_rec = unit.w_in if unit.w_rec is None else unit.w_rec
    parameters = (unit.w_in, w_rec, unit.gamma, unit.beta)
    y, statistics = _recurrence(x, *parameters, unit.eps, unit.steps, unit.residual)
    kept = (unit.running_mean.data, unit.running_var.data)
    x.tape.statistics.append(Statistics(*kept, *statistics, unbiased(x), unit.momentum, None))
    return y


def gate(unit: SCSEGate, x: Value) -> Value:
    """`SCSEGate`: (N, C, H, W) -> (N, C, H, W)."""
    if unit.backend not in (None, "cpu"):
        raise NotPreparable(f"{unit} has no form on a tape")
    tape = x.tape
    n, channels, height, width = x.shape
    given = (unit.w1, unit.b1, unit.w2, unit.b2, unit.ws, unit.bs)
    sizes = (unit.w1.numel(), unit.hidden, unit.w2.numel(), channels, channels, 1)
    absent = [torch.zeros(size, dtype=torch.float32, device="cpu") for size in sizes]
    parameters = [zero if p is None else tape.dense(p) for p, zero in zip(given, absent, strict=True)]
    y, mode = _like(x), ("add", "max").index(unit.mode)
    saved = (_matrix(n, channels), _matrix(n, height * width), _matrix(n, channels))
    run("scse_gate_forward", x.data, *parameters, mode, y, *saved)

    def backward(dy: Tensor) -> None:
        dx = _like(x)
        parts = [room(size) if p is None else tape.part(p) for p, size in zip(given, sizes, strict=True)]
        space = workspace("scse_gate_workspace", n, channels, height, width, unit.hidden)
        run("scse_gate_backward", x.data, dy, *parameters[:5], *saved, mode, dx, *parts, space)
        tape.take(*((p, part) for p, part in zip(given, parts, strict=True) if p is not None))
        tape.add(x, dx)

    return tape.result(y, [x], backward, parameters=True)


UNITS: dict[type[nn.Module], Any] = {
    Conv2d: convolution,
    ConvNorm: conv_norm,
    RecurrentResidualConv: recurrence,
    SCSEGate: gate,
}
