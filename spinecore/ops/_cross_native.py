"""The native CPU kernels of the penalties between two batches: allocate what the core fills, and hand over
views it accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from torch import Tensor

from spinecore import _native
from spinecore.backends import Kernel
from spinecore.ops._covariance_native import can_run, empty, worthwhile


@lru_cache(maxsize=256)
def _workspaces(rows: int, width_a: int, width_b: int, normalise: bool) -> tuple[int, int]:
    sizes: tuple[int, int] = _native.core().cross_decorrelation_workspaces(rows, width_a, width_b, normalise)
    return sizes


def _forward(normalise: bool) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    def forward(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The penalty, the product or both Gram matrices, the statistics."""
        rows, width_a = a.shape
        width_b = b.shape[1]
        gram = rows * (width_a + width_b) <= width_a * width_b
        penalty, kept = empty(), empty(2 * rows, rows) if gram else empty(width_a, width_b)
        statistics = empty(2 * (width_a + width_b) + (2 * rows if normalise else 0))
        workspace = empty(_workspaces(rows, width_a, width_b, normalise)[0])
        _native.core().cross_decorrelation_forward(
            a.contiguous(), b.contiguous(), normalise, penalty, kept, statistics, workspace
        )
        return penalty, kept, statistics

    return forward


def _backward(normalise: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    def backward(
        a: Tensor, b: Tensor, grad: Tensor, kept: Tensor, statistics: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of a and b."""
        rows, width_a = a.shape
        width_b = b.shape[1]
        da, db = empty(rows, width_a, dtype=a.dtype), empty(rows, width_b, dtype=b.dtype)
        workspace = empty(_workspaces(rows, width_a, width_b, normalise)[1])
        _native.core().cross_decorrelation_backward(
            a.contiguous(), b.contiguous(), grad, kept, statistics, normalise, da, db, workspace
        )
        return da, db

    return backward


def kernels(normalise: bool) -> tuple[Kernel, Kernel]:
    """Forward and backward; ``normalise`` is the orthogonality penalty."""
    return tuple(  # type: ignore[return-value]
        Kernel(run, can_run, worthwhile) for run in (_forward(normalise), _backward(normalise))
    )
