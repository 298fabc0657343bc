"""`torch.nn.Conv2d` on the operators of spinecore."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from spinecore import ops

from .tape.values import on_tape


def in_one_piece(x: Tensor) -> Tensor:
    """A slice of the channels of a channels-last image dense in that layout, all others as they are."""
    if x.stride(1) == 1 and not x.is_contiguous():
        return x.contiguous(memory_format=torch.channels_last)
    return x


def _in_single_precision(x: Tensor) -> bool:
    """In half precision PyTorch's own convolutions are the faster ones."""
    return x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled(x.device.type)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` whose 1x1 convolutions and 3x3 convolutions of padding 1 run as
    `spinecore.ops.conv1x1` and `conv3x3`.

    Takes the place of ``torch.nn.Conv2d`` anywhere: arguments, parameters (``weight`` (D, C, k, k), ``bias``
    (D,) or None), their initialisation and the result (N, D, H', W') are the same. Every other form
    (strides, dilations, groups, other kernels and paddings, half precision, autocast, complex tensors, inputs
    without a batch) is left to PyTorch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x (N, C, H, W)."""
        if on_tape(x):
            return x.through(self)  # type: ignore[no-any-return]
        if x.dim() == 4 and self.groups == 1 and self.stride == (1, 1) and _in_single_precision(x):
            x = in_one_piece(x)
            if self.kernel_size == (1, 1) and self.padding in ((0, 0), "valid", "same"):
                return ops.conv1x1(x, self.weight, self.bias)
            if (
                self.kernel_size == (3, 3)
                and self.dilation == (1, 1)
                and self.padding in ((1, 1), "same")
                and self.padding_mode == "zeros"
            ):
                return ops.conv3x3(x, self.weight, self.bias)
        result: Tensor = super().forward(x)
        return result


class ConvNorm(nn.Sequential):
    """A `Conv2d`, a `torch.nn.BatchNorm2d` and optionally a `torch.nn.ReLU`; in training one operator where
    the kernel is 1x1: `spinecore.ops.conv1x1_bn`.

    Names and values of parameters and buffers, running statistics and results are those of
    ``torch.nn.Sequential`` of the same modules, which runs whatever the operator does not cover
    (other kernels and layouts, half precision, a bias, evaluation, statistics that are not tracked, hooks on
    the parts).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D, H', W')."""
        if on_tape(x):
            return x.through(self)  # type: ignore[no-any-return]
        if not (self.training and self._is_one_operator(x)):
            result: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return result
        conv, norm = cast(Conv2d, self[0]), cast(nn.BatchNorm2d, self[1])
        activation = "relu" if len(self) == 3 else "none"
        y, mean, variance = ops.conv1x1_bn(
            in_one_piece(x), conv.weight, norm.weight, norm.bias, norm.eps, activation
        )
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            assert norm.running_mean is not None
            assert norm.running_var is not None
            assert norm.num_batches_tracked is not None
            assert norm.momentum is not None
            norm.num_batches_tracked.add_(1)
            norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
            unbiased = variance * (count / (count - 1))
            norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
        return y

    def _is_one_operator(self, x: Tensor) -> bool:
        parts = list(self)
        if len(parts) not in (2, 3) or type(parts[0]) is not Conv2d or type(parts[1]) is not nn.BatchNorm2d:
            return False
        conv, norm = parts[0], parts[1]
        return (
            conv.kernel_size == conv.stride == (1, 1)
            and conv.padding == (0, 0)
            and conv.groups == 1
            and conv.bias is None
            and norm.training
            and norm.affine
            and norm.track_running_stats
            and norm.momentum is not None
            and (len(parts) == 2 or type(parts[2]) is nn.ReLU)
            and x.dim() == 4
            and x.numel() > x.shape[1]
            and x.stride(1) == 1  # channels-last, or a slice of the channels of such an image
            and _in_single_precision(x)
            and not any(p._forward_hooks or p._forward_pre_hooks or p._backward_hooks for p in parts)
        )
