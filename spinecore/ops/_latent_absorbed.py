"""What the GPU implementations of latent attention pooling share: the projections, absorbed into the latents.

    queries = scale (latents wq) wk^T of every head, (heads R, D)      scores = x queries^T
    means = P^T x (B, heads R, D)                                      pooled = means wv of their head

What touches the tokens is a kernel's; these products of small matrices are torch's, in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spinecore.backends import Call, Verdict
from spinecore.ops import _device
from spinecore.ops._attention import heads_first, heads_last

_DTYPES = (torch.float32, *_device.HALVES)
_YES = Verdict(True, "absorbed projections: neither keys nor values exist; float32 sums")
_MOST_TOKENS, _MOST_WIDE = 2**25, 2**16


def can_run(call: Call) -> Verdict:
    """float32, bfloat16 and float16; ``options`` are the latents' or the dictionary's rows and the heads."""
    if call.dtype not in _DTYPES:
        name = str(call.dtype).removeprefix("torch.")
        return Verdict(False, f"the kernel computes float32, bfloat16 and float16, not {name}")
    if 0 in call.shape:
        return Verdict(False, "x has no elements, there is nothing to launch")
    batch, tokens, width = call.shape
    queries = call.options[0][1] * call.options[1][1]
    if batch * tokens >= _MOST_TOKENS or width >= _MOST_WIDE or queries >= _MOST_WIDE:
        return Verdict(False, "2^25 tokens, 2^16 channels or 2^16 queries (heads x latents) or more")
    return _YES


def _more(call: Call) -> float:
    """Operations over those of keys and values of every token."""
    width, rows, heads = call.shape[2], call.options[0][1], call.options[1][1]
    return float(heads * rows / (width + rows))


def worthwhile(call: Call) -> Verdict:
    """Not where so many latents query that keys and values cost less."""
    if _more(call) >= 1:
        width, rows, heads = call.shape[2], call.options[0][1], call.options[1][1]
        return Verdict(False, f"{heads} heads x {rows} latents, D = {width}: keys and values cost less")
    return _YES


_MOST_ON_TENSOR_CORES = 3.0
"""Times the operations at which halves still gain: they run on tensor cores, those of the reference, which
has keys and values, in float32. Predicted for three cards (spinecore.bench.roofline, benchmarks/NOTES.md).
"""


def _on_tensor_cores(call: Call) -> bool:
    """bfloat16 is multiplied in float32 before sm_80."""
    if call.dtype is not torch.bfloat16 or not torch.cuda.is_available():
        return call.dtype in _device.HALVES
    return torch.cuda.get_device_capability() >= (8, 0)


def can_run_cuda(call: Call) -> Verdict:
    """As :func:`can_run`; the reason says where the absorbed form is the dearer one."""
    verdict = can_run(call)
    if not verdict.ok or _more(call) < 1 or not worthwhile_cuda(call).ok:
        return verdict
    return Verdict(
        True,
        f"absorbed projections: {_more(call):.1f} times the operations of keys and values, but on tensor "
        "cores, where the reference has float32",
    )


def worthwhile_cuda(call: Call) -> Verdict:
    """As :func:`worthwhile`, but halves on tensor cores may cost some times the operations."""
    return _YES if _on_tensor_cores(call) and _more(call) < _MOST_ON_TENSOR_CORES else worthwhile(call)


class Parameters(NamedTuple):
    """In float32, with the queries (heads R, D) they make."""

    latents: Tensor
    wq: Tensor
    wk: Tensor
    wv: Tensor
    wo: Tensor
    heads: int
    queries: Tensor

    def split(self, weight: Tensor) -> Tensor:
        """(D, heads d) as (heads, D, d), or (R, heads d) as (heads, R, d)."""
        return heads_first(weight, self.heads)

    @property
    def scale(self) -> float:
        """1 / sqrt(d)."""
        return float((self.wq.shape[0] // self.heads) ** -0.5)


def parameters(latents: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, heads: int) -> Parameters:
    """The projections of one call."""
    latents, wq, wk, wv, wo = (_device.float32(tensor) for tensor in (latents, wq, wk, wv, wo))
    made = Parameters(latents, wq, wk, wv, wo, heads, latents)
    projected = made.split(latents @ wq * made.scale)
    return made._replace(queries=(projected @ made.split(wk).transpose(1, 2)).flatten(0, 1).contiguous())


def mask_of(mask: Tensor | None, like: Tensor) -> Tensor:
    """(B, N) of 1 and 0, or without elements."""
    return _device.optional(mask, like)


def bias_of(bias: Tensor | None, like: Tensor) -> Tensor:
    """(1 or B, R, N), or without elements."""
    if bias is None:
        return like.new_empty(0, dtype=torch.float32)
    return _device.float32(bias if bias.dim() == 3 else bias[None])


Attend = Callable[..., tuple[Tensor, ...]]
Differentiate = Callable[..., tuple[Tensor, ...]]


def forward_by(attend: Attend) -> Callable[..., tuple[Tensor, ...]]:
    """The operator's forward on somebody's kernel: y, norms, pooled; scores and means are never kept."""

    def forward(x: Tensor, *given: Any) -> tuple[Tensor, ...]:
        *parameters_and_heads, mask, bias, _keep = given
        return _forward(attend, x, tuple(parameters_and_heads), mask, bias)

    return forward


def backward_by(
    attend: Attend, differentiate: Differentiate, halves: bool = False
) -> Callable[..., tuple[Tensor, ...]]:
    """The operator's backward on somebody's kernels: gradients of x, latents, wq, wk, wv, wo, bias. With
    ``halves``, half-precision tokens are multiplied with gradients of their dtype.
    """

    def backward(x: Tensor, dy: Tensor, *given: Any) -> tuple[Tensor, ...]:
        *parameters_and_heads, mask, bias, _norms, pooled, _scores, _means = given
        rounds = halves and x.dtype in _device.HALVES
        given_parameters = tuple(parameters_and_heads)
        return _backward(attend, differentiate, rounds, x, dy, given_parameters, mask, bias, pooled)

    return backward


def _forward(
    attend: Attend,
    x: Tensor,
    given: tuple[Any, ...],
    mask: Tensor | None,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As the operator; ``attend(x, queries, rows, mask, bias)`` gives scores, norms and means."""
    p = parameters(*given)
    rows = p.latents.shape[0]
    _, norms, means = attend(x.contiguous(), p.queries, rows, mask_of(mask, x), bias_of(bias, x))
    batch = x.shape[0]
    by_head = means.view(batch, p.heads, rows, -1) @ p.split(p.wv)
    pooled = heads_last(by_head).contiguous()
    y = (pooled @ p.wo).to(x.dtype)
    none = norms.new_empty(0)
    return y, norms.view(2, batch, p.heads, rows), pooled, none, none.clone()


