"""3x3 convolution of channels-last images in Triton: the twin of csrc/cuda/conv3x3.cu.

raw = conv(x, w) + addend;  y = activation(scale raw + shift + before) + after

Loads are widened to float32 at once. Half-precision values are exact in tf32, so that from sm_80 on their
products run on tensor cores without a loss; float32 is multiplied in tf32 only where torch allows it.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import _launch

_NAME, _TILE = "conv3x3", 64


@triton.jit
def _patch(x, pixel, tap, channel, pixels, height, width, channels):
    """Channels of the pixels' neighbour at one tap; zeros outside of the image."""
    across = pixel % width + tap % 3 - 1
    down = pixel // width % height + tap // 3 - 1
    inside = (pixel < pixels) & (across >= 0) & (across < width) & (down >= 0) & (down < height)
    at = (pixel + (tap // 3 - 1) * width + tap % 3 - 1).to(tl.int64) * channels
    return tl.load(x + at + channel, mask=inside & (channel < channels), other=0.0).to(tl.float32)


@triton.jit
def convolve(
    x,
    w,
    scale,
    shift,
    addend,
    before,
    after,
    raw,
    y,
    pixels,
    height,
    width,
    channels,
    out,
    HAS_SCALE: tl.constexpr,
    HAS_SHIFT: tl.constexpr,
    HAS_ADDEND: tl.constexpr,
    HAS_BEFORE: tl.constexpr,
    HAS_AFTER: tl.constexpr,
    RAW: tl.constexpr,
    Y: tl.constexpr,
    RELU: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Program (pixel block, block of channels after it). w (out, 9, channels)."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    steps = tl.cdiv(channels, DEPTH)
    for step in range(9 * steps):  # one loop over both: unrolled taps would take the shared memory of nine
        tap = step // steps
        c = step % steps * DEPTH + tl.arange(0, DEPTH)
        a = _patch(x, pixel[:, None], tap, c[None, :], pixels, height, width, channels)
        at = (o[:, None] * 9 + tap) * channels + c[None, :]
        b = tl.load(w + at, mask=(o[:, None] < out) & (c[None, :] < channels), other=0.0).to(tl.float32)
        total += tl.dot(a, tl.trans(b), input_precision=PRECISION)
    here = (pixel[:, None] < pixels) & (o[None, :] < out)
    at = pixel[:, None].to(tl.int64) * out + o[None, :]
    if HAS_ADDEND:
        total += tl.load(addend + at, mask=here, other=0.0).to(tl.float32)
    if RAW:
        tl.store(raw + at, total.to(raw.dtype.element_ty), mask=here)
    if Y:
        if HAS_SCALE:
            total = total * tl.load(scale + o, mask=o < out, other=0.0)[None, :]
        if HAS_SHIFT:
            total += tl.load(shift + o, mask=o < out, other=0.0)[None, :]
        if HAS_BEFORE:
            total += tl.load(before + at, mask=here, other=0.0).to(tl.float32)
        if RELU:
            total = tl.where(total < 0.0, 0.0, total)  # a NaN stays one
        if HAS_AFTER:
            total += tl.load(after + at, mask=here, other=0.0).to(tl.float32)
        tl.store(y + at, total.to(y.dtype.element_ty), mask=here)


@triton.jit
def differentiate_weights(
    x,
    dy,
    parts,
    pixels,
    height,
    width,
    channels,
    out,
    split_pixels,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Program (tile of channels after and before, tap, split): parts (splits, out, 9, channels)."""
    columns = tl.cdiv(channels, BLOCK)
    tile = tl.program_id(0)
    tap = tl.program_id(1)
    split = tl.program_id(2)
    o = (tile // columns) * BLOCK + tl.arange(0, BLOCK)
    c = (tile % columns) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    first = split * split_pixels
    last = tl.minimum(first + split_pixels, pixels)
    for start in range(first, last, DEPTH):
        pixel = start + tl.arange(0, DEPTH)
        at = pixel[:, None].to(tl.int64) * out + o[None, :]
        a = tl.load(dy + at, mask=(pixel[:, None] < last) & (o[None, :] < out), other=0.0).to(tl.float32)
        b = _patch(x, pixel[:, None], tap, c[None, :], last, height, width, channels)
        total += tl.dot(tl.trans(a), b, input_precision=PRECISION)
    at = ((split * out + o[:, None]) * 9 + tap).to(tl.int64) * channels + c[None, :]
    tl.store(parts + at, total, mask=(o[:, None] < out) & (c[None, :] < channels))


def _image(x: Tensor, channels: int, wanted: bool) -> Tensor:
    if not wanted:
        return x.new_empty(0)
    batch, _, height, width = x.shape
    return torch.empty(
        (batch, channels, height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )


def _run(
    kernel: Any, grid: tuple[int, ...], given: dict[str, Any], kinds: dict[str, Any], x: Tensor, tf32: bool
) -> None:
    architecture = _launch.architecture_of(x)
    chosen = _launch.configuration(_NAME, "products", architecture)
    exact = x.dtype is not torch.float32 or tf32
    batch, channels, height, width = x.shape
    given |= {"pixels": batch * height * width, "height": height, "width": width, "channels": channels}
    kinds |= {"PRECISION": "tf32" if exact and architecture >= 80 else "ieee"}
    kinds |= {"BLOCK": _TILE, "DEPTH": chosen["depth"]}
    _launch.launch(kernel, grid, given, kinds, chosen["num_warps"])


def run(
    x: Tensor,
    w: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    addend: Tensor | None,
    before: Tensor | None,
    after: Tensor | None,
    relu: bool,
    raw: bool,
    y: bool,
    tf32: bool,
) -> tuple[Tensor, Tensor]:
    """Raw and y, without elements where they are not wanted. Images channels-last, w (out, 9, channels)."""
    out = w.shape[0]
    results = (_image(x, out, raw), _image(x, out, y))
    optional = {"scale": scale, "shift": shift, "addend": addend, "before": before, "after": after}
    given: dict[str, Any] = {"x": x, "w": w}
    given |= {name: x if tensor is None else tensor for name, tensor in optional.items()}
    given |= {"raw": results[0] if raw else x, "y": results[1] if y else x, "out": out}
    kinds: dict[str, Any] = {f"HAS_{name.upper()}": tensor is not None for name, tensor in optional.items()}
    kinds |= {"RAW": raw, "Y": y, "RELU": relu}
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    _run(convolve, (triton.cdiv(pixels, _TILE), triton.cdiv(out, _TILE)), given, kinds, x, tf32)
    return results


def weights(x: Tensor, dy: Tensor, tf32: bool) -> Tensor:
    """Dw (out, 9, channels), float32."""
    out, channels = dy.shape[1], x.shape[1]
    tiles = triton.cdiv(out, _TILE) * triton.cdiv(channels, _TILE)
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    each = triton.cdiv(max(64, triton.cdiv(pixels, max(1, 264 // (9 * tiles)))), 64) * 64
    splits = triton.cdiv(pixels, each)
    parts = x.new_empty((splits, out, 9, channels), dtype=torch.float32)
    given = {"x": x, "dy": dy, "parts": parts, "out": out, "split_pixels": each}
    _run(differentiate_weights, (tiles, 9, splits), given, {}, x, tf32)
    return parts.sum(0)


conv3x3_triton = torch.library.triton_op(
    "spinecore::conv3x3_triton",
    run,
    mutates_args=(),
    schema="(Tensor x, Tensor w, Tensor? scale, Tensor? shift, Tensor? addend, Tensor? before, "
    "Tensor? after, bool relu, bool raw, bool y, bool tf32) -> (Tensor, Tensor)",
)
conv3x3_triton_weights = torch.library.triton_op(
    "spinecore::conv3x3_triton_weights",
    weights,
    mutates_args=(),
    schema="(Tensor x, Tensor dy, bool tf32) -> Tensor",
)
