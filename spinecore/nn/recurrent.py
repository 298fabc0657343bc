"""Recurrent residual convolution as a module: batch statistics in training, folded running statistics in
evaluation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spinecore import ops

from .tape.values import on_tape


class RecurrentResidualConv(nn.Module):
    """Recurrent residual convolution with batch normalisation at every step (R2U-Net's unit, or the formal
    recurrent convolution).

    Args:
        channels: Channels C, in and out.
        steps: Recurrent convolutions after the first (2 in R2U-Net: three convolutions in all).
        residual: Add the input to the result.
        shared_weights: One weight for input and recurrence (R2U-Net); ``w_rec`` is then None.
        shared_norm: One gamma and beta (C,) for all steps instead of one a step. Running statistics are
            always one a step: sharing them would mix distributions that differ.
        eps, momentum: As in ``nn.BatchNorm2d``.
        kernel_size: Odd.
        backend: Backend asked for by name; None takes the best that can run.

    Parameters: ``w_in``, ``w_rec`` (C, C, k, k), ``gamma``, ``beta`` (steps+1, C) or (C,); buffers
    ``running_mean``, ``running_var`` (steps+1, C). Shapes: (N, C, H, W) -> (N, C, H, W).

    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        steps: int = 2,
        residual: bool = True,
        shared_weights: bool = False,
        shared_norm: bool = False,
        eps: float = 1e-5,
        momentum: float = 0.1,
        kernel_size: int = 3,
        *,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        if channels < 1 or steps < 0 or kernel_size % 2 != 1:
            raise ValueError(
                f"RecurrentResidualConv: channels={channels} must be >= 1, steps={steps} >= 0, "
                f"kernel_size={kernel_size} odd"
            )
        self.channels, self.steps, self.residual = channels, steps, residual
        self.eps, self.momentum, self.backend = eps, momentum, backend
        shape = (channels, channels, kernel_size, kernel_size)
        rows = (channels,) if shared_norm else (steps + 1, channels)
        self.w_in = nn.Parameter(torch.empty(shape))
        self.w_rec = None if shared_weights else nn.Parameter(torch.empty(shape))
        self.gamma = nn.Parameter(torch.empty(rows))
        self.beta = nn.Parameter(torch.empty(rows))
        self.register_buffer("running_mean", torch.zeros(steps + 1, channels))
        self.register_buffer("running_var", torch.ones(steps + 1, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-normal weights (fan out, ReLU), gamma 1, beta 0, running statistics of a standard
        normal.
        """
        for weight in (self.w_in, self.w_rec):
            if weight is not None:
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
        nn.init.ones_(self.gamma)
        nn.init.zeros_(self.beta)
        nn.init.zeros_(self.running_mean)
        nn.init.ones_(self.running_var)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Scale and shift (steps+1, C) of the running statistics, gamma and beta."""
        scale = self.gamma * torch.rsqrt(self.running_var + self.eps)
        return scale, self.beta - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """Batch statistics when training, running statistics otherwise."""
        if on_tape(x):
            return x.through(self)  # type: ignore[no-any-return]
        w_rec = self.w_in if self.w_rec is None else self.w_rec
        if not self.training:
            scale, shift = self.folded()
            return ops.recurrent_residual_conv(
                x, self.w_in, w_rec, scale, shift, self.steps, self.residual, backend=self.backend
            )
        y, mean, variance = ops.recurrent_residual_conv_bn(
            x,
            self.w_in,
            w_rec,
            self.gamma,
            self.beta,
            self.eps,
            self.steps,
            self.residual,
            backend=self.backend,
        )
        count = x.numel() // self.channels
        if count:
            with torch.no_grad():
                unbiased = variance * (count / max(count - 1, 1))
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        return y

    def extra_repr(self) -> str:
        """Sizes and options for ``print(module)``."""
        shared = self.w_rec is None
        return f"{self.channels}, steps={self.steps}, residual={self.residual}, shared_weights={shared}"
