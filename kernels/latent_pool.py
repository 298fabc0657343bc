"""Attention between absorbed queries and tokens in Triton: the twin of csrc/cuda/latent_pool.cu.

Scores and the norms of every block of tokens; P^T x split over the tokens; backward, the gradient of the
scores, that of the tokens, and the queries' split over samples and tokens. What is split is added by torch.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import _launch

_NAME, _TILE = "latent_pool", 64


@triton.jit
def _load(matrix, row, column, rows, columns, keep, MASKED: tl.constexpr):
    """A tile of a row-major matrix in float32; zeros outside, and for rows that are not kept."""
    here = (row < rows) & (column < columns)
    if MASKED:
        here = here & (tl.load(keep + row, mask=row < rows, other=0.0) != 0.0)
    return tl.load(matrix + row.to(tl.int64) * columns + column, mask=here, other=0.0).to(tl.float32)


@triton.jit
def _weights(scores, norms, row, column, tokens, queries, total_at):
    """P: rows are tokens, columns queries; norms begin with this sample's largest scores."""
    here = (row < tokens) & (column < queries)
    score = tl.load(scores + row.to(tl.int64) * queries + column, mask=here, other=float("-inf"))
    top = tl.load(norms + column, mask=column < queries, other=0.0)
    total = tl.load(norms + total_at + column, mask=column < queries, other=0.0)
    return tl.where(total == 0.0, 0.0, tl.exp(score - top) / tl.where(total == 0.0, 1.0, total))


