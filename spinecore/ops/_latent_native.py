"""What the native kernels of both latent poolings ask of their arguments: float32 parameters whose heads and
widths are padded to multiples of 16, so that vectors of every instruction set fit.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import _native
from spinecore.backends import Call, Verdict

_LANES = 16


def _up(size: int) -> int:
    return -(-size // _LANES) * _LANES


def new(*shape: int) -> Tensor:
    """Explicit: torch.set_default_dtype and set_default_device must not change what the core is given."""
    return torch.empty(shape, dtype=torch.float32, device="cpu")


@lru_cache(maxsize=1)
def absent() -> Tensor:
    """What the core takes for an optional argument that is not there."""
    return new(0)


def plain(tensor: Tensor) -> Tensor:
    """float32 and contiguous."""
    if tensor.dtype is torch.float32 and tensor.is_contiguous():  # nearly always, and two calls less
        return tensor
    return tensor.to(torch.float32).contiguous()


def optional(tensor: Tensor | None) -> Tensor:
    """The same for an argument that may be absent; a mask becomes zeros and ones."""
    return absent() if tensor is None else plain(tensor)


class Padding:
    """Pads tables (R, D) and projections (D, D) of one call, and takes the padding off results."""

    def __init__(self, width: int, heads: int) -> None:
        self.width, self.heads, self.head = width, heads, width // heads
        self.padded_head = _up(self.head)
        self.padded, self.inner = _up(width), heads * self.padded_head
        self.none = self.head == self.padded_head
        self.extra, self.extra_head = self.padded - width, self.padded_head - self.head

    def table(self, table: Tensor) -> Tensor:
        """(..., D) with zero columns."""
        table = plain(table)
        return table if self.extra == 0 else F.pad(table, (0, self.extra))

    def by_head(self, projection: Tensor) -> Tensor:
        """(..., D), its columns belonging to heads, each with zero columns."""
        projection = plain(projection)
        if self.none:
            return projection
        apart = projection.reshape(*projection.shape[:-1], self.heads, self.head)
        return F.pad(apart, (0, self.extra_head)).flatten(-2)

    def columns(self, projection: Tensor) -> Tensor:
        """(D, D) as wq, wk and wv: columns by head, zero rows below."""
        projection = self.by_head(projection)
        return projection if self.none else F.pad(projection, (0, 0, 0, self.extra))

    def rows(self, projection: Tensor) -> Tensor:
        """(D, D) as wo: rows by head, zero columns."""
        projection = plain(projection)
        return projection if self.none else self.columns(projection.T.contiguous()).T.contiguous()

    def take_table(self, table: Tensor) -> Tensor:
        """Without the columns of :meth:`table`."""
        return table if self.extra == 0 else table[..., : self.width].contiguous()

    def take_by_head(self, tensor: Tensor) -> Tensor:
        """Without the columns of :meth:`by_head`."""
        if self.none:
            return tensor
        apart = tensor.reshape(*tensor.shape[:-1], self.heads, self.padded_head)
        return apart[..., : self.head].flatten(-2).contiguous()

    def take_columns(self, projection: Tensor) -> Tensor:
        """Without the padding of :meth:`columns`."""
        return projection if self.none else self.take_by_head(projection)[: self.width]

    def take_rows(self, projection: Tensor) -> Tensor:
        """Without the padding of :meth:`rows`."""
        return projection if self.none else self.take_columns(projection.T).T.contiguous()


_RUNS = Verdict(True, "vectorised C++ kernel, float32 sums, keys and values never in memory")
_BASELINE = Verdict(
    False,
    "only the baseline instruction set is used here (no AVX2, or SPINECORE_CPU_ISA), and torch "
    "multiplies faster",
)


def can_run(call: Call) -> Verdict:
    """float32 and bfloat16 of any size but zero; strides that are not dense cost a copy."""
    if call.dtype is not torch.float32 and call.dtype is not torch.bfloat16:
        dtype = str(call.dtype).removeprefix("torch.")
        return Verdict(False, f"the native kernel computes float32 and bfloat16, not {dtype}")
    if 0 in call.shape:
        return Verdict(False, "x has no elements, there is nothing to vectorise")
    return _RUNS


def worthwhile(_call: Call) -> Verdict:
    """Not on the baseline instruction set."""
    return _BASELINE if _native.core().selected_isa() == "baseline" else _RUNS
