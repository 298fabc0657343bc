"""The CUDA kernels of the penalties between two batches: allocate what the core fills, and lend a stream."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Kernel, Verdict
from spinecore.ops import _covariance_cuda, _device
from spinecore.ops._covariance_cuda import MOST_COLUMNS, floats


def can_run(call: Call) -> Verdict:
    """As the covariance penalty, for both widths; ``options`` has ("width", that of b)."""
    if call.options[0][1] < 1 or call.options[0][1] >= MOST_COLUMNS:
        return Verdict(False, f"b has {call.options[0][1]} columns, 2^16 or more")
    return _covariance_cuda.can_run(call)


def _forward(normalise: bool) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    def forward(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The penalty, the product or both Gram matrices, the statistics."""
        rows, width_a = a.shape
        width_b = b.shape[1]
        gram = rows * (width_a + width_b) <= width_a * width_b
        kept = floats(a, 2 * rows, rows) if gram else floats(a, width_a, width_b)
        results = (floats(a), kept, floats(a, 2 * (width_a + width_b) + (2 * rows if normalise else 0)))
        workspace = floats(a, _native.core().cuda_cross_workspaces(rows, width_a, width_b, normalise)[0])
        with _device.stream_of(a) as stream:
            _native.core().cuda_cross_forward(
                a.contiguous(), b.contiguous(), normalise, *results, workspace, stream
            )
        return results

    return forward


def _backward(normalise: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    def backward(
        a: Tensor, b: Tensor, grad: Tensor, kept: Tensor, statistics: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of a and b."""
        a, b = a.contiguous(), b.contiguous()
        da, db = torch.empty_like(a), torch.empty_like(b)
        sizes = (*a.shape, b.shape[1])
        workspace = floats(a, _native.core().cuda_cross_workspaces(*sizes, normalise)[1])
        kept, statistics = kept.contiguous(), statistics.contiguous()
        with _device.stream_of(a) as stream:
            _native.core().cuda_cross_backward(
                a, b, _device.float32(grad), kept, statistics, normalise, da, db, workspace, stream
            )
        return da, db

    return backward


def kernels(normalise: bool) -> tuple[Kernel, Kernel]:
    """Forward and backward; ``normalise`` is the orthogonality penalty."""
    return Kernel(_forward(normalise), can_run), Kernel(_backward(normalise), can_run)
