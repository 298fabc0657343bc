"""scSE gate in Triton: the twin of csrc/cuda/scse_gate.cu.

`reduce` reads x (and dy) once: per pixel a sum over the channels, per channel and chunk of pixels a sum over
these; `apply` reads and writes once. The small network of the channel gate between them is left to torch,
where Inductor may fuse it. Loads are widened to float32 at once: Triton's interpreter has no bfloat16
arithmetic, and sums need it anyway.

The operators are `torch.ops.spinecore.scse_gate_triton` and `..._triton_backward`, defined with
`torch.library.triton_op`, so that a compiler which traces them sees the kernels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from . import _launch

MOST_CHANNELS = 1024
_TILES = 4  # pixels of a chunk: so many tiles


@triton.jit
def _share(channel, spatial, MAX_MODE: tl.constexpr):
    """The part of the gradient that goes to the channel gate; equal gates share it."""
    if MAX_MODE:
        share = tl.where(channel > spatial, 1.0, tl.where(channel == spatial, 0.5, 0.0))
    else:
        share = tl.full(channel.shape, 1.0, tl.float32)
    return share


@triton.jit
def reduce(
    x,
    dy,
    ws,
    bs,
    channel_gate,
    spatial_gate,
    d_spatial,
    sums,
    channels,
    pixels,
    channel_stride,
    pixel_stride,
    BACKWARD: tl.constexpr,
    MAX_MODE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    TILES: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Program (sample, chunk). Forward writes spatial_gate (N, P) and sums (N, chunks, C); backward reads
    spatial_gate and writes d_spatial (N, P) and sums (N, chunks, 2, C): of the channel gate and of dws.
    """
    sample = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1)
    c = tl.arange(0, BLOCK_C)
    has_c = c < channels
    origin = sample * channels * pixels
    weights = tl.load(ws + c, mask=has_c, other=0.0)
    to_channel = tl.zeros((BLOCK_C,), tl.float32)
    to_weight = tl.zeros((BLOCK_C,), tl.float32)
    for tile in range(TILES):
        p = (chunk * TILES + tile) * BLOCK_P + tl.arange(0, BLOCK_P)
        has_p = p < pixels
        here = has_c[:, None] & has_p[None, :]
        at = origin + c[:, None] * channel_stride + p[None, :] * pixel_stride
        values = tl.load(x + at, mask=here, other=0.0).to(tl.float32)
        if BACKWARD:
            product = values * tl.load(dy + at, mask=here, other=0.0).to(tl.float32)
            spatial = tl.load(spatial_gate + sample * pixels + p, mask=has_p, other=0.0)
            channel = tl.load(channel_gate + sample * channels + c, mask=has_c, other=0.0)
            wide = tl.broadcast_to(channel[:, None], (BLOCK_C, BLOCK_P))
            share = _share(wide, tl.broadcast_to(spatial[None, :], (BLOCK_C, BLOCK_P)), MAX_MODE)
            to_channel += tl.sum(share * product, 1)
            rest = product - share * product if MAX_MODE else product
            score = tl.sum(rest, 0) * spatial * (1.0 - spatial)
            tl.store(d_spatial + sample * pixels + p, score, mask=has_p)
            to_weight += tl.sum(values * score[None, :], 1)
        else:
            score = tl.sum(values * weights[:, None], 0)
            if HAS_BIAS:
                score += tl.load(bs)
            tl.store(spatial_gate + sample * pixels + p, tl.sigmoid(score), mask=has_p)
            to_channel += tl.sum(values, 1)
    row = sample * tl.num_programs(1) + chunk
    if BACKWARD:
        tl.store(sums + row * 2 * channels + c, to_channel, mask=has_c)
        tl.store(sums + row * 2 * channels + channels + c, to_weight, mask=has_c)
    else:
        tl.store(sums + row * channels + c, to_channel, mask=has_c)


