"""The images of a tape, and the tape: who made them, and what their gradients are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from spinecore.nn.members import NotPreparable
from spinecore.ops.recording import image, room, run

Functions = Mapping[Any, Callable[..., Any]]
"""From a function of PyTorch to its form on values."""
Units = Mapping[type[nn.Module], Callable[[Any, "Value"], "Value"]]
"""From a class of modules to its form; exactly that class, a subclass may do anything."""


class Value:
    """An image (N, C, H, W) on a tape, float32 and channels-last, that `needs` a gradient or not."""

    def __init__(self, tape: Tape, data: Tensor, needs: bool = True) -> None:
        self.tape, self.data, self.needs = tape, data, needs
        self.shape, self.dtype, self.device = data.shape, data.dtype, data.device

    def dim(self) -> int:
        """As of a tensor."""
        return self.data.dim()

    def numel(self) -> int:
        """As of a tensor."""
        return self.data.numel()

    def detach(self) -> Value:
        """The same image, through which no gradient flows."""
        return Value(self.tape, self.data, needs=False)

    def to(self, dtype: torch.dtype) -> Value:
        """Itself: a tape holds float32 only."""
        if dtype is not self.dtype:
            raise NotPreparable(f"a conversion to {dtype} has no form on a tape")
        return self

    def chunk(self, chunks: int, dim: int = 0) -> Any:
        """As of a tensor."""
        return self.tape.call(torch.chunk, self, chunks, dim)

    def __add__(self, other: object) -> Any:
        return self.tape.call(torch.add, self, other)

    def __mul__(self, other: object) -> Any:
        return self.tape.call(torch.mul, self, other)

    def through(self, module: nn.Module) -> Any:
        """What `module` makes of it."""
        unit = self.tape.units.get(type(module))
        if unit is None:
            raise NotPreparable(f"{type(module).__name__} has no form on a tape")
        return unit(module, self)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = [*args, *(kwargs or {}).values()]
        value = next(x for part in given for x in (part if isinstance(part, (list, tuple)) else [part]))
        if not isinstance(value, cls):
            raise NotPreparable(f"{func} of {type(value).__name__} has no form on a tape")
        return value.tape.call(func, *args, **(kwargs or {}))


def on_tape(x: object) -> TypeGuard[Value]:
    """Whether a module is given a value of a tape for its input."""
    return isinstance(x, Value)


class _Gradient(NamedTuple):
    data: Tensor
    own: bool  # nobody else reads it: it may be added to


class Tape:
    """What the backward has to do, noted while the forward is."""

    def __init__(self, functions: Functions, units: Units) -> None:
        self.units = units
        self.statistics: list[Any] = []
        """What `statistics.note` notes at the end of the forward."""
        self.gradients: dict[Tensor, Tensor] = {}
        """From a parameter to the memory of its gradient, once the backward is noted."""
        self._functions = functions
        self._steps: list[tuple[tuple[Value, ...], Callable[..., None]]] = []
        self._of_values: dict[Value, _Gradient] = {}

    def call(self, function: Any, *args: Any, **options: Any) -> Any:
        """Note a function of PyTorch."""
        form = self._functions.get(function)
        if form is None:
            raise NotPreparable(f"{getattr(function, '__name__', function)} has no form on a tape")
        return form(*args, **options)

    def result(
        self, data: Tensor, sources: Sequence[Value], backward: Callable[..., None], parameters: bool = False
    ) -> Value:
        """An image computed from `sources`, and from parameters or not.

        `backward` notes its calls for the gradient it is given; it may keep that memory, not change it.
        """
        (value,) = self.results([data], sources, backward, parameters)
        return value

    def results(
        self,
        images: Sequence[Tensor],
        sources: Sequence[Value],
        backward: Callable[..., None],
        parameters: bool = False,
    ) -> tuple[Value, ...]:
        """Several images; `backward` takes the gradient of each, None where there is none."""
        needs = parameters or any(source.needs for source in sources)
        values = tuple(Value(self, data, needs) for data in images)
        if needs:
            self._steps.append((values, backward))
        return values

    def add(self, to: Value, gradient: Tensor, own: bool = True) -> None:
        """Note one more part of the gradient of a value: an image, or a slice of the channels of one.

        `own`: nobody else reads its memory.
        """
        if not to.needs:
            return
        before = self._of_values.get(to)
        if before is not None and before.own:
            run(add_to, before.data, gradient)
        elif before is not None:
            total = image(*to.shape)
            run(_sum, before.data, gradient, total)
            self._of_values[to] = _Gradient(total, own=True)
        elif gradient.is_contiguous(memory_format=torch.channels_last):
            self._of_values[to] = _Gradient(gradient, own)
        else:
            dense = image(*to.shape)
            run(copy_to, dense, gradient)
            self._of_values[to] = _Gradient(dense, own=True)

    def dense(self, parameter: Tensor) -> Tensor:
        """The parameter's values at the time of the call, one row after the other."""
        if parameter.is_contiguous():
            return parameter.detach()
        memory = room(parameter.numel()).view(parameter.shape)
        run(copy_to, memory, parameter.detach())
        return memory

    def part(self, parameter: Tensor) -> Tensor:
        """Memory for a part of the parameter's gradient: to be filled, then given to :meth:`take`."""
        memory = room(parameter.numel()).view(parameter.shape)
        self.gradients.setdefault(parameter, memory)
        return memory

    def take(self, *parts: tuple[Tensor, Tensor]) -> None:
        """Parameters with the parts of their gradients that are filled now."""
        for parameter, part in parts:
            if part is not self.gradients[parameter]:
                run(add_to, self.gradients[parameter], part)

    def backward(self, results: Sequence[Value]) -> list[Tensor]:
        """Note the backward; memory for the gradients of `results`."""
        entries = [image(*value.shape) for value in results]
        for value, entry in zip(results, entries, strict=True):
            self.add(value, entry, own=False)
        for values, step in reversed(self._steps):
            found = [self._of_values.pop(value, None) for value in values]
            if any(gradient is not None for gradient in found):
                step(*(None if gradient is None else gradient.data for gradient in found))
        return entries


def copy_to(to: Tensor, source: Tensor) -> None:
    """For :func:`spinecore.ops.recording.run`."""
    to.copy_(source)


def add_to(to: Tensor, more: Tensor) -> None:
    """For :func:`spinecore.ops.recording.run`."""
    to.add_(more)


def _sum(a: Tensor, b: Tensor, to: Tensor) -> None:
    torch.add(a, b, out=to)
