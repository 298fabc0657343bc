"""Runs of prepared forms recorded for one shape, and repeated without Python between their kernels.

A form runs its kernels through :func:`run`, in memory of :func:`image` and :func:`room`. While
:class:`Recording` is entered nothing is computed: the calls are noted, and the memory they need is laid
out in one arena in which images take the place of those nobody reads any more.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spinecore import _native

_ALIGNMENT = 16
"""Floats: a cache line."""


class NotFinite(ArithmeticError):  # noqa: N818 - reads as what it says
    """A result holds NaN or infinity, which Winograd's transform would have spread: compute it otherwise."""


Call = tuple["str | Callable[..., object]", tuple[Any, ...]]


class _Stage(NamedTuple):
    calls: tuple[Call, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor | None, ...]


@dataclass
class _Buffer:
    """Memory of a recording: its size in floats, and the first and last call that touch it."""

    size: int
    first: int
    last: int


class _Thread(threading.local):
    recording: Recording | None = None


_thread = _Thread()


def _allocate(shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    # Explicit: torch.set_default_dtype and set_default_device must not change what the core is given.
    memory = torch.empty_strided(shape, strides, dtype=torch.float32, device="cpu")
    if _thread.recording is not None:
        _thread.recording.own(memory)
    return memory


def image(n: int, channels: int, height: int, width: int) -> Tensor:
    """Memory for a channels-last image (N, C, H, W), float32."""
    return _allocate((n, channels, height, width), (height * width * channels, 1, width * channels, channels))


def room(size: int) -> Tensor:
    """Memory for `size` floats."""
    return _allocate((size,), (1,))


def workspace(function: str, *args: Any) -> Tensor:
    """Memory of the size that a function of the core answers."""
    return room(getattr(_native.core(), function)(*args))


def run(function: str | Callable[..., object], *args: Any) -> None:
    """Make a call now, or note it: a function of the core by name, or one that writes into tensors it is
    given.

    Raises:
        NotFinite: the core's function says so.

    """
    if _thread.recording is not None:
        _thread.recording.calls.append((function, args))
    elif not isinstance(function, str):
        function(*args)
    elif not getattr(_native.core(), function)(*args):
        raise NotFinite


def _tensors(args: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in args:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(_tensors(value))
    return found


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Recording:
    """Notes the calls of this thread while it is entered; then :meth:`plan` makes them repeatable."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._stages: list[_Stage] = []
        # Alive until the plans are made: two at one address would be one.
        self._owned: list[Tensor] = []

    def __enter__(self) -> Recording:
        _thread.recording = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _thread.recording = None

    def own(self, memory: Tensor) -> None:
        """Memory whose contents matter to the recorded calls alone."""
        if memory.numel():
            self._owned.append(memory)

    def stage(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor | None]) -> None:
        """End a stage: what was recorded since the last one, to be run by a plan of its own.

        Args:
            inputs: of :func:`image` or :func:`room`, filled before every run.
            outputs: tensors that the calls write, or None.

        """
        self._stages.append(_Stage(tuple(self.calls), tuple(inputs), tuple(outputs)))
        self.calls.clear()

    def plan(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor | None]) -> Plan:
        """The recorded calls on an arena of their own; `inputs` and `outputs` as in :meth:`stage`."""
        self.stage(inputs, outputs)
        (plan,) = self.plans()
        return plan

    def plans(self) -> list[Plan]:
        """One plan a stage, on one arena: a later one may read what the earlier ones wrote, and has to run
        after them.
        """
        buffers = self._live()
        offsets, size = _layout(list(buffers.values()))
        places = dict(zip(buffers, offsets, strict=True))
        arena = torch.empty(size, dtype=torch.float32, device="cpu")

        def moved(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return type(value)(moved(part) for part in value)
            if not isinstance(value, Tensor) or (place := places.get(_address(value))) is None:
                return value
            return arena.as_strided(value.shape, value.stride(), place + value.storage_offset())

        return [
            Plan([(f, moved(args)) for f, args in stage.calls], moved(stage.inputs), moved(stage.outputs))
            for stage in self._stages
        ]

    def _live(self) -> dict[int, _Buffer]:
        sizes = {_address(memory): memory.untyped_storage().nbytes() // 4 for memory in self._owned}
        touched = (
            args
            for stage in self._stages
            for args in (stage.inputs, *(args for _, args in stage.calls), stage.outputs)
        )
        buffers: dict[int, _Buffer] = {}
        for when, args in enumerate(touched):
            for tensor in _tensors(args):
                at = _address(tensor)
                if at in sizes:
                    buffers.setdefault(at, _Buffer(sizes[at], when, when)).last = when
        return buffers


def _layout(buffers: Sequence[_Buffer]) -> tuple[list[int], int]:
    """Offsets of the buffers, which come in the order of their first use, and the size of all: each gets the
    lowest place that is free.
    """
    offsets: list[int] = []
    taken: list[tuple[int, int, int]] = []  # begin, end, last reader: of what is still read, by place
    size = 0
    for buffer in buffers:
        taken = [one for one in taken if one[2] >= buffer.first]
        place = 0
        for begin, end, _ in taken:
            if begin - place >= buffer.size:
                break
            place = -(-end // _ALIGNMENT) * _ALIGNMENT
        insort(taken, (place, place + buffer.size, buffer.last))
        offsets.append(place)
        size = max(size, place + buffer.size)
    return offsets, size


class Plan:
    """Recorded calls that can be repeated. One thread at a time: :meth:`run` answers None to a second one."""

    def __init__(
        self,
        calls: Sequence[Call],
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor | None, ...],
    ) -> None:
        self._inputs, self._outputs = inputs, outputs
        self._tensors = [args for _, args in calls]  # programs hold addresses only
        self._parts: list[Callable[[], Any]] = []
        self._busy = threading.Lock()
        program: Any = None
        for function, args in calls:
            if not isinstance(function, str):
                program = None
                self._parts.append(_bound(function, args))
                continue
            if program is None:
                program = _native.core().Program()
                self._parts.append(_checked(program))
            getattr(program, function)(*args)

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor | None, ...] | None:
        """Fresh outputs for these inputs; None while another thread runs the plan.

        Raises:
            NotFinite: as :func:`run`.

        """
        if not self._busy.acquire(blocking=False):
            return None
        try:
            with torch.no_grad():
                for kept, given in zip(self._inputs, inputs, strict=True):
                    kept.copy_(given)
                for part in self._parts:
                    part()
                return tuple(None if output is None else output.clone() for output in self._outputs)
        finally:
            self._busy.release()


def _bound(function: Callable[..., object], args: tuple[Any, ...]) -> Callable[[], object]:
    return lambda: function(*args)


def _checked(program: Any) -> Callable[[], None]:
    def run_program() -> None:
        if not program.run():
            raise NotFinite

    return run_program
