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
    bf16_products: bool
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

def fma_burst(steps: int) -> int:
    """Multiply-adds out of registers on one thread, twelve chains a step; the operations that ran."""

def read_burst(x: Tensor) -> float:
    """Read a float32 vector once, on one thread; its sum."""

def copy_burst(x: Tensor, y: Tensor, streamed: bool) -> None:
    """Copy the float32 vector x to y, on one thread; `streamed` writes past the caches."""

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
) -> bool:
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
) -> bool:
    """Write the gradients of `scse_gate_forward`, whose gates and means are given back.

    dy and dx like x; the other gradients like their parameters, all written, none read. Where both gates are
    equal, mode 1 gives half the gradient to each, as torch.maximum does. The workspace has
    `scse_gate_workspace` float32 elements.
    """

def same_bytes(a: Tensor, b: Tensor) -> bool:
    """Whether two dense (A,B,C,D) tensors agree in dtype, shape, strides and every byte."""

def winograd_weights_size(in_channels: int, out_channels: int) -> int:
    """Float32 elements of transformed weights under the selected instruction set."""

def winograd_transform(w: Tensor, transposed: bool, to: Tensor) -> bool:
    """Write the transformed weights of w (O,I,3,3) float32: of the convolution I -> O or, `transposed`, of
    its data gradient O -> I. They serve the instruction set selected now.
    """

def conv3x3_forward(
    x: Tensor, weights: Tensor, bias: Tensor, residual: Tensor, relu: bool, y: Tensor
) -> bool:
    """Write y = activation(conv(x, w) + bias + residual); False where y is not finite and has to be computed
    by other means.

    x (N,I,H,W), y and residual (N,O,H,W) float32 or bfloat16, all channels-last, x also a slice of the
    channels of such an image; `weights` of
    `winograd_transform`; bias (O,) float32. A bias or residual without elements is none.
    """

def recurrent_residual_conv_workspace(n: int, c: int, h: int, w: int, steps: int, threads: int) -> int:
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

def conv3x3_backward(
    x: Tensor,
    dy: Tensor,
    y: Tensor,
    weights: Tensor,
    dx: Tensor,
    d_residual: Tensor,
    dw: Tensor,
    d_bias: Tensor,
    workspace: Tensor,
) -> bool:
    """Write the gradients of `conv3x3_forward`; False where something is not finite.

    Images channels-last and of one dtype; `y` of a relu, or without elements; `weights` those of the data
    gradient; `dx` (with `weights`) and `d_residual` may be without elements: not wanted. dw (O,I,3,3), d_bias
    (O,) and the workspace (`conv3x3_backward_workspace`) are float32.
    """

def conv3x3_backward_workspace(n: int, in_channels: int, h: int, w: int, out_channels: int) -> int:
    """Size of the workspace of `conv3x3_backward`, in float32 elements."""

def recurrence_workspace(x: Tensor, steps: int, backward: bool) -> int:
    """Size of the workspace of the functions below, in float32 elements."""

def recurrence_forward(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    residual: bool,
    y: Tensor,
    mean: Tensor,
    variance: Tensor,
    inverse_std: Tensor,
    z: list[Tensor],
    workspace: Tensor,
) -> bool:
    """Recurrent residual convolution with the batch's statistics: writes y, statistics (steps+1, C) and z.

    Images channels-last and of one dtype, the rest float32; transformed weights; gamma, beta (steps+1, C); as
    many z as steps + 1. False where something is not finite: compute all by other means.
    """

def recurrence_preactivations(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    scale: Tensor,
    shift: Tensor,
    z: list[Tensor],
    workspace: Tensor,
) -> bool:
    """Write the z of the recurrence under fixed affine maps (steps+1, C)."""

def recurrence_backward(
    x: Tensor,
    dy: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    inverse_std: Tensor,
    z: list[Tensor],
    batch_statistics: bool,
    residual: bool,
    dx: Tensor,
    dw_in: Tensor,
    dw_rec: Tensor,
    d_weight: Tensor,
    d_bias: Tensor,
    du: Tensor,
    dd: Tensor,
    workspace: Tensor,
) -> bool:
    """Write the gradients of the recurrence from its z; without `batch_statistics` mean and inverse_std are
    constants.

    Weights of the data gradients; du and dd are images to work in, without elements where steps = 0. dw_rec
    is left alone there.
    """

