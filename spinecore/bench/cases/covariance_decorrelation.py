"""The covariance penalty, forward + backward, as VICReg trains with it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from spinecore import ops
from spinecore.bench.case import Case, Problem, Shape, Target, Variant, Work
from spinecore.bench.cases.images import double, drawn_once
from spinecore.bench.peers import forward_backward, medium, ours, training

GAMMA, EPS = 1.0, 1e-4
SHAPES: tuple[Shape, ...] = (
    (256, 1024),
    (256, 256),
    (512, 512),
    (1024, 1024),
    (4096, 64),
    (4096, 512),
    (8192, 256),
    (8192, 1024),
)


def plain(z: Tensor) -> Tensor:
    """VICReg's covariance and variance terms as one writes them."""
    rows, width = z.shape
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (rows - 1)
    variance = covariance.diagonal()
    off_diagonal = (covariance.square().sum() - variance.square().sum()) / width
    return off_diagonal + torch.relu(GAMMA - torch.sqrt(variance + EPS)).mean()


def plain_gram(z: Tensor) -> Tensor:
    """The same from the Gram matrix of the rows, which is cheaper where there are fewer rows than columns."""
    rows, width = z.shape
    centred = z - z.mean(0)
    gram = centred @ centred.T / (rows - 1)
    variance = centred.square().sum(0) / (rows - 1)
    off_diagonal = (gram.square().sum() - variance.square().sum()) / width
    return off_diagonal + torch.relu(GAMMA - torch.sqrt(variance + EPS)).mean()


class Covariance(torch.autograd.Function):
    """Two products of 2 B D^2 operations, the gradient by hand."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:  # noqa: D102
        rows, width = z.shape
        centred = z - z.mean(0)
        covariance = (centred.T @ centred).div_(rows - 1)
        deviation = torch.sqrt(covariance.diagonal() + EPS)
        covariance.fill_diagonal_(0)
        ctx.save_for_backward(centred, covariance, deviation)
        return covariance.square().sum() / width + torch.relu(GAMMA - deviation).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: D102
        centred, covariance, deviation = ctx.saved_tensors
        rows, width = centred.shape
        covariance.diagonal().copy_(torch.where(deviation < GAMMA, -0.25 / deviation, 0.0))
        gradient: Tensor = (centred @ covariance).mul_(grad * 4 / (width * (rows - 1)))
        return gradient


class Gram(torch.autograd.Function):
    """The Gram form: two products of 2 B^2 D operations."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:  # noqa: D102
        rows, width = z.shape
        centred = z - z.mean(0)
        gram = (centred @ centred.T).div_(rows - 1)
        variance = centred.square().sum(0).div_(rows - 1)
        deviation = torch.sqrt(variance + EPS)
        ctx.save_for_backward(centred, gram, variance, deviation)
        off_diagonal = (gram.square().sum() - variance.square().sum()) / width
        return off_diagonal + torch.relu(GAMMA - deviation).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: D102
        centred, gram, variance, deviation = ctx.saved_tensors
        rows, width = centred.shape
        own = torch.where(deviation < GAMMA, -0.25 / deviation, 0.0) - variance
        gradient: Tensor = (gram @ centred).addcmul_(centred, own).mul_(grad * 4 / (width * (rows - 1)))
        return gradient


def _ours(z: Tensor, backend: str | None = None) -> Tensor:
    off_diagonal, hinge = ops.covariance_penalty(z, None, GAMMA, EPS, backend=backend)
    return off_diagonal + hinge


@drawn_once
def _drawn(shape: Shape) -> list[Tensor]:
    """Rows with a common part, and a mean."""
    rows, width = shape
    return [torch.randn(rows, width) + 0.3 * torch.randn(rows, 1) + 0.5]


def _problem(shape: Shape) -> Problem:
    inputs = partial(_drawn, shape)
    theirs = training(plain, inputs)
    theirs |= _by_hand("hand-written Function", Covariance, shape)
    if shape[0] <= shape[1]:
        theirs |= training(plain_gram, inputs, family="gram", compiled=False)
        theirs |= _by_hand("hand-written gram Function", Gram, shape)
    variants = ours(_ours, inputs, backward=True) | theirs | medium(theirs)
    exact = partial(_ours, backend="reference")
    return Problem(variants, lambda: forward_backward(exact, lambda: double(inputs()))())


def _by_hand(name: str, function: type[torch.autograd.Function], shape: Shape) -> dict[str, Variant]:
    build = partial(forward_backward, function.apply, partial(_drawn, shape))
    return {name: Variant(build, "peer", "hand-written")}


def _work(shape: Shape) -> Work:
    """Of the cheaper form: one triangle forward, a whole product backward."""
    rows, width = shape
    return Work(flops=3.0 * rows * width * min(rows, width))


CASES = [
    Case(
        operator="covariance_decorrelation",
        name="covariance_penalty forward + backward float32",
        axes="B,D",
        shapes=SHAPES,
        problem=_problem,
        work=_work,
        tolerance=1e-3,
        target=Target(1.3, 1.6),
        against=(
            "eager, compile, the Gram form, autograd functions written by hand, each at 'highest' and "
            "'medium' matmul precision"
        ),
    ),
]
