"""Latent pooling of token sets as modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spinecore import ops


class _Projections(nn.Module):
    """What both poolings hold: a table (R, D) and four projections (D, D), applied from the right."""

    def __init__(self, width: int, rows: int, heads: int, backend: str | None) -> None:
        super().__init__()
        if width < 1 or rows < 1:
            raise ValueError(
                f"{type(self).__name__}: width={width} and the number of rows={rows} must be at least 1"
            )
        if heads < 1 or width % heads:
            raise ValueError(f"{type(self).__name__}: heads={heads} must divide width={width}")
        self.heads, self.backend = heads, backend
        for name in ("wq", "wk", "wv", "wo"):
            weight = nn.Parameter(torch.empty(width, width))
            nn.init.xavier_uniform_(weight)
            self.register_parameter(name, weight)

    wq: nn.Parameter
    wk: nn.Parameter
    wv: nn.Parameter
    wo: nn.Parameter


class LatentAttentionPool(_Projections):
    """Learned latents query the tokens (Perceiver; pooling by multihead attention).

    Args:
        width: D, of tokens and latents.
        latents: R, how many vectors a set is pooled into (16 is our default for short sequences).
        heads: A divisor of D.
        backend: Backend asked for by name; None takes the best that can run.

    Parameters: ``latents`` (R, D), ``wq``, ``wk``, ``wv``, ``wo`` (D, D). Shapes: (B, N, D) -> (B, R, D).

    """

    def __init__(self, width: int, latents: int = 16, heads: int = 8, *, backend: str | None = None) -> None:
        super().__init__(width, latents, heads, backend)
        self.latents = nn.Parameter(torch.randn(latents, width) * width**-0.5)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, bias: Tensor | None = None, need_weights: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Pool ``x``; with ``need_weights`` also the attention (B, heads, R, N)."""
        projections = (self.wq, self.wk, self.wv, self.wo)
        return ops.latent_attention_pool(
            x, self.latents, *projections, self.heads, mask, bias, need_weights, backend=self.backend
        )


class LatentDictionaryPool(_Projections):
    """Every token queries a learned dictionary; the answers are averaged over unmasked tokens (NV-Embed).

    Args:
        width: D, of tokens and dictionary.
        entries: R, the size of the dictionary.
        heads: A divisor of D.
        backend: Backend asked for by name; None takes the best that can run.

    Parameters: ``dictionary`` (R, D), ``wq``, ``wk``, ``wv``, ``wo`` (D, D). Shapes: (B, N, D) -> (B, D).

    """

    def __init__(self, width: int, entries: int = 512, heads: int = 8, *, backend: str | None = None) -> None:
        super().__init__(width, entries, heads, backend)
        self.dictionary = nn.Parameter(torch.randn(entries, width) * width**-0.5)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool ``x``."""
        projections = (self.wq, self.wk, self.wv, self.wo)
        return ops.latent_dictionary_pool(
            x, self.dictionary, *projections, self.heads, mask, backend=self.backend
        )
