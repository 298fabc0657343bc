"""The native CPU kernel of latent attention pooling: allocates what the core fills, and hands over views it
accepts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.ops._latent_native import Padding, absent, new, optional, plain


def absorbs(tokens: int, width: int, rows: int, heads: int) -> bool:
    """Whether projections absorbed into the queries cost less than keys and values of every token.

    Multiplications of a sample: 2 heads R N D + R D^2 (values of R means a head), or 2 N D^2 + 2 R N D.
    """
    return 2 * heads * rows * tokens + rows * width < 2 * tokens * (width + rows)


def _bias(bias: Tensor | None) -> Tensor:
    if bias is None:
        return absent()
    return plain(bias if bias.dim() == 3 else bias[None])


def forward(
    x: Tensor,
    latents: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None,
    bias: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y, norms, pooled values, and with ``keep`` scores and means; see the operator."""
    batch, tokens, width = x.shape
    rows = latents.shape[0]
    pad = Padding(width, heads)
    y, norms, pooled = (
        new(batch, rows, pad.padded),
        new(2, batch, heads, rows),
        new(batch, rows, pad.inner),
    )
    scores, means = absent(), absent()
    if keep:
        scores, means = new(batch, tokens, heads * rows), new(heads, batch, rows, pad.padded)
    _native.core().latent_attention_pool_forward(
        x.contiguous(),
        pad.table(latents),
        pad.columns(wq),
        pad.columns(wk),
        pad.columns(wv),
        pad.rows(wo),
        heads,
        pad.head**-0.5,
        optional(mask),
        _bias(bias),
        absorbs(tokens, width, rows, heads),
        y,
        norms,
        pooled,
        scores,
        means,
    )
    y = pad.take_table(y).to(x.dtype)
    if not keep:
        return y, norms, pad.take_by_head(pooled), new(0), new(0)
    return y, norms, pad.take_by_head(pooled), scores, pad.take_table(means)


def backward(
    x: Tensor,
    dy: Tensor,
    latents: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None,
    bias: Tensor | None,
    norms: Tensor,
    pooled: Tensor,
    scores: Tensor,
    means: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of x, latents, wq, wk, wv, wo, bias."""
    batch, tokens, width = x.shape
    rows = latents.shape[0]
    if means.numel() == 0 and absorbs(tokens, width, rows, heads):
        *_, scores, means = forward(x, latents, wq, wk, wv, wo, heads, mask, bias, True)
    pad = Padding(width, heads)
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    d_bias = absent() if bias is None else new(batch, rows, tokens)
    d_latents, dwo = new(rows, pad.padded), new(pad.inner, pad.padded)
    dwq, dwk, dwv = (new(pad.padded, pad.inner) for _ in range(3))
    _native.core().latent_attention_pool_backward(
        x.contiguous(),
        pad.table(dy),
        pad.table(latents),
        pad.columns(wq),
        pad.columns(wk),
        pad.columns(wv),
        pad.rows(wo),
        heads,
        pad.head**-0.5,
        optional(mask),
        _bias(bias),
        plain(norms),
        pad.by_head(pooled),
        scores,
        pad.table(means) if means.numel() else absent(),
        dx,
        d_latents,
        dwq,
        dwk,
        dwv,
        dwo,
        d_bias,
    )
    if bias is None:
        d_bias = new(0)
    elif bias.dim() == 2:
        d_bias = d_bias.sum(0)
    projections = (*(pad.take_columns(gradient) for gradient in (dwq, dwk, dwv)), pad.take_rows(dwo))
    return dx, pad.take_table(d_latents), *projections, d_bias