def latent_attention_pool_forward(
    x: Tensor,
    latents: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    scale: float,
    mask: Tensor,
    bias: Tensor,
    absorbed: bool,
    y: Tensor,
    norms: Tensor,
    pooled: Tensor,
    scores: Tensor,
    means: Tensor,
) -> None:
    """Write y, the norms of the softmax, the pooled values before wo and, where given, what the backward
    keeps: scores and means P x, by the absorbed algorithm.

    x (B,N,D) float32 or bfloat16; all else float32, d = D / heads and D padded with zeros to multiples of 16:
    latents (R,D), wq, wk, wv (D,heads*d), wo (heads*d,D), y (B,R,D), norms (2,B,heads,R): largest scores and
    sums of exponentials below them; pooled (B,R,heads*d). mask (B,N), 0 is dropped, bias (1,R,N) or (B,R,N),
    scores (B,N,heads*R) and means (heads,B,R,D) may have no elements. The scale is
    1 / sqrt of the true d. Scores of dropped tokens are zero.
    """

def latent_attention_pool_backward(
    x: Tensor,
    dy: Tensor,
    latents: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    scale: float,
    mask: Tensor,
    bias: Tensor,
    norms: Tensor,
    pooled: Tensor,
    scores: Tensor,
    means: Tensor,
    dx: Tensor,
    d_latents: Tensor,
    dwq: Tensor,
    dwk: Tensor,
    dwv: Tensor,
    dwo: Tensor,
    d_bias: Tensor,
) -> None:
    """Write the gradients of `latent_attention_pool_forward`, absorbed where scores and means are given back,
    else projected. dx like x, d_bias (B,R,N) or without elements; zero for dropped tokens.
    """

def latent_dictionary_pool_forward(
    x: Tensor,
    dictionary: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    scale: float,
    mask: Tensor,
    y: Tensor,
) -> None:
    """Write y (B,D), the mean over kept tokens of what the dictionary (R,D) answers; the rest as in
    `latent_attention_pool_forward`.
    """

def latent_dictionary_pool_backward(
    x: Tensor,
    dy: Tensor,
    dictionary: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    heads: int,
    scale: float,
    mask: Tensor,
    dx: Tensor,
    d_dictionary: Tensor,
    dwq: Tensor,
    dwk: Tensor,
    dwv: Tensor,
    dwo: Tensor,
) -> None:
    """Write the gradients of `latent_dictionary_pool_forward`; dx is zero for dropped tokens."""

def covariance_workspaces(rows: int, width: int) -> tuple[int, int]:
    """Sizes of the workspaces of `covariance_forward` and `covariance_backward`, in float32 elements."""

def covariance_forward(
    z: Tensor,
    mask: Tensor,
    gamma: float,
    eps: float,
    off_diagonal: Tensor,
    hinge: Tensor,
    kept: Tensor,
    moments: Tensor,
    workspace: Tensor,
) -> None:
    """Write both penalties and what the backward reads.

    z (B,D) float32 or bfloat16, contiguous; mask (B,) float32 of 1 (the row counts) and 0, or (0,): every
    row counts. off_diagonal, hinge (); kept (B,B) where 2 B <= D: the Gram matrix of the centred rows over
    n - 1, else (D,D): the covariance; moments (3,D): the mean, what float32 leaves of it, the variance; all
    float32.
    """

def covariance_backward(
    z: Tensor,
    mask: Tensor,
    d_off_diagonal: Tensor,
    d_hinge: Tensor,
    kept: Tensor,
    moments: Tensor,
    gamma: float,
    eps: float,
    dz: Tensor,
    workspace: Tensor,
) -> None:
    """Write dz, like z, from the gradients () of both penalties and what `covariance_forward` kept."""

def cross_decorrelation_workspaces(rows: int, width_a: int, width_b: int, normalise: bool) -> tuple[int, int]:
    """Sizes of the workspaces of `cross_decorrelation_forward` and `_backward`, in float32 elements."""

def cross_decorrelation_forward(
    a: Tensor,
    b: Tensor,
    normalise: bool,
    penalty: Tensor,
    kept: Tensor,
    statistics: Tensor,
    workspace: Tensor,
) -> None:
    """Write the cross-covariance penalty, or with `normalise` the orthogonality penalty, and what the
    backward reads.

    a (B,Da), b (B,Db) float32 or bfloat16, contiguous; penalty (); kept (2B,B) where B (Da + Db) <= Da Db:
    the Gram matrices of both, else the product (Da,Db), over B - 1 unless normalised; statistics
    (2 (Da + Db) [+ 2 B]): for a, then for b, the mean and what float32 leaves of it, and with `normalise` the
    norms of the rows; all float32.
    """

def cross_decorrelation_backward(
    a: Tensor,
    b: Tensor,
    grad: Tensor,
    kept: Tensor,
    statistics: Tensor,
    normalise: bool,
    da: Tensor,
    db: Tensor,
    workspace: Tensor,
) -> None:
    """Write da and db, like a and b, from the gradient () of the penalty and what the forward kept."""

