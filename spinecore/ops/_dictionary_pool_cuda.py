"""The CUDA kernels of latent dictionary pooling: allocate what the core fills, and lend a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.ops import _device, _dictionary_absorbed
from spinecore.ops._covariance_cuda import floats


def weigh(x: Tensor, entries: Tensor, heads: int, share: Tensor) -> Tensor:
    """P (B, N, E). Halves meet entries of their dtype."""
    core, count = _native.core(), entries.shape[0]
    weights = floats(x, *x.shape[:2], count)
    workspace = floats(x, core.cuda_dictionary_pool_workspaces(*x.shape, count, heads)[0])
    tf32 = _device.tf32_allowed()
    with _device.stream_of(x) as stream:
        core.cuda_dictionary_pool_forward(
            x, entries.to(x.dtype), heads, tf32, share, weights, workspace, stream
        )
    return weights


def differentiate(
    x: Tensor, entries: Tensor, heads: int, share: Tensor, weights: Tensor, d_mean: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, of the scores (both of its dtype) and of the entries."""
    core = _native.core()
    results = (torch.empty_like(x), x.new_empty(weights.shape), torch.empty_like(entries))
    workspace = floats(x, core.cuda_dictionary_pool_workspaces(*x.shape, entries.shape[0], heads)[1])
    tf32 = _device.tf32_allowed()
    with _device.stream_of(x) as stream:
        core.cuda_dictionary_pool_backward(
            x, entries.to(x.dtype), heads, tf32, share, weights, d_mean, *results, workspace, stream
        )
    return results


forward = _dictionary_absorbed.forward_by(weigh)
backward = _dictionary_absorbed.backward_by(weigh, differentiate)
