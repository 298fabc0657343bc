"""Both forms of the recurrent residual convolution on CUDA kernels: few channels in one kernel that does all
steps of a tile, else the 3x3 convolution once a step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import _native
from spinecore.backends import Kernel
from spinecore.ops import _conv3x3_gpu, _device
from spinecore.ops._conv3x3_cuda import CONVOLUTION
from spinecore.ops._recurrence import channels_last
from spinecore.ops._shared import output_format

FUSED_STEPS = (1, 2)
"""Each step costs a pixel more on every side of a tile: with three, 2.6 pixels are computed for each that is
right, and with none there is nothing to fuse."""


def fused(x: Tensor, steps: int) -> bool:
    """Whether all steps run in one kernel: 128 bytes a pixel at most (64 channels in half precision, 32 in
    float32), so that a tile and its halo fit into shared memory, and products that the GPU has: bfloat16 from
    sm_80 on, float32 as it is. Where torch allows tf32, single steps on tensor cores are faster.
    """
    if steps not in FUSED_STEPS or x.shape[1] * x.element_size() > 128:
        return False
    if x.dtype is torch.float32:
        return not _device.tf32_allowed()
    return x.dtype is torch.float16 or _device.capability(x) >= (8, 0)


def in_lane_order(w: Tensor) -> Tensor:
    """(C, C, 3, 3), padded to 16, 32 or 64 channels, flat, in the order in which a warp's threads read it.

    In half precision every lane reads the right-hand fragments of two tensor-core products at once: 16 bytes
    for each tap, 16 channels under the sum and 16 of the result. In float32 it reads, four at a time, the
    channels of the result whose sums it has.
    """
    channels = max(16, 1 << (w.shape[0] - 1).bit_length())
    more = channels - w.shape[0]
    if more:
        w = F.pad(w, (0, 0, 0, 0, 0, more, 0, more))
    blocks = channels // 16
    if w.dtype is torch.float32:
        # result = 16 block + 8 product + 2 member + one of two
        return w.reshape(blocks, 2, 4, 2, channels, 9).permute(5, 4, 0, 2, 1, 3).flatten()
    # result = 16 block + 8 product + group; term = 16 block + 8 register + 2 member + one of two
    split = w.reshape(blocks, 2, 8, blocks, 2, 4, 2, 9)
    return split.permute(7, 3, 0, 2, 5, 1, 4, 6).flatten()


def run_fused(
    x: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int, residual: bool
) -> Tensor:
    """All steps in one launch."""
    image = channels_last(x)
    y = torch.empty_like(image, memory_format=torch.channels_last)
    weights = in_lane_order(w_in)
    recurrent = weights if w_rec is w_in else in_lane_order(w_rec)
    scale, shift = (_device.float32(p).view(-1, x.shape[1]) for p in (scale, shift))
    with _device.stream_of(x) as stream:
        _native.core().cuda_recurrent_residual_conv_forward(
            image, weights, recurrent, scale, shift, steps, residual, y, stream
        )
    return y.contiguous(memory_format=output_format(x))


_STEP_BY_STEP, BACKWARD = _conv3x3_gpu.recurrent(CONVOLUTION)


def _forward(
    x: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int, residual: bool
) -> Tensor:
    run = run_fused if fused(x, steps) else _STEP_BY_STEP.run
    y: Tensor = run(x, w_in, w_rec, scale, shift, steps, residual)
    return y


FORWARD = Kernel(_forward, _STEP_BY_STEP.can_run)
FORWARD_BN, BACKWARD_BN = _conv3x3_gpu.recurrent_bn(CONVOLUTION)
