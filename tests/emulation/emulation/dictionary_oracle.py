"""Latent dictionary pooling against its formulas in float64: cases and tolerances for GPU kernels."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

operator = importlib.import_module("spinecore.ops.latent_dictionary_pool")

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
NAMES = ("y", "dx", "d_dictionary", "d_wq", "d_wk", "d_wv", "d_wo")
THROUGH_SOFTMAX = ("dx", "d_dictionary", "d_wq", "d_wk")


class Case(NamedTuple):
    x: Tensor
    dy: Tensor
    parameters: list[Tensor]  # dictionary, wq, wk, wv, wo
    heads: int
    mask: Tensor | None


def make_case(
    shape: tuple[int, int, int],
    rows: int,
    heads: int,
    dtype: torch.dtype = torch.float32,
    masked: bool = False,
    seed: int = 0,
) -> Case:
    batch, tokens, head = shape
    width = head * heads
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    x, dy = draw(batch, tokens, width).to(dtype), draw(batch, width).to(dtype)
    parameters = [draw(rows, width), *(draw(width, width) / width**0.5 for _ in range(4))]
    mask = None
    if masked:
        mask = torch.rand((batch, tokens), generator=generator) < 0.6
        mask[-1] = False
        x[~mask] = float("nan")  # tokens that do not count may hold anything
    return Case(x, dy, [p.to(dtype) for p in parameters], heads, mask)


def cases(most_tokens: int = 100, most_head: int = 30) -> st.SearchStrategy[Case]:
    """Any shape, dtype and mask."""
    return st.builds(
        make_case,
        st.tuples(st.integers(1, 3), st.integers(1, most_tokens), st.integers(1, most_head)),
        st.integers(1, 40),
        st.integers(1, 4),
        st.sampled_from(DTYPES),
        st.booleans(),
        st.integers(0, 2**31),
    )


def results(
    case: Case, forward: Callable[..., Tensor], backward: Callable[..., tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """Forward and backward of one implementation, as the operator calls them."""
    x, dy, parameters, heads, mask = case
    given = (*parameters, heads, mask)
    return forward(x, *given), *backward(x, dy, *given)


def _run(case: Case, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    parameters = [of(parameter) for parameter in case.parameters]
    changed = case._replace(x=of(case.x), dy=of(case.dy), parameters=parameters)
    return results(changed, operator._reference, operator._backward_reference)


def expected(case: Case) -> tuple[Tensor, ...]:
    """Every result in double precision."""
    return _run(case, Tensor.double)


def by_torch(case: Case) -> tuple[Tensor, ...]:
    """y and the gradients as torch computes them in the inputs' dtype, with its own attention; for cases
    without mask.
    """
    x, dictionary, wq, wk, wv, wo = leaves = [t.clone().requires_grad_() for t in (case.x, *case.parameters)]
    queries, keys, values = (
        operator.heads_first(product, case.heads) for product in (x @ wq, dictionary @ wk, dictionary @ wv)
    )
    keys, values = (tensor.expand(x.shape[0], -1, -1, -1) for tensor in (keys, values))
    answers = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    y = operator.heads_last(answers).mean(1) @ wo
    return y.detach(), *torch.autograd.grad(y, leaves, case.dy)


def product_eps(dtype: torch.dtype) -> float:
    """Products of halves have both factors in their dtype; of float32, sums of a few roundings."""
    return torch.finfo(dtype).eps / (1 if dtype is torch.float32 else 2)


def _spread(case: Case, wanted: tuple[Tensor, ...]) -> list[float]:
    """The largest change of each result, of twelve draws of the products' roundings, of the inputs."""
    generator = torch.Generator().manual_seed(1)

    def shaken(tensor: Tensor) -> Tensor:
        noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * 2 - 1
        return tensor.double() * (1 + noise * product_eps(case.x.dtype))

    runs = [_run(case, shaken) for _ in range(12)]
    return [max(float((run[i] - want).abs().max()) for run in runs) for i, want in enumerate(wanted)]


def _uncancelled(case: Case) -> float:
    """How large a gradient through the softmax could be if P (dP - sum P dP) did not cancel: a bound from
    norms.
    """
    dictionary, wq, wk, wv, wo = (parameter.double().norm() for parameter in case.parameters)
    x = case.x.double().masked_fill(~case.x.isfinite(), 0.0)
    largest = max(float(x.norm(dim=2).max()), float(dictionary), 1.0)
    return float(case.dy.double().norm() * wo * wv * wq * wk * dictionary * largest)


def assert_close(
    case: Case, forward: Callable[..., Tensor], backward: Callable[..., tuple[Tensor, ...]]
) -> None:
    """Within a few of the products' roundings of the largest value or of what roundings of the inputs change,
    and one rounding of a half-precision result; where the softmax cancels (a dictionary of one row has no
    gradient through it), of the size it cancels from.
    """
    wanted = expected(case)
    eps = product_eps(case.x.dtype)
    alone = case.parameters[0].shape[0] == 1
    for name, got, want, unsure in zip(
        NAMES, results(case, forward, backward), wanted, _spread(case, wanted), strict=True
    ):
        assert got.shape == want.shape, name
        tolerance = 16 * eps * want.abs().max() + 8 * unsure + 1e-30
        if alone and name in THROUGH_SOFTMAX:
            tolerance = tolerance + torch.finfo(torch.float32).eps * _uncancelled(case)
        if got.dtype in (torch.bfloat16, torch.float16):
            tolerance = tolerance + torch.finfo(got.dtype).eps * want.abs() + torch.finfo(got.dtype).tiny
        error = (got.double() - want).abs()
        assert bool((error <= tolerance).all()), (
            f"{name}: error {error.max():.3g} over {(error / tolerance).max():.3g} x tolerance"
        )