def conv1x1_workspace(in_channels: int, out_channels: int) -> int:
    """Size of the workspace of `conv1x1_forward`, in float32 elements."""

def conv1x1_forward(x: Tensor, w: Tensor, bias: Tensor, y: Tensor, workspace: Tensor) -> bool:
    """Write y = w x + bias at every pixel.

    x (N,I,H,W) and y (N,O,H,W) float32 or bfloat16, channels-last; w (O,I), bias (O,) and the workspace
    (`conv1x1_workspace`) float32. A bias without elements is none.
    """

def conv1x1_backward_workspace(pixels: int, in_channels: int, out_channels: int) -> int:
    """Size of the workspace of `conv1x1_backward`, in float32 elements; pixels: N H W."""

def conv1x1_backward(
    x: Tensor, dy: Tensor, w: Tensor, dx: Tensor, dw: Tensor, d_bias: Tensor, workspace: Tensor
) -> bool:
    """Write the gradients of `conv1x1_forward`; dx without elements is not wanted.

    Images channels-last and of one dtype; w and dw (O,I), d_bias (O,) and the workspace
    (`conv1x1_backward_workspace`) float32.
    """

def conv1x1_bn_workspace(pixels: int, in_channels: int, out_channels: int) -> int:
    """Size of the workspace of `conv1x1_bn_forward` and its backward, in float32 elements; pixels: N H W."""

def conv1x1_bn_forward(
    x: Tensor,
    w: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    relu: bool,
    z: Tensor,
    y: Tensor,
    mean: Tensor,
    variance: Tensor,
    inverse: Tensor,
    workspace: Tensor,
) -> bool:
    """Write z = w x, its statistics over all pixels and y = activation(gamma (z - mean) inverse + beta).

    x (N,I,H,W), z and y (N,O,H,W) float32 or bfloat16, channels-last; w (O,I), the workspace
    (`conv1x1_bn_workspace`) and all others (O,) float32.
    """

def conv1x1_bn_backward(
    x: Tensor,
    dy: Tensor,
    w: Tensor,
    gamma: Tensor,
    beta: Tensor,
    z: Tensor,
    mean: Tensor,
    inverse: Tensor,
    relu: bool,
    dx: Tensor,
    dw: Tensor,
    d_gamma: Tensor,
    d_beta: Tensor,
    workspace: Tensor,
) -> bool:
    """Write the gradients of `conv1x1_bn_forward`; dx without elements is not wanted."""

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
) -> bool:
    """Write y = activation(conv(concat(inputs), w) + bias + sum of bilinear(addends)).

    inputs (N,I_i,H,W) and addends (N,O,h,w) float32, channels-last or slices of the channels of such images;
    `weights` of `fused_conv_pack`; bias (O,), gate and y (N,O,H',W') channels-last. activation 0: none,
    1: relu, 2: sigmoid(...) * gate. A bias or gate without elements is none. Always True.
    """

def pool2x2(x: Tensor, pooling: int, y: Tensor) -> bool:
    """Write the largest value (pooling 0) or the mean (1) of each square of 2 x 2 pixels; always True.

    x (N,C,H,W) and y (N,C,H//2,W//2) float32, channels-last.
    """

class Program:
    """Calls recorded by methods, repeated by `run`. The caller keeps every tensor it has passed.

    The methods have the names and arguments of the functions of the convolutions and of the gate that answer
    whether all is finite (always, where only Winograd's transform could tell).
    """

    def __init__(self) -> None: ...
    def run(self) -> bool:
        """Make the calls in their order; False, and the rest not made, where one answers so."""

def fingerprint(tensors: Sequence[Tensor], sampled: bool = False) -> int:
    """64 bits of shape, strides and bytes of dense float32 tensors on the CPU; `sampled`: of shape, strides,
    address and one cache line in every 2 KiB.
    """

# Only in builds with CUDA (info()["cuda_built"]): tensors on a GPU, work in the stream at address `stream`.

def cuda_scse_gate_workspace(n: int, c: int, h: int, w: int, hidden: int, backward: bool) -> int:
    """Float32 elements of workspace that serve either layout and every dtype; `hidden` is w1.shape[0]."""

def cuda_scse_gate_forward(
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
    workspace: Tensor,
    stream: int,
) -> None:
    """As `scse_gate_forward`, x float16 too; an absent bias is an empty tensor. RuntimeError where a launch
    fails, with the operator and the shape.
    """

def cuda_scse_gate_backward(
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
    stream: int,
) -> None:
    """As `scse_gate_backward`, on a GPU."""

