"""Triton's interpreter with a guard: lanes out of bounds, and two writes to one address, are errors.

The interpreter alone writes out of bounds without a word and runs programs one after another. Import this
with TRITON_INTERPRET=1 set and before any kernel.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import triton.runtime.interpreter as triton_interpreter


class OutOfBounds(AssertionError):  # noqa: N818 - says what happened
    """A lane that is not masked out reads or writes outside of every known tensor."""


class Race(AssertionError):  # noqa: N818
    """Two lanes of one store, or two programs, write to one address."""


_starts: list[int] = []
_ends: list[int] = []
_writers: dict[int, Any] = {}
_builder = triton_interpreter.InterpreterBuilder
_load, _store = _builder.create_masked_load, _builder.create_masked_store
_patch_tensor = triton_interpreter._patch_lang_tensor


def _with_index(tensor: Any, scope: Any) -> None:
    """Bounds of loops: Triton 3.6 asks newer NumPy in vain for the only element of an array."""
    _patch_tensor(tensor, scope)
    tensor.__index__ = lambda self: int(self.handle.data.squeeze())


triton_interpreter._patch_lang_tensor = _with_index


@contextmanager
def guarded(*tensors: torch.Tensor) -> Iterator[None]:
    """One launch may touch these tensors only."""
    ranges = sorted((t.data_ptr(), t.data_ptr() + t.untyped_storage().nbytes()) for t in tensors)
    _starts[:], _ends[:] = [r[0] for r in ranges], [r[1] for r in ranges]
    _writers.clear()
    _builder.create_masked_load, _builder.create_masked_store = _guarded_load, _guarded_store
    try:
        yield
    finally:
        _builder.create_masked_load, _builder.create_masked_store = _load, _store


def _lanes(pointers: Any, mask: Any) -> tuple[list[int], int]:
    """Addresses of the lanes that are not masked out, and the bytes of one."""
    addresses = np.asarray(pointers.data).astype(np.uint64).ravel()
    if mask is not None:
        addresses = addresses[
            np.broadcast_to(np.asarray(mask.data).astype(bool), pointers.data.shape).ravel()
        ]
    bits = pointers.dtype.scalar.element_ty.primitive_bitwidth
    return [int(address) for address in addresses], max(1, bits // 8)


def _check(what: str, addresses: list[int], size: int, program: Any) -> None:
    for address in addresses:
        at = bisect.bisect_right(_starts, address) - 1
        if at < 0 or address + size > _ends[at]:
            raise OutOfBounds(f"a {what} of program {program} lies outside of every tensor of the launch")


def _guarded_load(self: Any, pointers: Any, mask: Any, *rest: Any, **named: Any) -> Any:
    _check("load", *_lanes(pointers, mask), triton_interpreter.interpreter_builder.grid_idx)
    return _load(self, pointers, mask, *rest, **named)


def _guarded_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
    program = triton_interpreter.interpreter_builder.grid_idx
    addresses, size = _lanes(pointers, mask)
    _check("store", addresses, size, program)
    if len(set(addresses)) != len(addresses):
        raise Race(f"two lanes of program {program} store to one address")
    for address in addresses:
        other = _writers.setdefault(address, program)
        if other != program:
            raise Race(f"programs {other} and {program} both store to one address")
    return _store(self, pointers, value, mask, *rest, **named)
