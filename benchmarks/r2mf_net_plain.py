"""R2MF-Net with every operator of spinecore written out in PyTorch's operations: what peers are made of."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore.nn import Conv2d, ConvNorm, RecurrentResidualConv, SCSEGate


class PlainRecurrence(nn.Module):
    """`RecurrentResidualConv` of PyTorch's operations; in training with the statistics of the batch."""

    def __init__(self, unit: RecurrentResidualConv) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        unit = self.unit

        def activated(y: Tensor, k: int) -> Tensor:
            mean, var = unit.running_mean[k], unit.running_var[k]
            affine, training = (unit.gamma[k], unit.beta[k]), unit.training
            return F.relu(F.batch_norm(y, mean, var, *affine, training, unit.momentum, unit.eps))

        first = F.conv2d(x, unit.w_in, padding=1)
        u = activated(first, 0)
        for k in range(1, unit.steps + 1):
            u = activated(first + F.conv2d(u, unit.w_in if unit.w_rec is None else unit.w_rec, padding=1), k)
        return x + u if unit.residual else u


class PlainGate(nn.Module):
    """`SCSEGate` without biases, of PyTorch's operations."""

    def __init__(self, gate: SCSEGate) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(F.linear(x.mean((2, 3)), self.gate.w1))
        channel = torch.sigmoid(F.linear(hidden, self.gate.w2))[:, :, None, None]
        return x * channel + x * torch.sigmoid(F.conv2d(x, self.gate.ws[None, :, None, None]))


def plain(model: nn.Module) -> nn.Module:
    """The network with every operator of spinecore written out."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, Conv2d | ConvNorm):
            module.__class__ = nn.Conv2d if isinstance(module, Conv2d) else nn.Sequential
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RecurrentResidualConv):
                setattr(parent, name, PlainRecurrence(child))
            if isinstance(child, SCSEGate):
                setattr(parent, name, PlainGate(child))
    return model
