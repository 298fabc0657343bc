"""Covariance penalty: the native kernels against PyTorch eager, torch.compile and hand-written autograd
functions, forward + backward.

python benchmarks/covariance_decorrelation.py            one table, variants in turns on one thread's CPU time
pytest benchmarks/covariance_decorrelation.py            the same variants under pytest-benchmark
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from interleaved import keep_memory, time_in_turns

from spinecore import ops

SHAPES = [
    (256, 1024),
    (256, 256),
    (512, 512),
    (1024, 1024),
    (4096, 64),
    (4096, 512),
    (8192, 256),
    (8192, 1024),
]
GAMMA, EPS = 1.0, 1e-4
Loss = Callable[[Tensor], Tensor]
Call = Callable[[], object]


def plain(z: Tensor) -> Tensor:
    """VICReg's covariance and variance terms as one writes them."""
    rows, width = z.shape
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (rows - 1)
    variance = covariance.diagonal()
    off_diagonal = (covariance.square().sum() - variance.square().sum()) / width
    return off_diagonal + torch.relu(GAMMA - torch.sqrt(variance + EPS)).mean()


def plain_gram(z: Tensor) -> Tensor:
    """The same from the Gram matrix of the rows."""
    rows, width = z.shape
    centred = z - z.mean(0)
    gram = centred @ centred.T / (rows - 1)
    variance = centred.square().sum(0) / (rows - 1)
    off_diagonal = (gram.square().sum() - variance.square().sum()) / width
    return off_diagonal + torch.relu(GAMMA - torch.sqrt(variance + EPS)).mean()


class Covariance(torch.autograd.Function):
    """Two products of 2 B D^2 operations, the gradient by hand."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        rows, width = z.shape
        centred = z - z.mean(0)
        covariance = (centred.T @ centred).div_(rows - 1)
        deviation = torch.sqrt(covariance.diagonal() + EPS)
        covariance.fill_diagonal_(0)
        ctx.save_for_backward(centred, covariance, deviation)
        return covariance.square().sum() / width + torch.relu(GAMMA - deviation).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        centred, covariance, deviation = ctx.saved_tensors
        rows, width = centred.shape
        covariance.diagonal().copy_(torch.where(deviation < GAMMA, -0.25 / deviation, 0.0))
        return (centred @ covariance).mul_(grad * 4 / (width * (rows - 1)))


class Gram(torch.autograd.Function):
    """The Gram form: two products of 2 B^2 D operations."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        rows, width = z.shape
        centred = z - z.mean(0)
        gram = (centred @ centred.T).div_(rows - 1)
        variance = centred.square().sum(0).div_(rows - 1)
        deviation = torch.sqrt(variance + EPS)
        ctx.save_for_backward(centred, gram, variance, deviation)
        off_diagonal = (gram.square().sum() - variance.square().sum()) / width
        return off_diagonal + torch.relu(GAMMA - deviation).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        centred, gram, variance, deviation = ctx.saved_tensors
        rows, width = centred.shape
        own = torch.where(deviation < GAMMA, -0.25 / deviation, 0.0) - variance
        return (gram @ centred).addcmul_(centred, own).mul_(grad * 4 / (width * (rows - 1)))


def ours(z: Tensor) -> Tensor:
    off_diagonal, hinge = ops.covariance_penalty(z, None, GAMMA, EPS)
    return off_diagonal + hinge


def reference(z: Tensor) -> Tensor:
    off_diagonal, hinge = ops.covariance_penalty(z, None, GAMMA, EPS, backend="reference")
    return off_diagonal + hinge


def features(shape: tuple[int, int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows with a common part, and a mean."""
    torch.manual_seed(0)
    rows, width = shape
    z = torch.randn(rows, width) + 0.3 * torch.randn(rows, 1) + 0.5
    return z.to(dtype).requires_grad_()


def forward_backward(loss: Loss, z: Tensor, precision: str) -> Call:
    def call() -> Tensor:
        torch.set_float32_matmul_precision(precision)
        (gradient,) = torch.autograd.grad(loss(z), [z])
        torch.set_float32_matmul_precision("highest")
        return gradient

    return call


PEERS: dict[str, tuple[Loss, str]] = {
    "eager": (plain, "highest"),
    "eager medium": (plain, "medium"),
    "gram eager medium": (plain_gram, "medium"),
    "compile": (plain, "highest"),
    "compile medium": (plain, "medium"),
    "Function": (Covariance.apply, "highest"),
    "Function medium": (Covariance.apply, "medium"),
    "gram Function": (Gram.apply, "highest"),
    "gram Function medium": (Gram.apply, "medium"),
    "reference": (reference, "medium"),
    "spinecore": (ours, "highest"),
}


def variants(shape: tuple[int, int], names: list[str]) -> dict[str, Call]:
    """The compiler sees one shape at a time, as it likes best. The Gram form where it may pay."""
    torch.compiler.reset()
    z = features(shape)
    calls: dict[str, Call] = {}
    for name in names:
        loss, precision = PEERS[name]
        if "gram" in name and shape[0] > shape[1]:
            continue
        if name.startswith("compile"):
            loss = torch.compile(loss, dynamic=False)
        calls[name] = forward_backward(loss, z, precision)
    return calls


def operations(shape: tuple[int, int]) -> float:
    """Of the cheaper form: one triangle forward, a whole product backward."""
    rows, width = shape
    return 3.0 * rows * width * min(rows, width)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("variant", PEERS)
def test_covariance_penalty(benchmark: Any, shape: tuple[int, int], variant: str) -> None:
    torch.set_num_threads(1)
    keep_memory()
    calls = variants(shape, [variant])
    if not calls:
        pytest.skip("the Gram form costs more than the covariance here")
    benchmark.group = str(shape)
    benchmark(calls[variant])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default="", help="indices, as 0,3,5; all by default")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    chosen = [SHAPES[int(i)] for i in options.shapes.split(",")] if options.shapes else SHAPES
    names = [name for name in PEERS if not (options.no_compile and name.startswith("compile"))]
    side = 1024
    matrix = torch.randn(side, side)

    def product() -> Tensor:
        torch.set_float32_matmul_precision("medium")
        result = matrix @ matrix
        torch.set_float32_matmul_precision("highest")
        return result

    ratios = []
    print("forward + backward, ms of CPU time, one thread, float32")
    for shape in chosen:
        calls = variants(shape, names)
        seconds = time_in_turns({**calls, "medium product": product}, options.rounds)
        rate = 2.0 * side**3 / seconds.pop("medium product")
        mine = seconds["spinecore"]
        best, name = min((value, key) for key, value in seconds.items() if key != "spinecore")
        ratios.append(best / mine)
        cells = "  ".join(f"{key} {1e3 * value:.3f}" for key, value in seconds.items())
        share = operations(shape) / mine / 1e9
        print(f"{shape!s:13} {cells}")
        print(
            f"{'':13} best peer ({name}) / ours = {best / mine:.2f}; {share:.0f} GF/s, "
            f"oneDNN's product of {side} in the same run {rate / 1e9:.0f} GF/s",
            flush=True,
        )
    print(f"geometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    main()