@triton.jit
def apply(
    x,
    result,
    ws,
    channel_gate,
    spatial_gate,
    d_spatial,
    d_pooled,
    channels,
    pixels,
    channel_stride,
    pixel_stride,
    BACKWARD: tl.constexpr,
    MAX_MODE: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Program (pixel block, channel block, sample): x * gate, or with x = dy the gradient of x."""
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = tl.program_id(2).to(tl.int64)
    has_c, has_p = c < channels, p < pixels
    here = has_c[:, None] & has_p[None, :]
    at = sample * channels * pixels + c[:, None] * channel_stride + p[None, :] * pixel_stride
    channel = tl.load(channel_gate + sample * channels + c, mask=has_c, other=0.0)[:, None]
    spatial = tl.load(spatial_gate + sample * pixels + p, mask=has_p, other=0.0)[None, :]
    if MAX_MODE:  # a NaN of either gate stays one, as in torch.maximum
        gate = tl.where((channel > spatial) | (channel != channel), channel, spatial)
    else:
        gate = channel + spatial
    values = tl.load(x + at, mask=here, other=0.0).to(tl.float32) * gate
    if BACKWARD:
        d_score = tl.load(d_spatial + sample * pixels + p, mask=has_p, other=0.0)
        weights = tl.load(ws + c, mask=has_c, other=0.0)
        mean = tl.load(d_pooled + sample * channels + c, mask=has_c, other=0.0)
        values += d_score[None, :] * weights[:, None] + mean[:, None]
    tl.store(result + at, values.to(result.dtype.element_ty), mask=here)


def _strides(x: Tensor) -> dict[str, int]:
    """Of a dense image seen as (N, C, P)."""
    pixels = x.shape[2] * x.shape[3]
    channels_last = not x.is_contiguous()
    return {
        "channels": x.shape[1],
        "pixels": pixels,
        "channel_stride": 1 if channels_last else pixels,
        "pixel_stride": x.shape[1] if channels_last else 1,
    }


def _run_reduce(x: Tensor, arguments: dict[str, Any], constants: dict[str, Any]) -> Tensor:
    """Launches `reduce`; the sums of all chunks."""
    chosen = _launch.configuration("scse_gate", "reduce", _launch.architecture_of(x))
    batch, channels, height, width = x.shape
    block_c = triton.next_power_of_2(channels)
    block_p = max(8, chosen["elements"] // block_c)
    chunks = triton.cdiv(height * width, block_p * _TILES)
    kinds = 2 if constants["BACKWARD"] else 1
    sums = x.new_empty((batch, chunks, kinds, channels), dtype=torch.float32)
    blocks = {"TILES": _TILES, "BLOCK_C": block_c, "BLOCK_P": block_p}
    given = {"x": x, **arguments, "sums": sums, **_strides(x)}
    _launch.launch(reduce, (batch, chunks), given, constants | blocks, chosen["num_warps"])
    return sums.sum(1)


def _run_apply(x: Tensor, arguments: dict[str, Any], constants: dict[str, Any]) -> Tensor:
    """Launches `apply`; an image like x."""
    chosen = _launch.configuration("scse_gate", "apply", _launch.architecture_of(x))
    batch, channels, height, width = x.shape
    pixels = height * width
    along = min(512, triton.next_power_of_2(pixels if x.is_contiguous() else channels))
    across = max(1, chosen["elements"] // along)
    block_c, block_p = (across, along) if x.is_contiguous() else (along, across)
    result = torch.empty_like(x)
    grid = (triton.cdiv(pixels, block_p), triton.cdiv(channels, block_c), batch)
    given = {"x": x, "result": result, **arguments, **_strides(x)}
    blocks = {"BLOCK_C": block_c, "BLOCK_P": block_p}
    _launch.launch(apply, grid, given, constants | blocks, chosen["num_warps"])
    return result


def forward(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    ws: Tensor,
    bs: Tensor | None,
    mode: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, channel gate, spatial gate, channel means. x dense, parameters float32."""
    batch, channels, height, width = x.shape
    spatial_gate = x.new_empty((batch, height * width), dtype=torch.float32)
    unused = ws
    sums = _run_reduce(
        x,
        {
            "dy": x,
            "ws": ws,
            "bs": ws if bs is None else bs,
            "channel_gate": unused,
            "spatial_gate": spatial_gate,
            "d_spatial": spatial_gate,
        },
        {"BACKWARD": False, "MAX_MODE": mode == "max", "HAS_BIAS": bs is not None},
    )
    pooled = sums.reshape(batch, channels) / (height * width)
    channel_gate = torch.sigmoid(F.linear(F.relu(F.linear(pooled, w1, b1)), w2, b2))
    gates = {"channel_gate": channel_gate, "spatial_gate": spatial_gate}
    given = {"ws": ws, **gates, "d_spatial": spatial_gate, "d_pooled": channel_gate}
    y = _run_apply(x, given, {"BACKWARD": False, "MAX_MODE": mode == "max"})
    return y, channel_gate, spatial_gate, pooled


def backward(
    x: Tensor,
    dy: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    ws: Tensor,
    channel_gate: Tensor,
    spatial_gate: Tensor,
    pooled: Tensor,
    mode: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, w1, b1, w2, b2, ws, bs. x and dy dense and alike, parameters float32."""
    d_spatial = torch.empty_like(spatial_gate)
    gates = {"channel_gate": channel_gate, "spatial_gate": spatial_gate, "d_spatial": d_spatial}
    constants = {"BACKWARD": True, "MAX_MODE": mode == "max"}
    sums = _run_reduce(x, {"dy": dy, "ws": ws, "bs": ws, **gates}, constants | {"HAS_BIAS": False})
    hidden = F.relu(F.linear(pooled, w1, b1))
    d_excite = sums[:, 0] * channel_gate * (1 - channel_gate)
    d_hidden = (d_excite @ w2) * (hidden > 0)
    d_pooled = (d_hidden @ w1) / (x.shape[2] * x.shape[3])
    dx = _run_apply(dy, {"ws": ws, **gates, "d_pooled": d_pooled}, constants)
    dws, dbs = sums[:, 1].sum(0), d_spatial.sum().reshape(1)
    return dx, d_hidden.T @ pooled, d_hidden.sum(0), d_excite.T @ hidden, d_excite.sum(0), dws, dbs


_PARAMETERS = "Tensor w1, Tensor? b1, Tensor w2"
scse_gate_triton = torch.library.triton_op(
    "spinecore::scse_gate_triton",
    forward,
    mutates_args=(),
    schema=f"(Tensor x, {_PARAMETERS}, Tensor? b2, Tensor ws, Tensor? bs, str mode)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
scse_gate_triton_backward = torch.library.triton_op(
    "spinecore::scse_gate_triton_backward",
    backward,
    mutates_args=(),
    schema=f"(Tensor x, Tensor dy, {_PARAMETERS}, Tensor ws, Tensor channel_gate, Tensor spatial_gate, "
    "Tensor pooled, str mode) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