def cuda_covariance_workspaces(rows: int, columns: int) -> tuple[int, int]:
    """Float32 elements of workspace, forward and backward, for every dtype."""

def cuda_covariance_forward(
    z: Tensor,
    mask: Tensor,
    gamma: float,
    eps: float,
    off_diagonal: Tensor,
    hinge: Tensor,
    kept: Tensor,
    moments: Tensor,
    workspace: Tensor,
    stream: int,
) -> None:
    """Z (B, D) of any dtype; mask (B,) of 1 and 0, or empty; kept and moments as the operator
    returns them.
    """

def cuda_covariance_backward(
    z: Tensor,
    mask: Tensor,
    d_off_diagonal: Tensor,
    d_hinge: Tensor,
    kept: Tensor,
    moments: Tensor,
    gamma: float,
    eps: float,
    dz: Tensor,
    workspace: Tensor,
    stream: int,
) -> None:
    """Writes dz."""

def cuda_cross_workspaces(rows: int, width_a: int, width_b: int, normalise: bool) -> tuple[int, int]:
    """Float32 elements of workspace, forward and backward, for every dtype."""

def cuda_cross_forward(
    a: Tensor,
    b: Tensor,
    normalise: bool,
    penalty: Tensor,
    kept: Tensor,
    statistics: Tensor,
    workspace: Tensor,
    stream: int,
) -> None:
    """Both penalties between a and b; `normalise` is the orthogonality penalty."""

def cuda_cross_backward(
    a: Tensor,
    b: Tensor,
    grad: Tensor,
    kept: Tensor,
    statistics: Tensor,
    normalise: bool,
    da: Tensor,
    db: Tensor,
    workspace: Tensor,
    stream: int,
) -> None:
    """Writes da and db."""

def cuda_latent_pool_workspaces(batch: int, tokens: int, width: int, queries: int) -> tuple[int, int]:
    """Float32 elements of workspace, forward and backward, for every dtype."""

def cuda_latent_pool_forward(
    x: Tensor,
    queries: Tensor,
    rows: int,
    tf32: bool,
    mask: Tensor,
    bias: Tensor,
    scores: Tensor,
    norms: Tensor,
    means: Tensor,
    workspace: Tensor,
    stream: int,
) -> None:
    """Absorbed queries (heads * rows, D); scores (B, N, Q), norms (2, B, Q), means (B, Q, D)."""

def cuda_latent_pool_backward(
    x: Tensor,
    queries: Tensor,
    rows: int,
    tf32: bool,
    mask: Tensor,
    scores: Tensor,
    norms: Tensor,
    d_means: Tensor,
    delta: Tensor,
    dx: Tensor,
    d_scores: Tensor,
    d_queries: Tensor,
    workspace: Tensor,
    stream: int,
) -> None:
    """Writes dx, d_scores and d_queries."""

def cuda_dictionary_pool_workspaces(
    batch: int, tokens: int, width: int, entries: int, heads: int
) -> tuple[int, int]:
    """Float32 elements of workspace, forward and backward, for every dtype."""

def cuda_dictionary_pool_forward(
    x: Tensor,
    entries: Tensor,
    heads: int,
    tf32: bool,
    share: Tensor,
    weights: Tensor,
    workspace: Tensor,
    stream: int,
) -> None:
    """Absorbed entries (heads * R, D), what each token counts (B, N); P (B, N, E)."""

def cuda_dictionary_pool_backward(
    x: Tensor,
    entries: Tensor,
    heads: int,
    tf32: bool,
    share: Tensor,
    weights: Tensor,
    d_mean: Tensor,
    dx: Tensor,
    d_scores: Tensor,
    d_entries: Tensor,
    workspace: Tensor,
    stream: int,
) -> None:
    """Writes dx, d_scores and d_entries."""

def cuda_conv3x3_workspace(n: int, c: int, h: int, w: int, out: int) -> int:
    """Float32 elements of workspace of the weight gradient, for every dtype."""

def cuda_conv3x3_forward(
    x: Tensor,
    w: Tensor,
    scale: Tensor,
    shift: Tensor,
    addend: Tensor,
    before: Tensor,
    after: Tensor,
    relu: bool,
    tf32: bool,
    raw: Tensor,
    y: Tensor,
    stream: int,
) -> None:
    """Raw = conv(x, w) + addend, y = activation(scale raw + shift + before) + after; w (out, 9, in);
    empty is absent.
    """

def cuda_conv3x3_weights(
    x: Tensor,
    dy: Tensor,
    tf32: bool,
    dw: Tensor,
    workspace: Tensor,
    stream: int,
) -> None:
    """Writes dw (out, 9, in), float32."""
