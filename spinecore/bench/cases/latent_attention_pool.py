"""Latent attention pooling with padded tokens: forward in float32 and bfloat16, forward + backward.

The hand-written formulation absorbs the projections of the keys into the queries and puts those of the values
behind the sum, so that no token is projected. Its queries are computed at every call, except where a compiler
that freezes the parameters computes them once. Max-autotune is left out: it chose the same matrix products as
without it, and needed a quarter of a minute a shape to do so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import ops
from spinecore.bench.case import CONTEXT, PEER, Case, Inputs, Problem, Shape, Target, Variant, Work
from spinecore.bench.cases.images import double, drawn_once, in_dtype
from spinecore.bench.peers import (
    forward_backward,
    inference,
    medium,
    ours,
    training,
)
from spinecore.bench.runtimes import onnxruntime, openvino

HEADS = 8
SHAPES: tuple[Shape, ...] = (
    (1, 4096, 512, 16),
    (1, 16384, 512, 16),
    (4, 1024, 256, 8),
    (1, 4096, 768, 64),
    (1, 4096, 256, 64),
    (8, 64, 512, 8),
    (1, 16384, 768, 32),
)


def plain(
    x: Tensor,
    added: Tensor | None,
    latents: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int = HEADS,
) -> Tensor:
    """Projections and torch's fused attention; ``added`` (B, 1, 1, N) is -inf where a token is padding."""
    batch, tokens, width = x.shape
    rows, size = latents.shape[0], width // heads

    def split(values: Tensor, count: int) -> Tensor:
        return values.view(-1, count, heads, size).transpose(1, 2)

    q = split(latents @ wq, rows).expand(batch, -1, -1, -1)
    y = F.scaled_dot_product_attention(q, split(x @ wk, tokens), split(x @ wv, tokens), attn_mask=added)
    return y.transpose(1, 2).reshape(batch, rows, width) @ wo


def absorbed(
    x: Tensor,
    added: Tensor | None,
    latents: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int = HEADS,
) -> Tensor:
    """No token is projected."""
    batch, tokens, width = x.shape
    rows, size = latents.shape[0], width // heads
    q = (latents @ wq).view(rows, heads, size).transpose(0, 1) * size**-0.5
    queries = torch.bmm(q, wk.view(width, heads, size).permute(1, 2, 0)).reshape(1, heads * rows, width)
    scores = (queries @ x.transpose(1, 2)).view(batch, heads, rows, tokens)
    if added is not None:
        scores = scores + added
    weights = torch.softmax(scores, -1)
    pooled = (weights.view(batch, heads * rows, tokens) @ x).view(batch, heads, rows, width)
    pooled = pooled.transpose(0, 1).reshape(heads, batch * rows, width)
    of_heads = torch.bmm(pooled, wv.view(width, heads, size).transpose(0, 1)).view(heads, batch, rows, size)
    return of_heads.permute(1, 2, 0, 3).reshape(batch, rows, width) @ wo


def _ours(
    x: Tensor,
    mask: Tensor,
    latents: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    backend: str | None = None,
) -> Tensor:
    y = ops.latent_attention_pool(x, latents, wq, wk, wv, wo, HEADS, mask, backend=backend)
    assert isinstance(y, Tensor)
    return y


_exact = partial(_ours, backend="reference")


@drawn_once
def _drawn(shape: Shape) -> list[Tensor]:
    batch, tokens, width, rows = shape
    mask = torch.ones(batch, tokens, dtype=torch.bool)
    for sample in range(batch):
        mask[sample, tokens - tokens // 8 * (sample % 3 + 1) // 2 :] = False
    weights = [torch.randn(width, width) / width**0.5 for _ in range(4)]
    return [torch.randn(batch, tokens, width), mask, torch.randn(rows, width), *weights]


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))[:, None, None, :].to(dtype)


