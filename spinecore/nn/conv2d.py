"""`torch.nn.Conv2d` on the operators of spinecore."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spinecore import ops


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` whose 1x1 convolutions and 3x3 convolutions of padding 1 run as `spinecore.ops.conv1x1`
    and `conv3x3`.

    Takes the place of ``torch.nn.Conv2d`` anywhere: arguments, parameters (``weight`` (D, C, k, k), ``bias``
    (D,) or None), their initialisation and the result (N, D, H', W') are the same. Every other form (strides,
    dilations, groups, other kernels and paddings, complex and integer tensors, inputs without a batch) is left
    to PyTorch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x (N, C, H, W)."""
        if x.dim() == 4 and self.groups == 1 and x.dtype.is_floating_point and self.stride == (1, 1):
            if x.stride(1) == 1 and not x.is_contiguous():
                x = x.contiguous(memory_format=torch.channels_last)  # a slice of the channels, as chunk gives
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
