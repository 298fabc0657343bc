"""The latent poolings on every backend against formulas of torch.nn.functional; see test_equivalence."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore.testing import check_against_formula

QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16])


def split(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def attention(
    x: Tensor,
    latents: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    mask: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    queries = split((latents @ wq).expand(x.shape[0], -1, -1), heads)
    added = torch.zeros(x.shape[0], 1, latents.shape[0], x.shape[1], dtype=x.dtype)
    if bias is not None:
        added = added + (bias if bias.dim() == 2 else bias[:, None])
    if mask is not None:
        added = added.masked_fill(~mask[:, None, None, :], float("-inf"))
    pooled = F.scaled_dot_product_attention(queries, split(x @ wk, heads), split(x @ wv, heads), added)
    return pooled.transpose(1, 2).flatten(2) @ wo


def dictionary(
    x: Tensor, table: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, heads: int, mask: Tensor | None
) -> Tensor:
    keys, values = (split((table @ w).expand(x.shape[0], -1, -1), heads) for w in (wk, wv))
    answers = (
        F.scaled_dot_product_attention(split(x @ wq, heads), keys, values).transpose(1, 2).flatten(2) @ wo
    )
    if mask is None:
        return answers.mean(1)
    return torch.stack([answer[keep].mean(0) for answer, keep in zip(answers, mask, strict=True)])


@QUICK
@given(
    seed=st.integers(0, 2**31),
    dtype=DTYPES,
    batch=st.integers(1, 3),
    tokens=st.integers(1, 33),
    heads=st.sampled_from([1, 2, 4]),
    depth=st.integers(1, 6),
    latents=st.integers(1, 7),
    masked=st.booleans(),
    bias=st.sampled_from([0, 2, 3]),
    form=st.sampled_from(["attention", "dictionary"]),
)
def test_latent_pools(
    seed: int,
    dtype: torch.dtype,
    batch: int,
    tokens: int,
    heads: int,
    depth: int,
    latents: int,
    masked: bool,
    bias: int,
    form: str,
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    width = heads * depth
    mask = None
    if masked:
        mask = torch.rand((batch, tokens), generator=generator) > 0.3
        mask[:, 0] = True
    args: list[Any] = [
        draw(batch, tokens, width),
        draw(latents, width),
        *(draw(width, width) / width**0.5 for _ in range(4)),
    ]
    if form == "dictionary":
        check_against_formula("latent_dictionary_pool", dictionary, [*args, heads, mask], dtype, seed)
        return
    added = draw(*((batch, latents, tokens) if bias == 3 else (latents, tokens))) if bias else None
    spec_args = [*args, heads, mask, added]
    check_against_formula("latent_attention_pool", attention, spec_args, dtype, seed)
