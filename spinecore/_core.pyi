"""The native core. Private: call the operators of `spinecore.ops`, which own autograd, shapes and fallbacks.

Every tensor argument is checked in the call that reads it (device, dtype, shape, strides, memory), outputs
and workspaces are allocated by the caller, and the GIL is released while a kernel runs.
"""

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
    lse: Tensor,
    pooled: Tensor,
    scores: Tensor,
    means: Tensor,
) -> None:
    """Write y, the log-sum-exp of the scores, the pooled values before wo and, where given, what the backward
    keeps: scores and means P x, by the absorbed algorithm.

    x (B,N,D) float32 or bfloat16; all else float32, d = D / heads and D padded with zeros to multiples of 16:
    latents (R,D), wq, wk, wv (D,heads*d), wo (heads*d,D), y (B,R,D), lse (B,heads,R), pooled (B,R,heads*d).
    mask (B,N), 0 is dropped, bias (1,R,N) or (B,R,N), scores (B,N,heads*R) and means (heads,B,R,D) may have
    no elements. The scale is 1 / sqrt of the true d. Scores of dropped tokens are zero.
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
    lse: Tensor,
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
