"""The native CPU kernel of the 3x3 convolution: allocates what the core fills."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Verdict
from spinecore.ops import _winograd
from spinecore.ops._layout import channels_last, in_layout_of

Reference = Callable[[Tensor, Tensor, "Tensor | None", str, "Tensor | None"], Tensor]


def can_run(call: Call) -> Verdict:
    """See :func:`spinecore.ops._winograd.can_run`."""
    return _winograd.can_run(call)


def backward_worthwhile(call: Call) -> Verdict:
    """As :func:`worthwhile`, but for a few pixels with many weights."""
    batch, channels, height, width = call.shape
    outputs = call.options[0][1]
    if channels * outputs >= 1 << 16 and batch * height * width < 16:
        reason = f"{channels} -> {outputs} channels, under 16 pixels: all work is in the weights"
        return Verdict(False, reason)
    return _winograd.worthwhile(call)


def worthwhile(call: Call) -> Verdict:
    """See :func:`spinecore.ops._winograd.worthwhile`."""
    return _winograd.worthwhile(call)


@lru_cache(maxsize=2)
def _absent(dtype: torch.dtype) -> Tensor:
    return torch.empty(0, dtype=dtype, device="cpu")


def forward(reference: Reference) -> Callable[..., Tensor]:
    """The kernel, which has ``reference`` compute what is not finite: Winograd would spread a NaN over its
    tile.
    """

    def run(x: Tensor, w: Tensor, bias: Tensor | None, activation: str, residual: Tensor | None) -> Tensor:
        batch, _, height, width = x.shape
        shape = (batch, w.shape[0], height, width)
        y = torch.empty(shape, dtype=x.dtype, device="cpu", memory_format=torch.channels_last)
        finite = _native.core().conv3x3_forward(
            channels_last(x),
            _winograd.transformed(w),
            _absent(torch.float32) if bias is None else bias.to(torch.float32).contiguous(),
            _absent(x.dtype) if residual is None else channels_last(residual),
            activation == "relu",
            y,
        )
        if not finite:
            return reference(x, w, bias, activation, residual)
        return in_layout_of(y, x)

    return run


def backward(reference: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
    """The kernel of the backward, with ``reference`` as in :func:`forward`."""

    def run(
        x: Tensor, dy: Tensor, w: Tensor, y: Tensor | None, need_dx: bool, need_residual: bool
    ) -> tuple[Tensor, ...]:
        core = _native.core()
        none = _absent(x.dtype)
        image, grad = channels_last(x), channels_last(dy)
        outputs, inputs = w.shape[:2]
        dx = torch.empty_like(image, memory_format=torch.channels_last) if need_dx else none
        d_residual = torch.empty_like(grad, memory_format=torch.channels_last) if need_residual else none
        dw = torch.empty(w.shape, dtype=torch.float32, device="cpu")
        d_bias = torch.empty(outputs, dtype=torch.float32, device="cpu")
        batch, _, height, width = x.shape
        size = core.conv3x3_backward_workspace(batch, inputs, height, width, outputs)
        finite = core.conv3x3_backward(
            image,
            grad,
            none if y is None else channels_last(y),
            _winograd.transformed(w, transposed=True) if need_dx else _absent(torch.float32),
            dx,
            d_residual,
            dw,
            d_bias,
            torch.empty(size, dtype=torch.float32, device="cpu"),
        )
        if not finite:
            return reference(x, dy, w, y, need_dx, need_residual)
        empty = x.new_empty(0)  # a new one at every call: outputs of operators share no memory
        return (
            in_layout_of(dx, x) if need_dx else empty,
            dw.to(w.dtype),
            d_bias,
            in_layout_of(d_residual, x) if need_residual else x.new_empty(0),
        )

    return run
