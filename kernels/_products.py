"""Products of matrices of features in Triton: the twin of csrc/cuda/product.cuh."""

# ruff: noqa: SIM102 - what a constant decides stands apart from what the device decides

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import _launch

TILE = 64


@triton.jit
def _load(matrix, mean, weights, row, column, rows, columns, CENTRED: tl.constexpr, WEIGHTED: tl.constexpr):
    """Rows minus the mean, times their weight; zeros outside, and rows of weight zero whatever they hold."""
    here = (row < rows) & (column < columns)
    if WEIGHTED:
        weight = tl.load(weights + row, mask=row < rows, other=0.0)
        here = here & (weight != 0.0)
    values = tl.load(matrix + row.to(tl.int64) * columns + column, mask=here, other=0.0).to(tl.float32)
    if CENTRED:
        high = tl.load(mean + column, mask=column < columns, other=0.0)
        low = tl.load(mean + columns + column, mask=column < columns, other=0.0)
        values = tl.where(here, (values - high) - low, 0.0)
    if WEIGHTED:
        values = values * weight
    return values


@triton.jit
def multiply(
    left,
    right,
    left_mean,
    right_mean,
    left_weights,
    right_weights,
    scale,
    slopes,
    result,
    sums,
    partner,
    m,
    n,
    k,
    LEFT_ALONG: tl.constexpr,
    RIGHT_ALONG: tl.constexpr,
    LEFT_CENTRED: tl.constexpr,
    RIGHT_CENTRED: tl.constexpr,
    LEFT_WEIGHTED: tl.constexpr,
    RIGHT_WEIGHTED: tl.constexpr,
    TRIANGLE: tl.constexpr,
    KEEP: tl.constexpr,
    WITH_DIAGONAL: tl.constexpr,
    HAS_PARTNER: tl.constexpr,
    SLOPES_LEFT: tl.constexpr,
    SLOPES_RIGHT: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Program: one tile. A factor that lies `along` has its columns beside the result's, its rows are summed
    over; across, the other way round.

    KEEP: result (m, n) = product * scale, mirrored where TRIANGLE; sums (tiles,) of its squares, or of its
    products with `partner`. Else result = product * scale + slopes * (the centred left or right factor,
    whichever has the result's shape); WITH_DIAGONAL false takes a square factor's diagonal as zero.
    """
    i = tl.program_id(0)
    j = tl.program_id(1)
    if TRIANGLE:
        if i > j:
            return
    row = i * BLOCK + tl.arange(0, BLOCK)
    column = j * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, k, DEPTH):
        d = start + tl.arange(0, DEPTH)
        if LEFT_ALONG:
            a = _load(
                left, left_mean, left_weights, d[:, None], row[None, :], k, m, LEFT_CENTRED, LEFT_WEIGHTED
            )
            a = tl.trans(a)
        else:
            a = _load(
                left, left_mean, left_weights, row[:, None], d[None, :], m, k, LEFT_CENTRED, LEFT_WEIGHTED
            )
        if RIGHT_ALONG:
            b = _load(
                right,
                right_mean,
                right_weights,
                d[:, None],
                column[None, :],
                k,
                n,
                RIGHT_CENTRED,
                RIGHT_WEIGHTED,
            )
            if not KEEP:
                if not WITH_DIAGONAL:
                    b = tl.where(d[:, None] == column[None, :], 0.0, b)
        else:
            b = _load(
                right,
                right_mean,
                right_weights,
                column[:, None],
                d[None, :],
                n,
                k,
                RIGHT_CENTRED,
                RIGHT_WEIGHTED,
            )
            b = tl.trans(b)
        total += tl.dot(a, b, input_precision="ieee")
    here = (row[:, None] < m) & (column[None, :] < n)
    at = row[:, None].to(tl.int64) * n + column[None, :]
    total = total * tl.load(scale)
    if KEEP:
        tl.store(result + at, total, mask=here)
        other = tl.load(partner + at, mask=here, other=0.0) if HAS_PARTNER else total
        squares = tl.where(here, total * other, 0.0)
        if not WITH_DIAGONAL:
            squares = tl.where(row[:, None] == column[None, :], 0.0, squares)
        square = tl.sum(tl.sum(squares, 1), 0)
        if TRIANGLE:
            if i < j:
                square = square * 2.0
                mirrored = column[:, None].to(tl.int64) * n + row[None, :]
                tl.store(result + mirrored, tl.trans(total), mask=(column[:, None] < n) & (row[None, :] < m))
        tl.store(sums + i * tl.num_programs(1) + j, square)
    else:
        if SLOPES_LEFT:
            slope = tl.load(slopes + column, mask=column < n, other=0.0)
            own = _load(
                left,
                left_mean,
                left_weights,
                row[:, None],
                column[None, :],
                m,
                n,
                LEFT_CENTRED,
                LEFT_WEIGHTED,
            )
            total += own * slope[None, :]
        if SLOPES_RIGHT:
            slope = tl.load(slopes + column, mask=column < n, other=0.0)
            own = _load(
                right,
                right_mean,
                right_weights,
                row[:, None],
                column[None, :],
                m,
                n,
                RIGHT_CENTRED,
                RIGHT_WEIGHTED,
            )
            total += own * slope[None, :]
        tl.store(result + at, total.to(result.dtype.element_ty), mask=here)


class Factor:
    """A matrix, the two parts of the mean of its columns (2, D) and weights of its rows, if any."""

    def __init__(
        self, matrix: Tensor, along: bool, mean: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        self.matrix, self.along, self.mean, self.weights = matrix, along, mean, weights

    def sizes(self) -> tuple[int, int]:
        """Beside the result, and under the sum."""
        rows, columns = self.matrix.shape
        return (columns, rows) if self.along else (rows, columns)

    def named(self, side: str) -> tuple[dict[str, Tensor], dict[str, bool]]:
        empty = self.matrix
        arguments = {
            side: self.matrix,
            f"{side}_mean": empty if self.mean is None else self.mean,
            f"{side}_weights": empty if self.weights is None else self.weights,
        }
        name = side.upper()
        return arguments, {
            f"{name}_ALONG": self.along,
            f"{name}_CENTRED": self.mean is not None,
            f"{name}_WEIGHTED": self.weights is not None,
        }


def _run(
    operator: str, left: Factor, right: Factor, given: dict[str, Any], constants: dict[str, Any], like: Tensor
) -> None:
    chosen = _launch.configuration(operator, "multiply", _launch.architecture_of(like))
    (m, k), (n, _) = left.sizes(), right.sizes()
    (lefts, left_kind), (rights, right_kind) = left.named("left"), right.named("right")
    sizes = {"m": m, "n": n, "k": k}
    constants = constants | left_kind | right_kind | {"BLOCK": TILE, "DEPTH": chosen["depth"]}
    grid = (triton.cdiv(m, TILE), triton.cdiv(n, TILE))
    _launch.launch(multiply, grid, lefts | rights | given | sizes, constants, chosen["num_warps"])


def kept(
    operator: str,
    left: Factor,
    right: Factor,
    scale: Tensor,
    result: Tensor,
    symmetric: bool = False,
    with_diagonal: bool = True,
    partner: Tensor | None = None,
) -> Tensor:
    """Result = product * scale; the sum of its squares, or of its products with `partner`."""
    m, n = left.sizes()[0], right.sizes()[0]
    sums = torch.zeros(
        (triton.cdiv(m, TILE), triton.cdiv(n, TILE)), dtype=torch.float32, device=result.device
    )
    given = {"scale": scale, "slopes": scale, "result": result, "sums": sums}
    given["partner"] = result if partner is None else partner
    constants = {"TRIANGLE": symmetric, "KEEP": True, "WITH_DIAGONAL": with_diagonal}
    constants |= {"HAS_PARTNER": partner is not None, "SLOPES_LEFT": False, "SLOPES_RIGHT": False}
    _run(operator, left, right, given, constants, result)
    return sums.sum(dtype=torch.float64)


def gradient(
    operator: str,
    left: Factor,
    right: Factor,
    scale: Tensor,
    result: Tensor,
    slopes: Tensor | None = None,
    with_diagonal: bool = True,
) -> None:
    """Result = product * scale + slopes * the centred factor that has the result's shape."""
    given = {"scale": scale, "slopes": scale if slopes is None else slopes, "result": result}
    given |= {"sums": scale, "partner": scale}
    constants = {"TRIANGLE": False, "KEEP": False, "WITH_DIAGONAL": with_diagonal, "HAS_PARTNER": False}
    constants["SLOPES_LEFT"] = slopes is not None and left.mean is not None
    constants["SLOPES_RIGHT"] = slopes is not None and right.mean is not None
    _run(operator, left, right, given, constants, result)
