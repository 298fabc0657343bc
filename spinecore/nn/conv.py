"""3x3 convolution as a module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spinecore import ops


class Conv3x3(nn.Module):
    """3x3 convolution, padding 1, with bias, optional residual input and activation in one operator.

    Args:
        in_channels, out_channels: Channels C and D.
        bias: Add a bias.
        activation: ``none`` or ``relu``, applied after the residual.
        backend: Backend asked for by name; None takes the best that can run.

    Parameters: ``weight`` (D, C, 3, 3), ``bias`` (D,) or None. Shapes: (N, C, H, W) and (N, D, H, W) -> (N,
    D, H, W).

    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bias: bool = True,
        activation: str = "none",
        *,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise ValueError(
                f"Conv3x3: in_channels={in_channels} and out_channels={out_channels} must be at least 1"
            )
        if activation not in ("none", "relu"):
            raise ValueError(f"Conv3x3: activation is {activation!r}; expected 'none' or 'relu'")
        self.activation, self.backend = activation, backend
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-normal weights (fan out, ReLU), zero bias."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """activation(conv(x) + bias + residual)."""
        return ops.conv3x3(x, self.weight, self.bias, self.activation, residual, backend=self.backend)

    def extra_repr(self) -> str:
        """Sizes and options for ``print(module)``."""
        out_channels, in_channels = self.weight.shape[:2]
        return f"{in_channels}, {out_channels}, bias={self.bias is not None}, activation={self.activation!r}"
