"""The CUDA kernels of latent attention pooling: allocate what the core fills, and lend a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import _native
from spinecore.ops import _device, _latent_absorbed
from spinecore.ops._covariance_cuda import floats


def attend(
    x: Tensor, queries: Tensor, rows: int, mask: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (B, N, Q), norms (2, B, Q), means (B, Q, D). Halves meet queries of their dtype."""
    (batch, tokens, width), count = x.shape, queries.shape[0]
    core = _native.core()
    results = (
        floats(x, batch, tokens, count),
        floats(x, 2, batch, count),
        floats(x, batch, count, width),
    )
    workspace = floats(x, core.cuda_latent_pool_workspaces(batch, tokens, width, count)[0])
    tf32 = _device.tf32_allowed()
    with _device.stream_of(x) as stream:
        core.cuda_latent_pool_forward(
            x, queries.to(x.dtype), rows, tf32, mask, bias, *results, workspace, stream
        )
    return results


def differentiate(
    x: Tensor,
    queries: Tensor,
    rows: int,
    mask: Tensor,
    scores: Tensor,
    norms: Tensor,
    d_means: Tensor,
    delta: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, of the scores and of the queries; d_means is of the dtype of x, and so are the scores'
    gradients. Beside those of halves the kernels keep P, which the tokens' gradient needs.
    """
    core, count = _native.core(), queries.shape[0]
    columns = count if x.dtype is torch.float32 else 2 * count
    d_scores = x.new_empty((*x.shape[:2], columns))
    results = (torch.empty_like(x), d_scores, torch.empty_like(queries))
    workspace = floats(x, core.cuda_latent_pool_workspaces(*x.shape, count)[1])
    tf32 = _device.tf32_allowed()
    with _device.stream_of(x) as stream:
        core.cuda_latent_pool_backward(
            x,
            queries.to(x.dtype),
            rows,
            tf32,
            mask,
            scores,
            norms,
            d_means,
            delta,
            *results,
            workspace,
            stream,
        )
    return results[0], d_scores[..., :count], results[2]


forward = _latent_absorbed.forward_by(attend)
backward = _latent_absorbed.backward_by(attend, differentiate, halves=True)
