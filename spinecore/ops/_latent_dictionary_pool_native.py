"""The native CPU kernel of latent dictionary pooling: allocates what the core fills, and hands over views it
accepts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.ops._latent_native import Padding, new, optional


def forward(
    x: Tensor,
    dictionary: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None,
) -> Tensor:
    """The pooled vectors (B, D)."""
    pad = Padding(x.shape[2], heads)
    y = new(x.shape[0], pad.padded)
    _native.core().latent_dictionary_pool_forward(
        x.contiguous(),
        pad.table(dictionary),
        pad.columns(wq),
        pad.columns(wk),
        pad.columns(wv),
        pad.rows(wo),
        heads,
        pad.head**-0.5,
        optional(mask),
        y,
    )
    return pad.take_table(y).to(x.dtype)


def backward(
    x: Tensor,
    dy: Tensor,
    dictionary: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None,
) -> tuple[Tensor, ...]:
    """Gradients of x, dictionary, wq, wk, wv, wo."""
    pad = Padding(x.shape[2], heads)
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    d_table, dwo = new(dictionary.shape[0], pad.padded), new(pad.inner, pad.padded)
    dwq, dwk, dwv = (new(pad.padded, pad.inner) for _ in range(3))
    _native.core().latent_dictionary_pool_backward(
        x.contiguous(),
        pad.table(dy),
        pad.table(dictionary),
        pad.columns(wq),
        pad.columns(wk),
        pad.columns(wv),
        pad.rows(wo),
        heads,
        pad.head**-0.5,
        optional(mask),
        dx,
        d_table,
        dwq,
        dwk,
        dwv,
        dwo,
    )
    projections = (*(pad.take_columns(gradient) for gradient in (dwq, dwk, dwv)), pad.take_rows(dwo))
    return dx, pad.take_table(d_table), *projections
