"""Whatever strides features and their gradient have, every backend of the gate gives the same results."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spinecore import ops
from spinecore.ops import OPS
from spinecore.testing import runnable_backends

SHAPE = (2, 8, 5, 6)
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda t: t,
    "channels-last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "every second": lambda t: torch.cat([t, t], -1)[..., ::2],
    "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    "batch inside": lambda t: t.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3),
    "one image for all": lambda t: t[:1].expand(SHAPE),
    "one number for all": lambda t: t[:1, :1, :1, :1].expand(SHAPE),
    "behind an offset": lambda t: torch.cat([t.flatten()[:3], t.flatten()])[3:].view(SHAPE),
    "negated lazily": torch._neg_view,
}


@pytest.mark.parametrize("of_gradient", VIEWS)
@pytest.mark.parametrize("of_x", VIEWS)
def test_gate_of_any_view_under_any_gradient(of_x: str, of_gradient: str) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (SHAPE, SHAPE, (4, 8), (4,), (8, 4), (8,), (8,), (1,))
    x, dy, *parameters = (torch.randn(shape, generator=generator) for shape in shapes)
    x, dy = VIEWS[of_x](x), VIEWS[of_gradient](dy)
    for mode in ("add", "max"):
        results = []
        for backend in runnable_backends(OPS["scse_gate"], [x, *parameters, mode]):
            inputs = [tensor.detach().requires_grad_() for tensor in (x, *parameters)]
            y = ops.scse_gate(*inputs, mode, backend=backend)
            results.append((y, *torch.autograd.grad(y, inputs, dy)))
        for result in results[:-1]:
            for got, wanted in zip(result, results[-1], strict=True):
                torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
                assert got.stride() == wanted.stride()
