"""Prepared forms of common parts, for the `build` of :class:`spinecore.nn.prepared.Prepared`."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from spinecore.ops.prepared import PreparedConv, PreparedRecurrence

from .conv2d import Conv2d, ConvNorm
from .prepared import NotPreparable
from .recurrent import RecurrentResidualConv


def require(part: nn.Module, *kinds: type[nn.Module]) -> None:
    """Raise `NotPreparable` unless `part` is exactly one of `kinds`: a subclass may do anything."""
    if type(part) not in kinds:
        raise NotPreparable(f"{type(part).__name__} is not {' or '.join(kind.__name__ for kind in kinds)}")


def fold(conv: nn.Module, norm: nn.Module | None = None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution followed by a batch normalisation with running statistics."""
    require(conv, nn.Conv2d, Conv2d)
    conv = cast(nn.Conv2d, conv)
    if conv.groups != 1 or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise NotPreparable(f"{conv}")
    kernel, stride, dilation = conv.kernel_size[0], conv.stride[0], conv.dilation[0]
    expected = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        kernel,
        stride,
        dilation * (kernel // 2),
        dilation,
        bias=conv.bias is not None,
        device="meta",
    )
    if kernel % 2 == 0 or repr(conv) != repr(expected):
        raise NotPreparable(f"{conv}")
    weight = conv.weight.double()
    zero = torch.zeros(conv.out_channels, dtype=torch.float64, device="cpu")
    bias = zero if conv.bias is None else conv.bias.double()
    if norm is not None:
        require(norm, nn.BatchNorm2d)
        norm = cast(nn.BatchNorm2d, norm)
        if norm.running_mean is None or norm.running_var is None:
            raise NotPreparable("batch normalisation without running statistics")
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight.double()
        weight = weight * scale[:, None, None, None]
        bias = (bias - norm.running_mean.double()) * scale
        if norm.bias is not None:
            bias = bias + norm.bias.double()
    return weight.float(), bias.float()


def prepare_block(block: nn.Module) -> PreparedConv:
    """A sequence of convolution, batch normalisation and, if there is a third, ReLU."""
    require(block, nn.Sequential, ConvNorm)
    parts = list(block.children())
    if len(parts) not in (2, 3):
        raise NotPreparable(f"{block}")
    weight, bias = fold(parts[0], parts[1])
    if len(parts) == 3:
        require(parts[2], nn.ReLU)
    conv = cast(nn.Conv2d, parts[0])
    activation = "relu" if len(parts) == 3 else "none"
    return PreparedConv(weight, bias, stride=conv.stride[0], dilation=conv.dilation[0], activation=activation)


def prepare_recurrence(unit: nn.Module) -> PreparedRecurrence:
    """A `RecurrentResidualConv` of 3x3 convolutions."""
    require(unit, RecurrentResidualConv)
    unit = cast(RecurrentResidualConv, unit)
    if unit.w_in.shape[-1] != 3 or unit.backend not in (None, "cpu"):
        raise NotPreparable(f"{unit}")
    scale, shift = unit.folded()
    w_rec = unit.w_in if unit.w_rec is None else unit.w_rec
    return PreparedRecurrence(unit.w_in, w_rec, scale, shift, unit.steps, unit.residual)
