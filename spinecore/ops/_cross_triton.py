"""The Triton kernels of the penalties between two batches, imported when they are about to run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import Tensor

from spinecore.backends import Call, Kernel, Verdict
from spinecore.ops import _covariance_triton, _device


def can_run(call: Call) -> Verdict:
    """As the covariance penalty, for both widths; ``options`` has ("width", that of b)."""
    if call.options[0][1] < 1 or call.options[0][1] >= 2**16:
        return Verdict(False, f"b has {call.options[0][1]} columns, 2^16 or more")
    return _covariance_triton.can_run(call)


def _kernels() -> Any:
    return importlib.import_module("spinecore.kernels.cross_decorrelation")


def _forward(normalise: bool) -> Callable[..., tuple[Tensor, ...]]:
    def forward(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        """The penalty, the product or both Gram matrices, the statistics."""
        with _device.stream_of(a):
            return tuple(_kernels().cross_triton(a.contiguous(), b.contiguous(), normalise))

    return forward


def _backward(normalise: bool) -> Callable[..., tuple[Tensor, ...]]:
    def backward(a: Tensor, b: Tensor, grad: Tensor, kept: Tensor, statistics: Tensor) -> tuple[Tensor, ...]:
        """Gradients of a and b."""
        given = (_device.float32(grad), kept.contiguous(), statistics.contiguous())
        with _device.stream_of(a):
            return tuple(_kernels().cross_triton_backward(a.contiguous(), b.contiguous(), *given, normalise))

    return backward


def kernels(normalise: bool) -> tuple[Kernel, Kernel]:
    """Forward and backward; ``normalise`` is the orthogonality penalty."""
    return Kernel(_forward(normalise), can_run), Kernel(_backward(normalise), can_run)
