"""The native CPU kernels of the recurrent residual convolution in training: allocates what the core fills,
and has the reference compute what is not finite.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Verdict
from spinecore.ops import _winograd
from spinecore.ops._layout import channels_last, in_layout_of


def can_run(call: Call) -> Verdict:
    """See :func:`spinecore.ops._winograd.can_run`."""
    return _winograd.can_run(call, call.options[0][1])


def worthwhile(call: Call) -> Verdict:
    """See :func:`spinecore.ops._winograd.worthwhile`."""
    batch, channels, height, width = call.shape
    if channels >= 256 and batch * height * width < 16:
        return Verdict(False, f"{channels} channels, under 16 pixels: all work is in the weights")
    return _winograd.worthwhile(call)


def _empty(*shape: int) -> Tensor:
    # Explicit: torch.set_default_dtype and set_default_device must not change what the core is given.
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def _image(like: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype, device="cpu", memory_format=torch.channels_last)


def _rows(parameter: Tensor, rows: int) -> Tensor:
    """A per-channel parameter as float32 (steps+1, C)."""
    wide = parameter.to(torch.float32)
    return (wide if wide.dim() == 2 else wide.expand(rows, -1)).contiguous()


def forward(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    steps: int,
    residual: bool,
) -> tuple[Any, ...] | None:
    """y, mean, biased variance, inverse standard deviation, pre-activations; None where not all is finite."""
    image = channels_last(x)
    y, z = _image(x), [_image(x) for _ in range(steps + 1)]
    mean, variance, inverse = (_empty(steps + 1, x.shape[1]) for _ in range(3))
    core = _native.core()
    finite = core.recurrence_forward(
        image,
        _winograd.transformed(w_in),
        _winograd.transformed(w_rec),
        _rows(gamma, steps + 1),
        _rows(beta, steps + 1),
        eps,
        residual,
        y,
        mean,
        variance,
        inverse,
        z,
        _empty(core.recurrence_workspace(image, steps, False)),
    )
    return (in_layout_of(y, x), mean, variance, inverse, z) if finite else None


def backward(
    x: Tensor,
    dy: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    inverse: Tensor | None,
    z: list[Tensor],
    residual: bool,
) -> tuple[Tensor, ...] | None:
    """dx, dw_in, dw_rec and the gradients (steps+1, C) of the normalisation's weight and bias; None where not
    all is finite. Without ``mean`` the normalisation is an affine map.
    """
    image = channels_last(x)
    rows, channels = len(z), x.shape[1]
    batch_statistics = mean is not None
    if mean is None or inverse is None:
        mean = torch.zeros((rows, channels), dtype=torch.float32, device="cpu")
        inverse = torch.ones((rows, channels), dtype=torch.float32, device="cpu")
    dx = _image(x)
    dw_in, dw_rec = _empty(*w_in.shape), _empty(*w_rec.shape)
    if rows == 1:
        dw_rec.zero_()
    d_weight, d_bias = _empty(rows, channels), _empty(rows, channels)
    du, dd = (_image(x) if rows > 1 else _empty(0) for _ in range(2))
    core = _native.core()
    finite = core.recurrence_backward(
        image,
        channels_last(dy),
        _winograd.transformed(w_in, transposed=True),
        _winograd.transformed(w_rec, transposed=True),
        _rows(weight, rows),
        _rows(bias, rows),
        mean,
        inverse,
        [channels_last(before) for before in z],
        batch_statistics,
        residual,
        dx,
        dw_in,
        dw_rec,
        d_weight,
        d_bias,
        du,
        dd,
        _empty(core.recurrence_workspace(image, rows - 1, True)),
    )
    if not finite:
        return None
    return in_layout_of(dx, x), dw_in.to(w_in.dtype), dw_rec.to(w_rec.dtype), d_weight, d_bias


def preactivations(
    x: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int
) -> list[Tensor] | None:
    """The pre-activations under affine maps; None where not all is finite."""
    image = channels_last(x)
    z = [_image(x) for _ in range(steps + 1)]
    core = _native.core()
    finite = core.recurrence_preactivations(
        image,
        _winograd.transformed(w_in),
        _winograd.transformed(w_rec),
        _rows(scale, steps + 1),
        _rows(shift, steps + 1),
        z,
        _empty(core.recurrence_workspace(image, steps, False)),
    )
    return z if finite else None
