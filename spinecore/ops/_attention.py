"""What the two latent pooling operators share: argument rules, head splitting and a softmax that survives
empty rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore.ops._shared import check_float, check_shape, fail, fail_dtype


def check_tokens(
    op: str,
    x: Tensor,
    table: tuple[str, Tensor],
    projections: tuple[tuple[str, Tensor], ...],
    heads: int,
    mask: Tensor | None,
) -> None:
    """X (B, N, D), a table (R, D), projections (D, D), a divisor of D for heads, a bool mask (B, N)."""
    if x.dim() != 3 or x.shape[2] < 1:
        fail(
            op,
            "x",
            f"of shape {tuple(x.shape)}",
            "(B, N, D) with D >= 1",
            "Flatten feature maps with x.flatten(2).mT.",
        )
    check_float(op, "x", x)
    width = x.shape[2]
    name, rows = table
    if rows.dim() != 2 or rows.shape[1] != width or rows.shape[0] < 1:
        fail(
            op,
            name,
            f"of shape {tuple(rows.shape)}",
            f"(R, D) with D = {width}",
            f"Rebuild {name} for this width.",
        )
    for argument, weight in projections:
        check_shape(op, argument, weight, (width, width), "(D, D)")
    for argument, tensor in (table, *projections):
        if tensor.dtype is not x.dtype:
            remedy = f"Convert {argument} with .to(x.dtype), or use autocast."
            fail_dtype(op, argument, tensor.dtype, f"{x.dtype} (as x)", remedy)
    if heads < 1 or width % heads:
        fail(op, "heads", str(heads), f"a divisor of D = {width}", "Change heads or the width.")
    if mask is not None:
        check_shape(op, "mask", mask, tuple(x.shape[:2]), "(B, N)")
        if mask.dtype is not torch.bool:
            fail_dtype(op, "mask", mask.dtype, "torch.bool with True = keep", "Convert mask with .bool().")


def heads_first(x: Tensor, heads: int) -> Tensor:
    """(..., N, D) -> (..., heads, N, D / heads)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(-2, -3)


def heads_last(x: Tensor) -> Tensor:
    """(..., heads, N, D / heads) -> (..., N, D)."""
    return x.transpose(-2, -3).flatten(-2)


def kept_tokens(x: Tensor, mask: Tensor | None) -> Tensor:
    """Tokens with zeros where masked, so that garbage in padding (NaN included) cannot leak through a zero
    weight.
    """
    return x if mask is None else x.masked_fill(~mask[:, :, None], 0.0)


def keep_logits(scores: Tensor, keep: Tensor | None) -> Tensor:
    """Scores with -inf where nothing may be attended to."""
    return scores if keep is None else scores.masked_fill(~keep, float("-inf"))


def masked_softmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax over the last dimension, and stacked its norms: the largest score and the sum of exponentials
    below it, both zero for a row of -inf or an empty one, whose weights are zero.
    """
    if scores.shape[-1] == 0:
        return scores, scores.new_zeros((2, *scores.shape[:-1]))
    top = scores.detach().amax(-1, keepdim=True)
    top = top.masked_fill(top == float("-inf"), 0.0)
    exponentials = torch.exp(scores - top)
    total = exponentials.sum(-1, keepdim=True)
    weights = exponentials / total.masked_fill(total == 0, 1.0)
    return weights, torch.stack([top.squeeze(-1), total.squeeze(-1)])