def _peer_inputs(shape: Shape, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    x, mask, *parameters = in_dtype(_drawn(shape), dtype)
    return [x, _added(mask, dtype), *parameters]


def _inference(inputs: Inputs) -> dict[str, Variant]:
    found = inference(plain, inputs, leading=2, runtimes=False, max_autotune=False)
    return found | inference(
        absorbed, inputs, leading=2, family="hand-written", runtimes=False, max_autotune=False
    )


def _forward(shape: Shape) -> Problem:
    mine, theirs = partial(_drawn, shape), partial(_peer_inputs, shape)
    in_torch = _inference(theirs)
    variants = ours(_ours, mine) | in_torch | medium(in_torch)
    for name, runtime in (("onnxruntime", onnxruntime), ("openvino", openvino)):
        variants[name] = Variant(partial(runtime, plain, theirs, leading=2), PEER, name)
        # No torch formulation, and so beside the ones the target is about; the table shows them.
        by_hand = partial(runtime, absorbed, theirs, leading=2)
        variants[f"{name} absorbed"] = Variant(by_hand, CONTEXT, f"{name} absorbed")
    return Problem(variants, lambda: [_exact(*double(mine()))])


def _bfloat16(shape: Shape) -> Problem:
    def mine() -> list[Tensor]:
        return in_dtype(_drawn(shape), torch.bfloat16)

    variants = ours(_ours, mine) | _inference(partial(_peer_inputs, shape, torch.bfloat16))
    return Problem(variants, lambda: [_exact(*double(mine()))])


def _backward(shape: Shape) -> Problem:
    mask = _drawn(shape)[1]
    added = _added(mask, torch.float32)

    def inputs() -> list[Tensor]:
        x, _, *parameters = _drawn(shape)
        return [x, *parameters]

    def masked(pool: Callable[..., Tensor], by: Tensor) -> Callable[..., Tensor]:
        def run(x: Tensor, *parameters: Tensor, **options: Any) -> Tensor:
            return pool(x, by, *parameters, **options)

        return run

    theirs = training(masked(plain, added), inputs, compiled=False)
    theirs |= training(masked(absorbed, added), inputs, family="hand-written")
    variants = ours(masked(_ours, mask), inputs, backward=True) | theirs | medium(theirs)
    return Problem(variants, lambda: forward_backward(masked(_exact, mask), lambda: double(inputs()))())


def _work(passes: int) -> Callable[[Shape], Work]:
    """Of the cheaper of both forms; a backward costs twice its forward."""

    def work(shape: Shape) -> Work:
        batch, tokens, width, rows = shape
        projected = 4.0 * batch * tokens * width * (width + rows)
        without = 4.0 * batch * tokens * HEADS * rows * width + 4.0 * batch * rows * width * width
        return Work(flops=passes * min(projected, without))

    return work


def _case(
    name: str,
    problem: Callable[[Shape], Problem],
    passes: int,
    tolerance: float,
    target: Target,
    against: str,
) -> Case:
    return Case(
        operator="latent_attention_pool",
        name=name,
        axes="B,N,D,R",
        shapes=SHAPES,
        problem=problem,
        work=_work(passes),
        tolerance=tolerance,
        target=target,
        against=against,
    )


CASES = [
    _case(
        "forward float32",
        _forward,
        1,
        1e-4,
        Target(1.3, 1.8),
        "scaled_dot_product_attention and the absorbed formulation, eager and compiled with freezing, at "
        "'highest' and 'medium' matmul precision, ONNX Runtime, OpenVINO; 8 heads",
    ),
    _case(
        "forward + backward float32",
        _backward,
        3,
        1e-3,
        Target(1.2, 1.6),
        "the same under autograd, eager and compiled, at 'highest' and 'medium' matmul precision",
    ),
    _case(
        "forward bfloat16",
        _bfloat16,
        1,
        3e-2,
        Target(1.0, None),
        "the same on bfloat16 tensors, eager and compiled with freezing",
    ),
]