def _backward(
    attend: Attend,
    differentiate: Differentiate,
    rounds: bool,
    x: Tensor,
    dy: Tensor,
    given: tuple[Any, ...],
    mask: Tensor | None,
    bias: Tensor | None,
    pooled: Tensor,
) -> tuple[Tensor, ...]:
    """As the operator; ``differentiate(x, queries, rows, mask, scores, norms, d_means, delta)`` gives dx,
    d_scores and d_queries. Scores and means are made again rather than kept.
    """
    p = parameters(*given)
    rows, batch = p.latents.shape[0], x.shape[0]
    x, kept = x.contiguous(), mask_of(mask, x)
    scores, norms, means = attend(x, p.queries, rows, kept, bias_of(bias, x))
    grads = _device.float32(dy)
    d_pooled = heads_first(grads @ p.wo.T, p.heads)  # (B, heads, R, d)
    d_means = (d_pooled @ p.split(p.wv).transpose(1, 2)).flatten(1, 2).contiguous()
    if rounds:
        d_means = d_means.to(x.dtype)
        # Of what dP is made of, so that dP - delta cancels as it should.
        delta = (means * d_means).sum(2)
    else:
        delta = (heads_first(pooled, p.heads) * d_pooled).sum(3).flatten(1).contiguous()
    dx, d_scores, d_queries = differentiate(x, p.queries, rows, kept, scores, norms, d_means, delta)
    # Through queries = scale (latents wq) wk^T.
    d_absorbed = d_queries.view(p.heads, rows, -1) * p.scale
    projected = p.split(p.latents @ p.wq)  # (heads, R, d)
    d_projected = heads_last(d_absorbed @ p.split(p.wk))
    d_wk = heads_last(d_absorbed.transpose(1, 2) @ projected)
    of_heads = means.view(batch, p.heads, rows, -1)
    d_wv = torch.einsum("bhrd,bhre->dhe", of_heads, d_pooled).flatten(1)
    d_wo = pooled.flatten(0, 1).T @ grads.flatten(0, 1)
    if bias is None:
        d_bias = norms.new_empty(0)
    else:
        d_bias = d_scores.view(*x.shape[:2], p.heads, rows).sum(2, dtype=torch.float32).transpose(1, 2)
        d_bias = d_bias.sum(0) if bias.dim() == 2 else d_bias
    gradients = (d_projected @ p.wq.T, p.latents.T @ d_projected, d_wk, d_wv, d_wo, d_bias)
    return dx, *(gradient.contiguous() for gradient in gradients)