@triton.jit
def score(
    x,
    queries,
    keep,
    bias,
    scores,
    tops,
    totals,
    tokens,
    width,
    count,
    rows,
    bias_sample,
    MASKED: tl.constexpr,
    BIASED: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Program (token block, query block, sample): scores (B, N, Q), tops and totals (B, blocks, Q)."""
    block = tl.program_id(0)
    sample = tl.program_id(2).to(tl.int64)
    n = block * BLOCK + tl.arange(0, BLOCK)
    q = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x += sample * tokens * width
    keep += sample * tokens
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, width, DEPTH):
        d = start + tl.arange(0, DEPTH)
        a = _load(x, n[:, None], d[None, :], tokens, width, keep, MASKED)
        b = _load(queries, q[:, None], d[None, :], count, width, keep, False)
        total += tl.dot(a, tl.trans(b), input_precision="ieee")
    inside = (n[:, None] < tokens) & (q[None, :] < count)
    if BIASED:
        at = sample * bias_sample + (q[None, :] % rows) * tokens + n[:, None]
        total += tl.load(bias + at, mask=inside, other=0.0)
    kept = n < tokens
    if MASKED:
        kept = tl.load(keep + n, mask=kept, other=0.0) != 0.0
    total = tl.where(kept[:, None], total, float("-inf"))
    tl.store(scores + (sample * tokens + n[:, None]) * count + q[None, :], total, mask=inside)
    top = tl.max(total, 0)
    below = tl.where(
        total == float("-inf"), 0.0, tl.exp(total - tl.where(top == float("-inf"), 0.0, top)[None, :])
    )
    row = (sample * tl.num_programs(0) + block) * count
    tl.store(tops + row + q, top, mask=q < count)
    tl.store(totals + row + q, tl.sum(below, 0), mask=q < count)


@triton.jit
def average(
    x,
    keep,
    scores,
    norms,
    parts,
    tokens,
    width,
    count,
    total_at,
    split_tokens,
    MASKED: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Program (tile of queries and channels, split, sample): parts (B, splits, Q, D) of P^T x."""
    columns = tl.cdiv(width, BLOCK)
    tile = tl.program_id(0)
    split = tl.program_id(1)
    sample = tl.program_id(2).to(tl.int64)
    q = (tile // columns) * BLOCK + tl.arange(0, BLOCK)
    c = (tile % columns) * BLOCK + tl.arange(0, BLOCK)
    x += sample * tokens * width
    keep += sample * tokens
    scores += sample * tokens * count
    norms += sample * count
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    first = split * split_tokens
    last = tl.minimum(first + split_tokens, tokens)
    for start in range(first, last, DEPTH):
        n = start + tl.arange(0, DEPTH)
        p = _weights(scores, norms, n[:, None], q[None, :], last, count, total_at)
        a = _load(x, n[:, None], c[None, :], last, width, keep, MASKED)
        total += tl.dot(tl.trans(p), a, input_precision="ieee")
    at = ((sample * tl.num_programs(1) + split) * count + q[:, None]) * width + c[None, :]
    tl.store(parts + at, total, mask=(q[:, None] < count) & (c[None, :] < width))


@triton.jit
def differentiate_scores(
    x,
    keep,
    d_means,
    scores,
    norms,
    delta,
    d_scores,
    tokens,
    width,
    count,
    total_at,
    MASKED: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Program (token block, query block, sample): d_scores = P (x d_means^T - delta)."""
    sample = tl.program_id(2).to(tl.int64)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    q = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x += sample * tokens * width
    keep += sample * tokens
    d_means += sample * count * width
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, width, DEPTH):
        d = start + tl.arange(0, DEPTH)
        a = _load(x, n[:, None], d[None, :], tokens, width, keep, MASKED)
        b = _load(d_means, q[:, None], d[None, :], count, width, keep, False)
        total += tl.dot(a, tl.trans(b), input_precision="ieee")
    p = _weights(
        scores + sample * tokens * count,
        norms + sample * count,
        n[:, None],
        q[None, :],
        tokens,
        count,
        total_at,
    )
    own = tl.load(delta + sample * count + q, mask=q < count, other=0.0)
    at = (sample * tokens + n[:, None]) * count + q[None, :]
    tl.store(d_scores + at, p * (total - own[None, :]), mask=(n[:, None] < tokens) & (q[None, :] < count))


@triton.jit
def differentiate_tokens(
    queries,
    d_means,
    scores,
    norms,
    d_scores,
    dx,
    tokens,
    width,
    count,
    total_at,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Program (token block, channel block, sample): dx = d_scores queries + P d_means."""
    sample = tl.program_id(2).to(tl.int64)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    scores += sample * tokens * count
    d_scores += sample * tokens * count
    d_means += sample * count * width
    norms += sample * count
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, count, DEPTH):
        q = start + tl.arange(0, DEPTH)
        a = _load(d_scores, n[:, None], q[None, :], tokens, count, norms, False)
        b = _load(queries, q[:, None], c[None, :], count, width, norms, False)
        total += tl.dot(a, b, input_precision="ieee")
        a = _weights(scores, norms, n[:, None], q[None, :], tokens, count, total_at)
        b = _load(d_means, q[:, None], c[None, :], count, width, norms, False)
        total += tl.dot(a, b, input_precision="ieee")
    at = (sample * tokens + n[:, None]) * width + c[None, :]
    tl.store(dx + at, total.to(dx.dtype.element_ty), mask=(n[:, None] < tokens) & (c[None, :] < width))


@triton.jit
def differentiate_queries(
    x,
    keep,
    d_scores,
    parts,
    tokens,
    width,
    count,
    split_tokens,
    MASKED: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Program (tile of queries and channels, split): parts (splits, Q, D) of d_scores^T x."""
    columns = tl.cdiv(width, BLOCK)
    tile = tl.program_id(0)
    split = tl.program_id(1)
    q = (tile // columns) * BLOCK + tl.arange(0, BLOCK)
    c = (tile % columns) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    first = split * split_tokens
    last = tl.minimum(first + split_tokens, tokens)
    for start in range(first, last, DEPTH):
        n = start + tl.arange(0, DEPTH)
        a = _load(d_scores, n[:, None], q[None, :], last, count, keep, False)
        b = _load(x, n[:, None], c[None, :], last, width, keep, MASKED)
        total += tl.dot(tl.trans(a), b, input_precision="ieee")
    at = (split * count + q[:, None]).to(tl.int64) * width + c[None, :]
    tl.store(parts + at, total, mask=(q[:, None] < count) & (c[None, :] < width))


def _run(
    kernel: Any, grid: tuple[int, ...], given: dict[str, Any], constants: dict[str, Any], x: Tensor
) -> None:
    chosen = _launch.configuration(_NAME, "products", _launch.architecture_of(x))
    constants = constants | {"BLOCK": _TILE, "DEPTH": chosen["depth"]}
    _launch.launch(kernel, grid, given, constants, chosen["num_warps"])


def _splits(tokens: int, others: int) -> tuple[int, int]:
    """How many, and tokens of each: about two programs for each multiprocessor of the largest GPUs."""
    each = max(64, triton.cdiv(tokens, max(1, 264 // others)))
    each = triton.cdiv(each, 64) * 64
    return triton.cdiv(tokens, each), each


def attend(
    x: Tensor, queries: Tensor, rows: int, mask: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (B, N, Q), norms (2, B, Q), means (B, Q, D)."""
    (batch, tokens, width), count = x.shape, queries.shape[0]
    blocks = triton.cdiv(tokens, _TILE)
    scores = x.new_empty((batch, tokens, count), dtype=torch.float32)
    tops, totals = (x.new_empty((batch, blocks, count), dtype=torch.float32) for _ in range(2))
    masked, biased = mask.numel() > 0, bias.numel() > 0
    sizes = {"tokens": tokens, "width": width, "count": count}
    given: dict[str, Any] = {"x": x, "queries": queries, "keep": mask if masked else queries}
    given |= {"bias": bias if biased else queries, "scores": scores, "tops": tops, "totals": totals, **sizes}
    shared = bias.shape[0] == 1 if biased else True
    given |= {"rows": rows, "bias_sample": 0 if shared else rows * tokens}
    grid = (blocks, triton.cdiv(count, _TILE), batch)
    _run(score, grid, given, {"MASKED": masked, "BIASED": biased}, x)
    top = tops.amax(1)
    top = top.masked_fill(top == float("-inf"), 0.0)
    norms = torch.stack((top, (totals * torch.exp(tops - top[:, None])).sum(1)))
    tiles = triton.cdiv(count, _TILE) * triton.cdiv(width, _TILE)
    splits, each = _splits(tokens, tiles * batch)
    parts = x.new_empty((batch, splits, count, width), dtype=torch.float32)
    given = {"x": x, "keep": mask if masked else queries, "scores": scores, "norms": norms, "parts": parts}
    given |= {**sizes, "total_at": batch * count, "split_tokens": each}
    _run(average, (tiles, splits, batch), given, {"MASKED": masked}, x)
    return scores, norms, parts.sum(1)


def differentiate(
    x: Tensor,
    queries: Tensor,
    mask: Tensor,
    scores: Tensor,
    norms: Tensor,
    d_means: Tensor,
    delta: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, of the scores and of the queries."""
    (batch, tokens, width), count = x.shape, queries.shape[0]
    masked = mask.numel() > 0
    keep = mask if masked else queries
    sizes = {"tokens": tokens, "width": width, "count": count}
    kept = {"scores": scores, "norms": norms}
    blocks = (triton.cdiv(tokens, _TILE), triton.cdiv(count, _TILE), triton.cdiv(width, _TILE))
    dx, d_scores = torch.empty_like(x), torch.empty_like(scores)
    given: dict[str, Any] = {
        "x": x,
        "keep": keep,
        "d_means": d_means,
        **kept,
        "delta": delta,
        "d_scores": d_scores,
        **sizes,
    }
    given["total_at"] = batch * count
    _run(differentiate_scores, (*blocks[:2], batch), given, {"MASKED": masked}, x)
    given = {"queries": queries, "d_means": d_means, **kept, "d_scores": d_scores, "dx": dx, **sizes}
    given["total_at"] = batch * count
    _run(differentiate_tokens, (blocks[0], blocks[2], batch), given, {}, x)
    splits, each = _splits(batch * tokens, blocks[1] * blocks[2])
    parts = x.new_empty((splits, count, width), dtype=torch.float32)
    given = {"x": x, "keep": keep, "d_scores": d_scores, "parts": parts, **sizes, "split_tokens": each}
    given["tokens"] = batch * tokens
    _run(differentiate_queries, (blocks[1] * blocks[2], splits), given, {"MASKED": masked}, x)
    return dx, d_scores, parts.sum(0)


latent_pool_triton = torch.library.triton_op(
    "spinecore::latent_pool_triton",
    attend,
    mutates_args=(),
    schema="(Tensor x, Tensor queries, int rows, Tensor mask, Tensor bias) -> (Tensor, Tensor, Tensor)",
)
latent_pool_triton_backward = torch.library.triton_op(
    "spinecore::latent_pool_triton_backward",
    differentiate,
    mutates_args=(),
    schema="(Tensor x, Tensor queries, Tensor mask, Tensor scores, Tensor norms, Tensor d_means, "
    "Tensor delta) -> (Tensor, Tensor, Tensor)",
)
