"""The native core. Private: call the operators of `spinecore.ops`, which own autograd, shapes and fallbacks.

Every tensor argument is checked in the call that reads it (device, dtype, shape, strides, memory), outputs
and workspaces are allocated by the caller, and the GIL is released while a kernel runs.
"""

from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor

class CoreInfo(TypedDict):
    version: str
    compiler: str
    isa_compiled: list[str]
    isa_best: str
    isa_selected: str
    isa_error: str
    threads_source: str
    cuda_built: bool
    cuda_devices: int
    cuda_reason: str

def info() -> CoreInfo:
    """What was compiled, what this machine offers, what is used; `isa_error` is about SPINECORE_CPU_ISA."""

def selected_isa() -> str:
    """The instruction set whose kernels run: baseline, avx2 or avx512."""

def set_isa(name: str) -> None:
    """Use the kernels of one instruction set (baseline, avx2, avx512). ValueError where it cannot run."""

def set_parallel_for(address: int) -> None:
    """Run loops through the C function at `address` (as torch_parallel_for is); 0: the own pool."""

def set_pool_threads(threads: int) -> None:
    """Threads of the own pool, the caller included; 0: as many as the machine has."""

def scse_gate_workspace(n: int, c: int, h: int, w: int, reduced: int) -> int:
    """Size of the workspace of `scse_gate_backward`, in float32 elements; `reduced` is w1.shape[0]."""

def scse_gate_forward(
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    ws: Tensor,
    bs: Tensor,
    mode: int,
    y: Tensor,
    channel_gate: Tensor,
    spatial_gate: Tensor,
    pooled: Tensor,
) -> None:
    """Write y = x * (c + s) (mode 0) or x * max(c, s) (mode 1), both gates and the channel means.

    x, y (N,C,H,W) float32 or bfloat16, both contiguous or both channels-last; w1 (R,C), b1 (R,), w2 (C,R),
    b2 (C,), ws (C,), bs (1,) float32; channel_gate (N,C), spatial_gate (N,H*W), pooled (N,C) float32.
    """

def scse_gate_backward(
    x: Tensor,
    dy: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    ws: Tensor,
    channel_gate: Tensor,
    spatial_gate: Tensor,
    pooled: Tensor,
    mode: int,
    dx: Tensor,
    dw1: Tensor,
    db1: Tensor,
    dw2: Tensor,
    db2: Tensor,
    dws: Tensor,
    dbs: Tensor,
    workspace: Tensor,
) -> None:
    """Write the gradients of `scse_gate_forward`, whose gates and means are given back.

    dy and dx like x; the other gradients like their parameters, all written, none read. Where both gates are
    equal, mode 1 gives half the gradient to each, as torch.maximum does. The workspace has
    `scse_gate_workspace` float32 elements.
    """

def same_bytes(a: Tensor, b: Tensor) -> bool:
    """Whether two dense (A,B,C,D) tensors agree in dtype, shape, strides and every byte."""

def winograd_weights_size(in_channels: int, out_channels: int) -> int:
    """Float32 elements of transformed weights under the selected instruction set."""

def winograd_transform(w: Tensor, transposed: bool, to: Tensor) -> None:
    """Write the transformed weights of w (O,I,3,3) float32: of the convolution I -> O or, `transposed`, of
    its data gradient O -> I. They serve the instruction set selected now.
    """

def conv3x3_forward(
    x: Tensor, weights: Tensor, bias: Tensor, residual: Tensor, relu: bool, y: Tensor
) -> bool:
    """Write y = activation(conv(x, w) + bias + residual); False where y is not finite and has to be computed
    by other means.

    x (N,I,H,W), y and residual (N,O,H,W) float32 or bfloat16, all channels-last; `weights` of
    `winograd_transform`; bias (O,) float32. A bias or residual without elements is none.
    """

def recurrent_residual_conv_workspace(n: int, c: int, h: int, w: int, steps: int) -> int:
    """Size of the workspace of `recurrent_residual_conv_forward`, in float32 elements."""

def recurrent_residual_conv_forward(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    scale: Tensor,
    shift: Tensor,
    steps: int,
    residual: bool,
    y: Tensor,
    workspace: Tensor,
) -> bool:
    """Write y of `spinecore.ops.recurrent_residual_conv`; False as in `conv3x3_forward`.

    x, y (N,C,H,W) float32 or bfloat16, channels-last; w_in, w_rec of `winograd_transform` (the same tensor
    where the weights are shared); scale, shift (C,) or (steps+1,C) float32.
    """

def copy_layout(from_: Tensor, to: Tensor) -> None:
    """Copy an NCHW image (float32 or bfloat16) to a channels-last one of the same shape, or back."""

def fused_conv_weights_size(depth: int, out_channels: int) -> int:
    """Float32 elements of packed weights of `depth` terms a result, under the selected instruction set."""

def fused_conv_pack(w: Tensor, to: Tensor) -> None:
    """Pack w (O, depth) float32, the terms in the order (k, k, I)."""

def fused_conv_forward(
    inputs: Sequence[Tensor],
    weights: Tensor,
    bias: Tensor,
    addends: Sequence[Tensor],
    gate: Tensor,
    kernel: int,
    stride: int,
    dilation: int,
    activation: int,
    y: Tensor,
) -> None:
    """Write y = activation(conv(concat(inputs), w) + bias + sum of bilinear(addends)).

    inputs (N,I_i,H,W) and addends (N,O,h,w) float32, channels-last or slices of the channels of such images;
    `weights` of `fused_conv_pack`; bias (O,), gate and y (N,O,H',W') channels-last. activation 0: none,
    1: relu, 2: sigmoid(...) * gate. A bias or gate without elements is none.
    """

def fingerprint(tensors: Sequence[Tensor]) -> int:
    """64 bits of shape, strides and bytes of dense float32 tensors on the CPU."""
