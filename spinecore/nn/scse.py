"""scSE gate as a module."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spinecore import ops

from .tape.values import on_tape


class SCSEGate(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy et al. 2018).

    Args:
        channels: Channels C of the feature map.
        reduction: The hidden width is channels // reduction, but at least ``minimum``.
        minimum: Least hidden width (our choice: a bottleneck of one or two units learns nothing).
        bias: Biases in all three maps; the published "lite" form has none.
        mode: ``add`` or ``max``.
        backend: Backend asked for by name; None takes the best that can run.

    Shapes: (N, C, H, W) -> (N, C, H, W).

    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        minimum: int = 8,
        bias: bool = False,
        mode: str = "add",
        *,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        if channels < 1 or reduction < 1 or minimum < 1:
            raise ValueError(
                f"SCSEGate: channels={channels}, reduction={reduction}, "
                f"minimum={minimum} must all be at least 1"
            )
        if mode not in ("add", "max"):
            raise ValueError(f"SCSEGate: mode is {mode!r}; expected 'add' or 'max'")
        hidden = max(channels // reduction, minimum)
        self.channels, self.hidden, self.mode, self.backend = channels, hidden, mode, backend
        self.w1 = nn.Parameter(torch.empty(hidden, channels))
        self.w2 = nn.Parameter(torch.empty(channels, hidden))
        self.ws = nn.Parameter(torch.empty(channels))
        self.b1 = nn.Parameter(torch.empty(hidden)) if bias else None
        self.b2 = nn.Parameter(torch.empty(channels)) if bias else None
        self.bs = nn.Parameter(torch.empty(1)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-uniform weights with the bounds of ``nn.Linear`` and of a 1x1 ``nn.Conv2d``; zero
        biases.
        """
        nn.init.kaiming_uniform_(self.w1, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.w2, a=math.sqrt(5))
        bound = 1 / math.sqrt(self.channels)
        nn.init.uniform_(self.ws, -bound, bound)
        for bias in (self.b1, self.b2, self.bs):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Gate ``x``."""
        if on_tape(x):
            return x.through(self)  # type: ignore[no-any-return]
        return ops.scse_gate(
            x, self.w1, self.b1, self.w2, self.b2, self.ws, self.bs, self.mode, backend=self.backend
        )

    def extra_repr(self) -> str:
        """Sizes and mode for ``print(module)``."""
        return f"{self.channels}, hidden={self.hidden}, bias={self.b1 is not None}, mode={self.mode!r}"
