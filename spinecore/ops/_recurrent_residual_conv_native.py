"""The native CPU kernel of the recurrent residual convolution: allocates what the core fills."""

from __future__ import annotations

from collections.abc import Callable

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
    return _winograd.worthwhile(call)


def _parameter(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32).contiguous()


def forward(reference: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The kernel, which has ``reference`` compute what is not finite: Winograd would spread a NaN over its
    tile.
    """

    def run(
        x: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int, residual: bool
    ) -> Tensor:
        core = _native.core()
        image = channels_last(x)
        y = torch.empty_like(image)
        if scale.dim() != shift.dim():
            scale, shift = scale.expand(steps + 1, -1), shift.expand(steps + 1, -1)
        size = core.recurrent_residual_conv_workspace(*x.shape, steps, torch.get_num_threads())
        first = _winograd.transformed(w_in)
        finite = core.recurrent_residual_conv_forward(
            image,
            first,
            first if w_rec is w_in else _winograd.transformed(w_rec),
            _parameter(scale),
            _parameter(shift),
            steps,
            residual,
            y,
            torch.empty(size, dtype=torch.float32, device="cpu"),
        )
        if not finite:
            return reference(x, w_in, w_rec, scale, shift, steps, residual)
        return in_layout_of(y, x)

    return run
