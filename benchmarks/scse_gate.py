"""scSE gate: the native kernel against PyTorch eager and torch.compile, forward and forward + backward.

python benchmarks/scse_gate.py            one table, variants in turns on one thread's CPU time
pytest benchmarks/scse_gate.py            the same variants under pytest-benchmark
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from interleaved import keep_memory, time_in_turns

from spinecore import ops

SHAPES = [
    (1, 64, 256, 256),
    (1, 128, 128, 128),
    (1, 32, 512, 256),
    (1, 16, 512, 256),
    (1, 256, 64, 64),
    (4, 64, 128, 128),
]
Gate = Callable[..., Tensor]
Call = Callable[[], object]


def plain(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, ws: Tensor, bs: Tensor) -> Tensor:
    """The gate as one writes it in a model."""
    channel = torch.sigmoid(F.linear(F.relu(F.linear(x.mean((2, 3)), w1, b1)), w2, b2))
    spatial = torch.sigmoid(F.conv2d(x, ws.view(1, -1, 1, 1), bs))
    return x * channel[:, :, None, None] + x * spatial


def arguments(
    shape: tuple[int, ...], channels_last: bool, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    torch.manual_seed(0)
    c, r = shape[1], shape[1] // 8
    x = torch.randn(shape, dtype=dtype).contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
    draw = [
        torch.randn(r, c) / c**0.5,
        torch.randn(r),
        torch.randn(c, r),
        torch.randn(c),
        torch.randn(c) / c**0.5,
        torch.randn(1),
    ]
    return [x, *(parameter.to(dtype) for parameter in draw)]


def forward(gate: Gate, given: list[Tensor]) -> Call:
    def call() -> Tensor:
        with torch.no_grad():
            return gate(*given)

    return call


def forward_backward(gate: Gate, given: list[Tensor]) -> Call:
    leaves = [tensor.clone().requires_grad_() for tensor in given]
    gradient = torch.randn_like(given[0])
    return lambda: torch.autograd.grad(gate(*leaves), leaves, gradient)


def variants(
    shape: tuple[int, ...], direction: Callable[[Gate, list[Tensor]], Call], dtype: torch.dtype
) -> dict[str, Call]:
    """Peers in both layouts, and ours. The compiler sees one shape at a time, as it likes best."""
    torch.compiler.reset()
    calls: dict[str, Call] = {}
    for layout, channels_last in (("nchw", False), ("nhwc", True)):
        given = arguments(shape, channels_last, dtype)
        calls[f"eager {layout}"] = direction(plain, given)
        calls[f"compile {layout}"] = direction(torch.compile(plain, dynamic=False), given)
        ours = arguments(shape, channels_last, dtype)
        calls[f"spinecore {layout}"] = direction(ops.scse_gate, [ours[0], *(p.float() for p in ours[1:])])
    return calls


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("direction", [forward, forward_backward], ids=lambda function: function.__name__)
@pytest.mark.parametrize(
    "variant",
    ["eager nchw", "eager nhwc", "compile nchw", "compile nhwc", "spinecore nchw", "spinecore nhwc"],
)
def test_scse_gate(
    benchmark: object, shape: tuple[int, ...], direction: Callable[..., Call], variant: str
) -> None:
    torch.set_num_threads(1)
    keep_memory()
    benchmark.group = f"{direction.__name__} {shape}"  # type: ignore[attr-defined]
    benchmark(variants(shape, direction, torch.float32)[variant])  # type: ignore[operator]


def main() -> None:
    torch.set_num_threads(1)
    keep_memory()
    for dtype in (torch.float32, torch.bfloat16):
        for direction in (forward, forward_backward):
            print(f"\n{direction.__name__} {dtype}: ms of CPU time, one thread")
            for shape in SHAPES:
                seconds = time_in_turns(variants(shape, direction, dtype))
                best = min(value for name, value in seconds.items() if not name.startswith("spinecore"))
                ours = min(value for name, value in seconds.items() if name.startswith("spinecore"))
                cells = "  ".join(f"{name} {1e3 * value:.2f}" for name, value in seconds.items())
                print(f"{shape!s:20} {cells}  | best peer / best ours = {best / ours:.2f}", flush=True)


if __name__ == "__main__":
    main()
