"""Latent dictionary pooling: every token queries a learned dictionary and the answers are averaged
(NV-Embed).

P = softmax((x wq)(dictionary wk)^T / sqrt(D / heads))   over the dictionary, one softmax a token and head
y = mean over unmasked tokens of concat_heads(P (dictionary wv)) wo
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
from spinecore.ops import _dictionary_pool_cuda, _dictionary_pool_triton, _latent_absorbed
from spinecore.ops import _latent_dictionary_pool_native as _cpu
from spinecore.ops._attention import check_tokens, heads_first, heads_last, kept_tokens
from spinecore.ops._latent_native import can_run, worthwhile
from spinecore.ops._shared import accumulation_dtype
from spinecore.ops._spec import Cost, OpSpec, Sample, register

_NAME = "latent_dictionary_pool"


def latent_dictionary_pool(
    x: Tensor,
    dictionary: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None = None,
    *,
    backend: str | None = None,
) -> Tensor:
    """Pool a set of tokens into one vector through a learned dictionary.

    Args:
        x: (B, N, D) tokens.
        dictionary: (R, D) learned keys and values.
        wq, wk, wv, wo: (D, D), applied from the right; no biases.
        heads: A divisor of D.
        mask: (B, N) bool, True = keep; None keeps all.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        (B, D). A row without any unmasked token is zero, and so is its gradient.

    Source: Lee et al. 2024 (NV-Embed's latent attention layer); the projections are our choice, identities
    give the published form.

    """
    y: Tensor = _FORWARD(x, dictionary, wq, wk, wv, wo, heads, mask, backend)
    return y


def _check(
    x: Tensor,
    dictionary: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None,
) -> None:
    check_tokens(
        _NAME, x, ("dictionary", dictionary), (("wq", wq), ("wk", wk), ("wv", wv), ("wo", wo)), heads, mask
    )


def _token_weights(x: Tensor, mask: Tensor | None) -> Tensor:
    """(B, N, 1): one over the number of kept tokens for a kept token, else zero."""
    if mask is None:
        return x.new_full((x.shape[0], x.shape[1], 1), 1.0 / max(x.shape[1], 1))
    kept = mask.to(x.dtype)
    return (kept / kept.sum(1, keepdim=True).clamp_min(1))[:, :, None]


def _attend(
    x: Tensor, dictionary: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """P (B, heads, N, R) with the queries (B, heads, N, d), keys and values (heads, R, d)."""
    queries = heads_first(x @ wq, heads)
    keys, values = heads_first(dictionary @ wk, heads), heads_first(dictionary @ wv, heads)
    weights = torch.softmax(queries @ keys.transpose(-1, -2) / math.sqrt(keys.shape[-1]), dim=-1)
    return weights, queries, keys, values


def _reference(
    x: Tensor,
    dictionary: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None,
) -> Tensor:
    """The meaning of the operator; half-precision inputs are computed in float32. The mean commutes with
    ``wo`` and goes first.
    """
    tensors = (x, dictionary, wq, wk, wv, wo)
    wide, table, wq, wk, wv, wo = (tensor.to(accumulation_dtype(x.dtype)) for tensor in tensors)
    wide = kept_tokens(wide, mask)
    weights, _, _, values = _attend(wide, table, wq, wk, wv, heads)
    answers = heads_last(weights @ values)
    return ((answers * _token_weights(wide, mask)).sum(1) @ wo).to(x.dtype).contiguous()


def _fake(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[2]))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.heads, mask = inputs
    ctx.save_for_backward(*tensors, mask)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, dictionary, wq, wk, wv, wo, mask = ctx.saved_tensors
    return (*_BACKWARD(x, dy, dictionary, wq, wk, wv, wo, ctx.heads, mask, ctx.backend), None, None)


def _backward_reference(
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
    """Gradients of x, dictionary, wq, wk, wv, wo; all but the first in the accumulation dtype."""
    tensors = (x, dy, dictionary, wq, wk, wv, wo)
    wide, grads, table, wq_w, wk_w, wv_w, wo_w = (
        tensor.to(accumulation_dtype(x.dtype)) for tensor in tensors
    )
    wide = kept_tokens(wide, mask)
    weights, queries, keys, values = _attend(wide, table, wq_w, wk_w, wv_w, heads)
    token_weights = _token_weights(wide, mask)
    pooled = (heads_last(weights @ values) * token_weights).sum(1)
    d_answers = heads_first(token_weights * (grads @ wo_w.T)[:, None], heads)
    d_values = heads_last((weights.transpose(-1, -2) @ d_answers).sum(0))
    d_weights = d_answers @ values.transpose(-1, -2)
    d_scores = weights * (d_weights - (weights * d_weights).sum(-1, keepdim=True)) / math.sqrt(keys.shape[-1])
    d_queries = heads_last(d_scores @ keys)
    d_keys = heads_last((d_scores.transpose(-1, -2) @ queries).sum(0))
    gradients = (
        d_keys @ wk_w.T + d_values @ wv_w.T,
        torch.einsum("bnd,bne->de", wide, d_queries),
        table.T @ d_keys,
        table.T @ d_values,
        pooled.T @ grads,
    )
    dx = kept_tokens(d_queries @ wq_w.T, mask)
    return dx.to(x.dtype).contiguous(), *(gradient.contiguous() for gradient in gradients)


def _backward_fake(
    x: Tensor, dy: Tensor, dictionary: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, *_: Any
) -> tuple[Tensor, ...]:
    dtype = accumulation_dtype(x.dtype)
    return x.new_empty(x.shape), *(p.new_empty(p.shape, dtype=dtype) for p in (dictionary, wq, wk, wv, wo))


def _call(x: Tensor, dictionary: Tensor, *rest: Any) -> backends.Call:
    return backends.call_of(_NAME, x, ("dictionary", dictionary.shape[0]), ("heads", rest[4]))


def _backward_options(x: Tensor, dy: Tensor, dictionary: Tensor, *rest: Any) -> tuple[Any, ...]:
    return ("dictionary", dictionary.shape[0]), ("heads", rest[4])


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    def make(batch: int, tokens: int, width: int, rows: int, heads: int, mask: str = "") -> Sample:
        keep: Tensor | None = None
        if mask:
            keep = torch.rand((batch, tokens), generator=generator) > 0.4
            keep[-1] = mask != "empty row"
        args = (
            draw(batch, tokens, width),
            draw(rows, width),
            *(draw(width, width) / width**0.5 for _ in range(4)),
            heads,
            keep,
        )
        return Sample(f"B={batch} N={tokens} D={width} R={rows} heads={heads} mask={mask or None}", args)

    yield make(2, 5, 8, 3, 2)
    yield make(2, 7, 4, 5, 4, mask="empty row")
    yield make(3, 4, 6, 1, 1, mask="some")
    yield make(0, 3, 4, 2, 2)
    yield make(2, 0, 4, 2, 2)


def _cost(x: Tensor, dictionary: Tensor, *_: Any) -> Cost:
    batch, tokens, width = x.shape
    rows = dictionary.shape[0]
    flops = (
        2 * batch * tokens * width * (width + 2 * rows) + 4 * rows * width * width + 2 * batch * width * width
    )
    return Cost(flops, (x.numel() + batch * width + 4 * width * width + rows * width) * x.element_size())


_ARGUMENTS = "Tensor dictionary, Tensor wq, Tensor wk, Tensor wv, Tensor wo, int heads"
SPEC = OpSpec(
    name=_NAME,
    function=latent_dictionary_pool,
    schema=f"(Tensor x, {_ARGUMENTS}, Tensor? mask=None, str? backend=None) -> Tensor",
    reference=_reference,
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    backward_schema=(
        f"(Tensor x, Tensor dy, {_ARGUMENTS}, Tensor? mask, str? backend=None) -> (Tensor, Tensor, "
        "Tensor, Tensor, Tensor, Tensor)"
    ),
    backward_reference=_backward_reference,
    backward_fake=_backward_fake,
    call=_call,
    backward_options=_backward_options,
    autocast=dict.fromkeys(("x", "dictionary", "wq", "wk", "wv", "wo"), "lower"),
    samples=_samples,
    cost=_cost,
    kernels={
        "cuda": Kernel(
            _dictionary_pool_cuda.forward, _latent_absorbed.can_run_cuda, _latent_absorbed.worthwhile_cuda
        ),
        "triton": Kernel(
            _dictionary_pool_triton.forward, _latent_absorbed.can_run, _latent_absorbed.worthwhile
        ),
        "cpu": Kernel(_cpu.forward, can_run, worthwhile),
    },
    backward_kernels={
        "cuda": Kernel(
            _dictionary_pool_cuda.backward, _latent_absorbed.can_run_cuda, _latent_absorbed.worthwhile_cuda
        ),
        "triton": Kernel(
            _dictionary_pool_triton.backward, _latent_absorbed.can_run, _latent_absorbed.worthwhile
        ),
        "cpu": Kernel(_cpu.backward, can_run, worthwhile),
    },
    equations=(
        "P = softmax((x wq)(dictionary wk)^T / sqrt(D / heads)); "
        "y = mean_tokens(concat_heads(P (dictionary wv))) wo"
    ),
    source="Lee et al. 2024 (NV-Embed)",
)
_FORWARD, _BACKWARD = register(SPEC)
