"""Convolutions prepared for inference: weights packed or transformed once, everything around them in the same
pass. They are no operators: no autograd, no dispatcher, float32 on the CPU only. `spinecore.nn.prepared`
decides when they may stand for the modules they were made from.

    y = activation(conv(concat(inputs), w) + bias + sum of bilinear(addends))
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Verdict
from spinecore.ops.recording import image, room, run

_ACTIVATIONS = {"none": 0, "relu": 1, "gate": 2}
_WINOGRAD_CHANNELS = 8
"""Below, a direct convolution is faster than Winograd's."""

_NONE = torch.empty(0, dtype=torch.float32, device="cpu")


def available() -> Verdict:
    """Whether prepared convolutions can run here and are worth it."""
    reason = _native.unavailable_reason()
    if reason is not None:
        return Verdict(False, reason)
    if _native.core().selected_isa() == "baseline":
        return Verdict(False, "without AVX2 prepared convolutions are no faster than PyTorch's")
    return Verdict(True, "folded convolutions, vectorised C++ kernels")


def instruction_set() -> str:
    """What prepared weights serve: they are laid out for one instruction set."""
    isa: str = _native.core().selected_isa()
    return isa


def fingerprint(tensors: Sequence[Tensor], sampled: bool = False) -> int:
    """64 bits of shapes, strides and bytes of dense float32 tensors on the CPU; ``sampled``: of their shapes,
    strides, addresses and a cache line in every 2 KiB.
    """
    value: int = _native.core().fingerprint(tensors, sampled)
    return value


def _winograd_weights(w: Tensor) -> Tensor:
    core = _native.core()
    to = torch.empty(core.winograd_weights_size(w.shape[1], w.shape[0]), dtype=torch.float32, device="cpu")
    core.winograd_transform(w.contiguous(), False, to)
    return to


class PreparedConv:
    """One convolution with what follows it.

    Args:
        weight: (O, I, k, k), k odd; padding is dilation * (k // 2).
        bias: (O,) or None.
        stride, dilation: As in ``torch.nn.Conv2d``.
        activation: ``none``, ``relu``, or ``gate``: sigmoid(...) times what the call gives as ``gate``.

    Called with inputs (N, I_i, H, W) whose channels add up to I, float32, channels-last or slices of the
    channels of such images, and optionally with up to four addends (N, O, h, w) of any size.

    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        stride: int = 1,
        dilation: int = 1,
        activation: str = "none",
    ) -> None:
        weight = weight.detach().to(torch.float32)
        self.out_channels, inputs, self.kernel, _ = weight.shape
        self.stride, self.dilation, self.activation = stride, dilation, _ACTIVATIONS[activation]
        self.bias = _NONE if bias is None else bias.detach().to(torch.float32).contiguous()
        self.winograd = (
            self.kernel == 3
            and stride == dilation == 1
            and activation != "gate"
            and min(self.out_channels, inputs) >= _WINOGRAD_CHANNELS
        )
        if self.winograd:
            self.weights = _winograd_weights(weight)
            return
        core = _native.core()
        rows = weight.permute(0, 2, 3, 1).reshape(self.out_channels, -1).contiguous()
        size = core.fused_conv_weights_size(rows.shape[1], self.out_channels)
        self.weights = torch.empty(size, dtype=torch.float32, device="cpu")
        core.fused_conv_pack(rows, self.weights)

    def __call__(self, *inputs: Tensor, addends: Sequence[Tensor] = (), gate: Tensor = _NONE) -> Tensor:
        """(N, O, H / stride, W / stride), channels-last."""
        n, _, height, width = inputs[0].shape
        if self.winograd:
            if addends or len(inputs) != 1:
                raise ValueError("PreparedConv: a 3x3 convolution takes one input and no addends")
            y = image(n, self.out_channels, height, width)
            run("conv3x3_forward", inputs[0], self.weights, self.bias, _NONE, self.activation == 1, y)
            return y
        stride = self.stride
        if stride > 1:
            height, width = -(-height // stride), -(-width // stride)
        y = image(n, self.out_channels, height, width)
        how = (self.kernel, stride, self.dilation, self.activation)
        run("fused_conv_forward", inputs, self.weights, self.bias, addends, gate, *how, y)
        return y


class PreparedRecurrence:
    """`recurrent_residual_conv` with weights transformed once; scale and shift are (steps + 1, C)."""

    def __init__(
        self, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int, residual: bool
    ) -> None:
        self.w_in = _winograd_weights(w_in.detach())
        self.w_rec = self.w_in if w_rec is w_in else _winograd_weights(w_rec.detach())
        self.scale, self.shift = (
            t.detach().expand(steps + 1, w_in.shape[0]).contiguous() for t in (scale, shift)
        )
        self.steps, self.residual = steps, residual

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W), channels-last, of x as it is."""
        y = image(*x.shape)
        size = _native.core().recurrent_residual_conv_workspace(*x.shape, self.steps, torch.get_num_threads())
        weights = (self.w_in, self.w_rec, self.scale, self.shift)
        run("recurrent_residual_conv_forward", x, *weights, self.steps, self.residual, y, room(size))
        return y


def pool2x2(x: Tensor, pooling: str) -> Tensor:
    """The largest value (``max``) or the mean (``mean``) of each square of 2 x 2 pixels of a channels-last
    image (N, C, H, W): (N, C, H // 2, W // 2).
    """
    n, channels, height, width = x.shape
    if height < 2 or width < 2:
        raise ValueError(f"pool2x2: {height}x{width} pixels cannot be halved; give a larger image")
    y = image(n, channels, height // 2, width // 2)
    run("pool2x2", x, ("max", "mean").index(pooling), y)
    return y
