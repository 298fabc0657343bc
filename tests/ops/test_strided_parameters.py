"""Parameters of any strides: a gamma that is a column of a matrix has the gradients of its copy."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

from spinecore.ops import OPS


def spread(p: Tensor) -> Tensor:
    """The same values with gaps between them."""
    wide = torch.zeros(*p.shape, 3, dtype=p.dtype)
    wide[..., 1] = p
    return wide[..., 1]


@pytest.mark.parametrize("name", sorted(OPS))
def test_gradients_do_not_depend_on_the_strides_of_parameters(name: str) -> None:
    spec = OPS[name]
    known = inspect.signature(spec.function).parameters
    names = [argument.name for argument in spec.overload._schema.arguments]
    for sample in spec.samples(torch.float64, 0):
        given = {n: value for n, value in zip(names, sample.args, strict=False) if n in known}
        floats = [
            n for n, v in given.items() if isinstance(v, Tensor) and v.is_floating_point() and v.dim() > 0
        ]

        def gradients(
            strided: bool, given: dict[str, object] = given, floats: list[str] = floats
        ) -> list[Tensor]:
            leaves = {n: given[n].detach().clone().requires_grad_() for n in floats}  # type: ignore[attr-defined]
            used = {n: spread(v) if strided and n != floats[0] else v for n, v in leaves.items()}
            result = spec.function(**(given | used), backend="reference")
            parts = [result] if isinstance(result, Tensor) else [r for r in result if isinstance(r, Tensor)]
            total = sum(
                (part * torch.linspace(-1, 2, part.numel(), dtype=part.dtype).view(part.shape)).sum()
                for part in parts
                if part.requires_grad and part.numel()
            )
            if not isinstance(total, Tensor):
                return []
            found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
            return [g for g in found if g is not None]

        for a, b in zip(gradients(True), gradients(False), strict=True):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-9), sample.name
