"""Latent attention pooling: learned latents query a set of tokens (Perceiver, Set Transformer's PMA).

    P = softmax((latents wq)(x wk)^T / sqrt(D / heads) + bias)   over unmasked tokens, one softmax a head
    y = concat_heads(P (x wv)) wo

The operator ``torch.ops.spinecore.latent_attention_pool`` also returns, for its backward, norms (2, B, heads,
R), the largest score of a row and the sum of exponentials below it (P = exp(scores - norms[0]) / norms[1];
a log-sum-exp of large scores would lose digits of P), and the pooled values before wo; with ``keep`` also
scores (B, N, heads R) and means P x (heads, B, R, D), which spare the native backward a third of its work.
"""

# ruff: noqa: ARG001, D417 - the parts of one operator share one argument list; like arguments are described
# together
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spinecore import backends
from spinecore.backends import Kernel
from spinecore.ops import _latent_absorbed, _latent_pool_cuda, _latent_pool_triton
from spinecore.ops import _latent_attention_pool_native as _cpu
from spinecore.ops._attention import (
    check_tokens,
    heads_first,
    heads_last,
    keep_logits,
    kept_tokens,
    masked_softmax,
)
from spinecore.ops._latent_native import can_run, worthwhile
from spinecore.ops._shared import accumulation_dtype, check_shape, fail_dtype
from spinecore.ops._spec import Cost, OpSpec, Sample, register

_NAME = "latent_attention_pool"


