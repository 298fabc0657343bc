"""Both forms of the recurrent residual convolution on the Triton kernels of the 3x3 convolution."""

from __future__ import annotations

from spinecore.ops import _conv3x3_gpu
from spinecore.ops._conv3x3_triton import CONVOLUTION

FORWARD, BACKWARD = _conv3x3_gpu.recurrent(CONVOLUTION)
FORWARD_BN, BACKWARD_BN = _conv3x3_gpu.recurrent_bn(CONVOLUTION)
