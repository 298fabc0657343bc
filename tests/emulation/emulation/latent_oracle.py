"""Latent attention pooling against its formulas in float64: cases and tolerances for GPU kernels."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

operator = importlib.import_module("spinecore.ops.latent_attention_pool")

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
NAMES = ("y", "norms", "pooled", "dx", "d_latents", "d_wq", "d_wk", "d_wv", "d_wo", "d_bias")
Run = Callable[..., tuple[Tensor, ...]]


class Case(NamedTuple):
    x: Tensor
    dy: Tensor
    parameters: list[Tensor]  # latents, wq, wk, wv, wo
    heads: int
    mask: Tensor | None
    bias: Tensor | None


def make_case(
    shape: tuple[int, int, int],
    rows: int,
    heads: int,
    dtype: torch.dtype = torch.float32,
    masked: bool = False,
    bias: int = 0,
    seed: int = 0,
) -> Case:
    batch, tokens, head = shape
    width = head * heads
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    x, dy = draw(batch, tokens, width).to(dtype), draw(batch, rows, width).to(dtype)
    parameters = [draw(rows, width), *(draw(width, width) / width**0.5 for _ in range(4))]
    mask = None
    if masked:
        mask = torch.rand((batch, tokens), generator=generator) < 0.6
        mask[-1] = False  # a sample without a token
        x[~mask] = float("nan")  # tokens that do not count may hold anything
    added = None
    if bias:
        added = draw(*((batch,) if bias == 3 else ()), rows, tokens)
        added[..., 0] = float("-inf")
        added = added.to(dtype)
    return Case(x, dy, [p.to(dtype) for p in parameters], heads, mask, added)


def cases(most_tokens: int = 150, most_head: int = 40) -> st.SearchStrategy[Case]:
    """Any shape, dtype, mask and bias."""
    return st.builds(
        make_case,
        st.tuples(st.integers(1, 3), st.integers(1, most_tokens), st.integers(1, most_head)),
        st.integers(1, 20),
        st.integers(1, 4),
        st.sampled_from(DTYPES),
        st.booleans(),
        st.sampled_from([0, 2, 3]),
        st.integers(0, 2**31),
    )


def results(case: Case, forward: Run, backward: Run) -> tuple[Tensor, ...]:
    """Forward and backward of one implementation, as the operator calls them."""
    x, dy, parameters, heads, mask, bias = case
    y, norms, pooled, *kept = forward(x, *parameters, heads, mask, bias, False)
    return y, norms, pooled, *backward(x, dy, *parameters, heads, mask, bias, norms, pooled, *kept)


def _run(case: Case, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    changed = case._replace(
        x=of(case.x),
        dy=of(case.dy),
        parameters=[of(parameter) for parameter in case.parameters],
        bias=None if case.bias is None else of(case.bias),
    )
    return results(changed, operator._reference, operator._backward_reference)


def expected(case: Case) -> tuple[Tensor, ...]:
    """Every result in double precision: the operator's reference, which autograd confirms elsewhere."""
    return _run(case, Tensor.double)


def product_eps(dtype: torch.dtype) -> float:
    """Products of halves have both factors in their dtype; of float32, sums of a few roundings."""
    return torch.finfo(dtype).eps / (1 if dtype is torch.float32 else 2)


def by_torch(case: Case) -> tuple[Tensor, ...]:
    """y and the gradients as torch computes them in the inputs' dtype, with its own attention; for cases
    without mask and bias.
    """
    x, latents, wq, wk, wv, wo = leaves = [t.clone().requires_grad_() for t in (case.x, *case.parameters)]
    queries, keys, values = (
        operator.heads_first(product, case.heads) for product in (latents @ wq, x @ wk, x @ wv)
    )
    queries = queries.expand(x.shape[0], -1, -1, -1)
    pooled = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    y = operator.heads_last(pooled) @ wo
    return y.detach(), *torch.autograd.grad(y, leaves, case.dy)


def spread(case: Case, wanted: tuple[Tensor, ...]) -> list[Tensor]:
    """How much the results change where inputs change by the roundings of the products: the size of what
    cannot be helped. The largest change of each result, of twelve draws.
    """
    generator = torch.Generator().manual_seed(1)

    def shaken(tensor: Tensor) -> Tensor:
        noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * 2 - 1
        return tensor.double() * (1 + noise * product_eps(case.x.dtype))

    most = [torch.zeros(()) for _ in wanted]
    for _ in range(12):
        for i, (value, want) in enumerate(zip(_run(case, shaken), wanted, strict=True)):
            if value.numel():
                most[i] = torch.maximum(most[i], (value - want).abs().max().float())
    return most


def through_scores(case: Case) -> dict[str, Tensor]:
    """What the gradients through the scores would be if P (dP - delta) did not cancel, and nothing else:
    rounding leaves a part of it, as where a single token has all the weight.
    """
    x, dy, parameters, heads, mask, bias = case
    x, dy, bias = x.double(), dy.double(), None if bias is None else bias.double()
    latents, wq, wk, wv, wo = (parameter.double() for parameter in parameters)
    x = operator.kept_tokens(x, mask)
    weights, _, queries, _, _ = operator._weights(x, latents, wq, wk, heads, mask, bias)
    d_pooled = operator.heads_first(dy.abs() @ wo.abs().T, heads)
    values = operator.heads_first(x.abs() @ wv.abs(), heads)
    grown = d_pooled @ values.transpose(-1, -2)
    d_scores = weights * (grown + (weights * grown).sum(-1, keepdim=True))
    scaled = d_scores * (heads / x.shape[2]) ** 0.5
    keys = operator.heads_first(x.abs() @ wk.abs(), heads)
    d_queries = operator.heads_last((scaled @ keys).sum(0))
    d_keys = operator.heads_last(scaled.transpose(-1, -2) @ queries.abs())
    found = {
        "dx": d_keys @ wk.abs().T,
        "d_latents": d_queries @ wq.abs().T,
        "d_wq": latents.abs().T @ d_queries,
        "d_wk": torch.einsum("bnd,bne->de", x.abs(), d_keys),
    }
    if bias is not None:
        found["d_bias"] = d_scores.sum((0, 1)) if bias.dim() == 2 else d_scores.sum(1)
    return found


def assert_close(case: Case, forward: Run, backward: Run) -> None:
    """Within a few of the products' roundings of the largest value or of what roundings of the inputs change,
    and one rounding of a half-precision result.
    """
    wanted, uncancelled = expected(case), through_scores(case)
    got_all: Any = results(case, forward, backward)
    eps = product_eps(case.x.dtype)
    for name, got, want, unsure in zip(NAMES, got_all, wanted, spread(case, wanted), strict=True):
        assert got.shape == want.shape, name
        if not got.numel():
            continue
        tolerance = 16 * eps * want.abs().max() + 8 * unsure + 1e-30
        if name in uncancelled:
            tolerance = tolerance + 4 * eps * uncancelled[name].max()
        if got.dtype in (torch.bfloat16, torch.float16):
            tolerance = tolerance + torch.finfo(got.dtype).eps * want.abs() + torch.finfo(got.dtype).tiny
        error = (got.double() - want).abs()
        assert bool((error <= tolerance).all()), (
            f"{name}: error {error.max():.3g} over {(error / tolerance).max():.3g} x tolerance"
        )