def latent_attention_pool(
    x: Tensor,
    latents: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    need_weights: bool = False,
    *,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Pool a set of tokens into one vector a latent.

    Args:
        x: (B, N, D) tokens.
        latents: (R, D) learned queries.
        wq, wk, wv, wo: (D, D), applied from the right; no biases.
        heads: A divisor of D.
        mask: (B, N) bool, True = keep; None keeps all.
        bias: (R, N) or (B, R, N), added to the scores of every head (time alignment); -inf excludes a token.
        need_weights: Also return P (B, heads, R, N), differentiable like any PyTorch result.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        (B, R, D), or with ``need_weights`` a pair of it and P. A row without any token to attend to is zero,
        and so is its gradient.

    Source: Jaegle et al. 2021 (Perceiver); Lee et al. 2019 (pooling by multihead attention).

    """
    keep = _keeps(x, latents, heads, wq, wk, wv, wo, bias)
    y: Tensor = _FORWARD(x, latents, wq, wk, wv, wo, heads, mask, bias, keep, backend)[0]
    if not need_weights:
        return y
    return y, _weights(kept_tokens(x, mask), latents, wq, wk, heads, mask, bias)[0]


def _keeps(x: Tensor, latents: Tensor, heads: int, *others: Tensor | None) -> bool:
    """Whether to keep scores and means, where a backward on the CPU will want them: together about as large
    as x at most.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_exporting() or x.device.type != "cpu":
        return False
    if not any(tensor is not None and tensor.requires_grad for tensor in (x, latents, *others)):
        return False
    if x.dim() != 3 or latents.dim() != 2:  # the operator says what is wrong
        return False
    return _cpu.absorbs(x.shape[1], x.shape[2], latents.shape[0], heads)


def _check(
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
) -> None:
    check_tokens(
        _NAME, x, ("latents", latents), (("wq", wq), ("wk", wk), ("wv", wv), ("wo", wo)), heads, mask
    )
    if bias is not None:
        shape = (latents.shape[0], x.shape[1])
        if bias.dim() == 3:
            check_shape(_NAME, "bias", bias, (x.shape[0], *shape), "(B, R, N)")
        else:
            check_shape(_NAME, "bias", bias, shape, "(R, N)")
        if bias.dtype is not x.dtype and bias.dtype is not accumulation_dtype(x.dtype):
            fail_dtype(
                _NAME,
                "bias",
                bias.dtype,
                f"{x.dtype} (as x)",
                "Convert bias with .to(x.dtype); a keep-mask goes to mask.",
            )


def _weights(
    x: Tensor, latents: Tensor, wq: Tensor, wk: Tensor, heads: int, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """P (B, heads, R, N), norms (2, B, heads, R), the queries and keys they came from, and the scores."""
    queries = heads_first(latents @ wq, heads)
    keys = heads_first(x @ wk, heads)
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(keys.shape[-1])
    if bias is not None:
        scores = scores + (bias if bias.dim() == 2 else bias[:, None]).to(scores.dtype)
    weights, norms = masked_softmax(keep_logits(scores, None if mask is None else mask[:, None, None, :]))
    return weights, norms, queries, keys, scores


def _widen(dtype: torch.dtype, *tensors: Tensor) -> list[Tensor]:
    return [tensor.to(dtype) for tensor in tensors]


def _reference(
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
    """The meaning of the operator; half-precision inputs are computed in float32."""
    dtype = accumulation_dtype(x.dtype)
    wide, latents, wq, wk, wv, wo = _widen(dtype, x, latents, wq, wk, wv, wo)
    wide = kept_tokens(wide, mask)
    weights, norms, _, _, scores = _weights(wide, latents, wq, wk, heads, mask, bias)
    pooled = heads_last(weights @ heads_first(wide @ wv, heads)).contiguous()
    y = (pooled @ wo).to(x.dtype).contiguous()
    if not keep:
        return y, norms.contiguous(), pooled, wide.new_empty(0), wide.new_empty(0)
    kept = kept_tokens(scores.permute(0, 3, 1, 2).flatten(2), mask).contiguous()
    means = torch.einsum("bhrn,bnd->hbrd", weights, wide).contiguous()
    return y, norms.contiguous(), pooled, kept, means


def _fake(
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
    (batch, tokens, width), rows = x.shape, latents.shape[0]

    def new(*shape: int) -> Tensor:
        return x.new_empty(shape, dtype=accumulation_dtype(x.dtype))

    kept = ((batch, tokens, heads * rows), (heads, batch, rows, width)) if keep else ((0,), (0,))
    y = x.new_empty((batch, rows, width))
    return y, new(2, batch, heads, rows), new(batch, rows, width), new(*kept[0]), new(*kept[1])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.heads, mask, bias, _ = inputs
    ctx.save_for_backward(*tensors, mask, bias, *output[1:])


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, latents, wq, wk, wv, wo, mask, bias, *kept = ctx.saved_tensors
    gradients = _BACKWARD(x, dy, latents, wq, wk, wv, wo, ctx.heads, mask, bias, *kept, ctx.backend)
    *main, d_bias = gradients
    return (*main, None, None, d_bias if bias is not None else None, None)


def _backward_reference(
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
    """Gradients of x, latents, wq, wk, wv, wo, bias; the last has no elements without a bias. norms,
    pooled, scores and means serve fused backends.
    """
    dtype = accumulation_dtype(x.dtype)
    wide, grads, latents_w, wq_w, wk_w, wv_w, wo_w = _widen(dtype, x, dy, latents, wq, wk, wv, wo)
    wide = kept_tokens(wide, mask)
    weights, _, queries, keys, _ = _weights(wide, latents_w, wq_w, wk_w, heads, mask, bias)
    values = heads_first(wide @ wv_w, heads)
    pooled = heads_last(weights @ values)
    d_wo = torch.einsum("brd,bre->de", pooled, grads)
    d_pooled = heads_first(grads @ wo_w.T, heads)
    d_values = heads_last(weights.transpose(-1, -2) @ d_pooled)
    d_weights = d_pooled @ values.transpose(-1, -2)
    d_scores = weights * (d_weights - (weights * d_weights).sum(-1, keepdim=True))
    scaled = d_scores / math.sqrt(keys.shape[-1])
    d_queries = heads_last((scaled @ keys).sum(0))
    d_keys = heads_last(scaled.transpose(-1, -2) @ queries)
    if bias is None:
        d_bias = grads.new_empty(0)
    else:
        d_bias = d_scores.sum((0, 1)) if bias.dim() == 2 else d_scores.sum(1)
    dx = kept_tokens(d_keys @ wk_w.T + d_values @ wv_w.T, mask)
    parameters = (
        d_queries @ wq_w.T,
        latents_w.T @ d_queries,
        torch.einsum("bnd,bne->de", wide, d_keys),
        torch.einsum("bnd,bne->de", wide, d_values),
        d_wo,
        d_bias,
    )
    return dx.to(x.dtype).contiguous(), *(gradient.contiguous() for gradient in parameters)


def _backward_fake(
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
    parameters = (latents.shape, wq.shape, wk.shape, wv.shape, wo.shape, (0,) if bias is None else bias.shape)
    return x.new_empty(x.shape), *(norms.new_empty(shape) for shape in parameters)


def _call(x: Tensor, latents: Tensor, *rest: Any) -> backends.Call:
    return backends.call_of(_NAME, x, ("latents", latents.shape[0]), ("heads", rest[4]))


def _backward_options(x: Tensor, dy: Tensor, latents: Tensor, *rest: Any) -> tuple[Any, ...]:
    return ("latents", latents.shape[0]), ("heads", rest[4])


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    def make(
        batch: int, tokens: int, width: int, rows: int, heads: int, mask: str = "", bias: int = 0
    ) -> Sample:
        weights = [draw(width, width) / width**0.5 for _ in range(4)]
        keep: Tensor | None = None
        if mask:
            keep = torch.rand((batch, tokens), generator=generator) > 0.4
            keep[-1] = mask != "empty row"
        added = draw(*((batch, rows, tokens) if bias == 3 else (rows, tokens))) if bias else None
        args = (draw(batch, tokens, width), draw(rows, width), *weights, heads, keep, added)
        return Sample(
            f"B={batch} N={tokens} D={width} R={rows} heads={heads} mask={mask or None} bias={bias}", args
        )

    yield make(2, 5, 8, 3, 2)
    yield make(2, 7, 4, 2, 4, mask="empty row", bias=2)
    yield make(3, 4, 6, 2, 1, mask="some", bias=3)
    yield make(1, 1, 2, 1, 1)
    yield make(0, 3, 4, 2, 2, mask="", bias=0)
    yield make(2, 0, 4, 2, 2)


def _cost(x: Tensor, latents: Tensor, *rest: Any) -> Cost:
    batch, tokens, width = x.shape
    rows, heads = latents.shape[0], rest[4]
    projected = 4 * batch * tokens * width * width + 4 * batch * rows * tokens * width
    absorbed = 4 * batch * tokens * heads * rows * width + 4 * batch * rows * width * width
    return Cost(
        min(projected, absorbed), (x.numel() + batch * rows * width + 4 * width * width) * x.element_size()
    )


_ARGUMENTS = "Tensor latents, Tensor wq, Tensor wk, Tensor wv, Tensor wo, int heads"
SPEC = OpSpec(
    name=_NAME,
    function=latent_attention_pool,
    schema=(
        f"(Tensor x, {_ARGUMENTS}, Tensor? mask=None, Tensor? bias=None, bool keep=False, str? backend=None) "
        "-> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
    reference=_reference,
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    backward_schema=(
        f"(Tensor x, Tensor dy, {_ARGUMENTS}, Tensor? mask, Tensor? bias, Tensor norms, Tensor pooled, "
        "Tensor scores, Tensor means, str? backend=None) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, "
        "Tensor)"
    ),
    backward_reference=_backward_reference,
    backward_fake=_backward_fake,
    call=_call,
    backward_options=_backward_options,
    autocast={**dict.fromkeys(("x", "latents", "wq", "wk", "wv", "wo"), "lower"), "bias": "float32"},
    samples=_samples,
    cost=_cost,
    kernels={
        "cuda": Kernel(
            _latent_pool_cuda.forward, _latent_absorbed.can_run_cuda, _latent_absorbed.worthwhile_cuda
        ),
        "triton": Kernel(_latent_pool_triton.forward, _latent_absorbed.can_run, _latent_absorbed.worthwhile),
        "cpu": Kernel(_cpu.forward, can_run, worthwhile),
    },
    backward_kernels={
        "cuda": Kernel(
            _latent_pool_cuda.backward, _latent_absorbed.can_run_cuda, _latent_absorbed.worthwhile_cuda
        ),
        "triton": Kernel(_latent_pool_triton.backward, _latent_absorbed.can_run, _latent_absorbed.worthwhile),
        "cpu": Kernel(_cpu.backward, can_run, worthwhile),
    },
    equations="P = softmax((latents wq)(x wk)^T / sqrt(D / heads) + bias); y = concat_heads(P (x wv)) wo",
    source="Jaegle et al. 2021 (Perceiver); Lee et al. 2019 (Set Transformer, PMA)",
)
_FORWARD, _BACKWARD = register(SPEC)
