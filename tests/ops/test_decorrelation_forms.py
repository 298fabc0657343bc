"""Decorrelation penalties change their form with the sizes: one graph serves both, compiled or exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from spinecore import ops
from spinecore.ops import OPS
from spinecore.testing import outputs_and_gradients


def covariance(a: Tensor, _: Tensor) -> Tensor:
    off_diagonal, hinge = ops.covariance_penalty(torch.relu(a))
    return off_diagonal + hinge


def cross(a: Tensor, b: Tensor) -> Tensor:
    return ops.cross_covariance_penalty(torch.relu(a), b)


def orthogonality(a: Tensor, b: Tensor) -> Tensor:
    return ops.orthogonality_penalty(torch.relu(a), b)


LOSSES = [covariance, cross, orthogonality]
SIZES = [(9, 4, 5), (12, 7, 6), (3, 8, 9), (5, 20, 30), (40, 11, 9), (6, 12, 70)]


def pair(rows: int, left: int, right: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return [torch.randn((rows, width), generator=generator) for width in (left, right)]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_for_any_size(loss: Callable[..., Tensor], backend: str) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=backend)
    for size in SIZES:
        got, wanted = (outputs_and_gradients(function, pair(*size)) for function in (compiled, loss))
        for a, b in zip((*got[0], *got[1]), (*wanted[0], *wanted[1]), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("loss", LOSSES)
def test_exported_for_any_batch(loss: Callable[..., Tensor]) -> None:
    class Model(torch.nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return loss(a, b)

    rows = torch.export.Dim("rows")
    program = torch.export.export(Model(), tuple(pair(9, 4, 5)), dynamic_shapes=({0: rows}, {0: rows}))
    for size in (2, 3, 30):
        inputs = pair(size, 4, 5)
        torch.testing.assert_close(program.module()(*inputs), loss(*inputs))


@pytest.mark.parametrize("name", ["covariance_penalty", "cross_covariance_penalty", "orthogonality_penalty"])
@pytest.mark.parametrize("size", [(9, 4, 5), (3, 8, 9)])
def test_one_backend_can_take_back_what_another_kept(name: str, size: tuple[int, int, int]) -> None:
    """What the forward keeps means the same to every backend."""
    spec = OPS[name]
    rest: tuple[Any, ...] = (None, 1.0, 1e-4) if name == "covariance_penalty" else ()
    inputs = pair(*size)[: 1 if rest else 2]
    results = []
    for keeper in ("reference", "cpu"):
        outputs = spec.overload(*inputs, *rest, keeper)
        grads = [torch.tensor(0.7)] * spec.differentiable
        kept = outputs[spec.differentiable :]
        for taker in ("reference", "cpu"):
            given = (*inputs, rest[0]) if rest else inputs
            results.append(spec.backward_overload(*given, *grads, *kept, *rest[1:], taker))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])
