"""What is measured: cases, the ways to compute each, the work in them and the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Shape = tuple[int, ...]
Call = Callable[[], Any]
Inputs = Callable[[], list[Any]]

Kind = Literal["ours", "peer", "context"]
OURS: Kind = "ours"
PEER: Kind = "peer"
CONTEXT: Kind = "context"


class Unavailable(RuntimeError):  # noqa: N818 - reads as what it says
    """A variant that cannot run here; the message is its reason, which the results keep."""


@dataclass(frozen=True)
class Variant:
    """One way to compute a case.

    Attributes:
        build: Makes everything ready and returns the call that is timed, whose result (a tensor, an array or
            a sequence of them) is compared with the case's expected one.
        kind: ``ours`` and ``peer`` enter the ratio, each with its best; ``context`` is timed beside them.
        family: Under which heading the table shows it (eager, compile, ...).
        tolerance: Its own, where it is known to compute in less precision than the case asks for.

    """

    build: Callable[[], Call]
    kind: Kind
    family: str
    tolerance: float = 0.0


@dataclass(frozen=True)
class Problem:
    """One shape of a case. Nothing is drawn or computed before ``expected`` or a variant's ``build`` runs.

    ``expected`` gives the results in double precision, of the operator's reference.
    """

    variants: Mapping[str, Variant]
    expected: Callable[[], Sequence[Tensor]]


@dataclass(frozen=True)
class Work:
    """What any implementation must do at least, as the table's limit counts it.

    Either ``flops`` at the multiply-add peak, or tensors of ``tensor_bytes`` each, read ``reads`` times and
    written ``writes`` times, at the speed at which this machine reads and copies a tensor of that size.
    """

    flops: float = 0.0
    tensor_bytes: int = 0
    reads: int = 0
    writes: int = 0

    @property
    def amount(self) -> float:
        """Operations, or bytes that move; to compare the shapes of a case."""
        return self.flops + self.tensor_bytes * (self.reads + self.writes)

    @property
    def limit(self) -> str:
        """``traffic`` or ``fma``."""
        return "traffic" if self.tensor_bytes else "fma"


@dataclass(frozen=True)
class Target:
    """Wanted ratio to the best peer, on every shape and as the geometric mean; None where there is none."""

    every: float | None = None
    mean: float | None = None


@dataclass(frozen=True)
class Case:
    """One row group of the table: an operator in one direction and one dtype, over its shapes.

    Attributes:
        operator: The stem of the operator's files; what ``ONLY=`` and ``spinecore bench`` select by.
        name: Direction and dtype, unique within the operator.
        axes: What the numbers of a shape mean.
        shapes: Every shape.
        problem: The variants of a shape.
        work: The least work of a shape.
        tolerance: Largest relative L2 error a variant may have and still count.
        target: The ratios wanted.
        against: The peers' best settings in words.

    """

    operator: str
    name: str
    axes: str
    shapes: tuple[Shape, ...]
    problem: Callable[[Shape], Problem]
    work: Callable[[Shape], Work]
    tolerance: float
    target: Target
    against: str

    @property
    def quick_shape(self) -> Shape:
        """The one with the least work."""
        return min(self.shapes, key=lambda shape: self.work(shape).amount)


def results_of(value: Any) -> list[Tensor]:
    """The tensors of a result: a tensor, an array, or nested sequences of them; None is left out."""
    if value is None:
        return []
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in results_of(item)]
    return [value.detach() if isinstance(value, Tensor) else torch.as_tensor(value)]


def relative_error(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest relative L2 error of corresponding results; infinite where one is missing or not finite."""
    if len(actual) != len(expected):
        return float("inf")
    worst = 0.0
    for got, wanted in zip(actual, expected, strict=True):
        if tuple(got.shape) != tuple(wanted.shape) or not bool(torch.isfinite(got).all()):
            return float("inf")
        error = float((got.double() - wanted).norm() / wanted.norm().clamp_min(1e-300))
        worst = max(worst, error)
    return worst
