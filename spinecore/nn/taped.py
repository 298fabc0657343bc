"""Training steps of a module without Python between their kernels: recorded for a shape, then repeated.

    _taped = Taped(plain)                   # plain(module, x) -> tuple of tensors or None

    def forward(self, x):
        step = _taped.find(self, x)
        if step is not None:
            return step(x)
        return plain(self, x)

Gradients reach the parameters through one node of autograd. The recorded form is chosen only where nothing
but rounding tells it from the plain one: training, float32 on the CPU, every parameter with a gradient and
the input without, no autocast, no hooks inside, nothing traced or compiled; for one forward at a time, of a
module's first two shapes, and of others from their second call on. Where a result is not finite, or a graph
is walked again, the plain form computes it. `backends.usage` counts its runs as ``taped <class>``.

The memory of a shape, what autograd would keep for the backward and the most that is worked on at once, stays
with the module.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from spinecore import backends
from spinecore.ops import prepared as native
from spinecore.ops.recording import NotFinite, Plan, Recording, image, room, run

from .members import Members, NotPreparable, members_of, observed, same, untouched
from .tape import statistics
from .tape.functions import FUNCTIONS
from .tape.units import UNITS
from .tape.values import Tape, Value

Outputs = tuple[Tensor | None, ...]
Plain = Callable[[Any, Any], tuple[Any, ...]]

_KEPT = 2
_LARGEST = 1 << 21
"""Elements of the input; above, what Python takes between the kernels is nothing, and the arena large."""


class _Pending:
    """Lives as long as the graph of a forward whose backward may still come."""


class _Step:
    """Forward and backward of a module for inputs of one shape."""

    def __init__(
        self, module: nn.Module, parameters: Sequence[nn.Parameter], plain: Plain, x: Tensor
    ) -> None:
        self._plain = plain
        self._module = weakref.ref(module)
        self._addresses = [parameter.data_ptr() for parameter in parameters]
        self._pending: Callable[[], _Pending | None] = lambda: None
        self._starting = threading.Lock()
        with torch.inference_mode(False), torch.no_grad(), Recording() as recording:
            tape, entry = Tape(FUNCTIONS, UNITS), image(*x.shape)
            results = plain(module, Value(tape, entry, needs=False))
            statistics.note(tape.statistics)
            values = [result for result in results if result is not None]
            recording.stage((entry,), [value.data for value in values])
            entries = tape.backward(values)
            self._places, gradients = _gathered(parameters, tape)
            recording.stage(entries, (gradients,))
            self._forward, self._backward = recording.plans()
        self.present = [result is not None for result in results]

    def serves(self, parameters: Sequence[nn.Parameter]) -> bool:
        """Whether the parameters lie where they lay."""
        return [parameter.data_ptr() for parameter in parameters] == self._addresses

    def forward(self, x: Tensor) -> tuple[_Pending, list[Tensor]] | None:
        """What the module gives, without what is None; None where it cannot run now."""
        with self._starting:
            if self._pending() is not None:
                return None
            pending = _Pending()
            self._pending = weakref.ref(pending)
        outputs = _run(self._forward, (x,))
        return None if outputs is None else (pending, [output for output in outputs if output is not None])

    def backward(self, gradients: Sequence[Tensor]) -> list[Tensor | None] | None:
        """Gradients of the parameters; None where it cannot run now."""
        found = _run(self._backward, gradients)
        if found is None:
            return None
        (flat,) = found
        assert flat is not None
        return [
            None if place is None else flat.as_strided(place.shape, place.strides, place.first)
            for place in self._places
        ]

    def again(
        self, x: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        """The same by the plain form, which leaves its statistics as they are."""
        module = self._module()
        if module is None:
            raise RuntimeError("the module was deleted before the backward of its forward")
        before = [(buffer, buffer.clone()) for buffer in module.buffers()]
        with torch.enable_grad():
            results = [result for result in self._plain(module, x) if result is not None]
            found = torch.autograd.grad(results, parameters, gradients, allow_unused=True)
        for buffer, value in before:
            buffer.data.copy_(value)  # past the counter: graphs of the plain form hold buffers too
        return found


def _run(plan: Plan, inputs: Sequence[Tensor]) -> Outputs | None:
    try:
        return plan.run(inputs)
    except NotFinite:
        return None


class _Place(NamedTuple):
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _gathered(parameters: Sequence[nn.Parameter], tape: Tape) -> tuple[list[_Place | None], Tensor]:
    """Where each parameter's gradient lies in one memory of all; that memory."""
    places: list[_Place | None] = []
    size = 0
    for parameter in parameters:
        found = parameter in tape.gradients
        strides = torch.empty_like(parameter, device="meta").stride()  # its order of dimensions, without gaps
        places.append(_Place(size, tuple(parameter.shape), strides) if found else None)
        size += parameter.numel() if found else 0
    memory = room(size)
    to, source = [], []
    for parameter, place in zip(parameters, places, strict=True):
        if place is not None:
            to.append(memory.as_strided(place.shape, place.strides, place.first))
            source.append(tape.gradients[parameter])
    run(_copy_all, tuple(to), tuple(source))
    return places, memory


def _copy_all(to: tuple[Tensor, ...], source: tuple[Tensor, ...]) -> None:
    torch._foreach_copy_(to, source)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, step: _Step, pending: _Pending, x: Tensor, outputs: list[Tensor], *parameters: Tensor
    ) -> Any:
        ctx.step, ctx.pending = step, pending
        ctx.save_for_backward(x, *parameters)
        return tuple(outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, *parameters = ctx.saved_tensors
        # What the forward left in the arena serves one backward.
        found = None if ctx.pending is None else ctx.step.backward(gradients)
        ctx.pending = None
        if found is None:
            found = ctx.step.again(x, parameters, gradients)
        return (None, None, None, None, *found)


_REFUSED = object()
"""In place of the step of a shape that has none."""


class _Kept:
    """What is kept of one module."""

    def __init__(self, module: nn.Module) -> None:
        self.members: Members = members_of(module)
        self.parameters = list(module.parameters())
        self.steps: OrderedDict[tuple[Any, ...], Any] = OrderedDict()  # None: seen once

    def step(self, module: nn.Module, plain: Plain, x: Tensor) -> _Step | None:
        """For inputs of this shape: of the first shapes at once, so that a training that goes on does what
        the one that stopped would have done; of more the second time, so that changing shapes cost nothing.
        """
        key = (tuple(x.shape), torch.get_num_threads(), native.instruction_set())
        step = self.steps.get(key)
        if isinstance(step, _Step) and not step.serves(self.parameters):
            step = None
        if step is None and (key in self.steps or len(self.steps) < _KEPT):
            try:
                step = _Step(module, self.parameters, plain, x)
            except NotPreparable:
                step = _REFUSED
        self.steps[key] = step
        self.steps.move_to_end(key)
        if len(self.steps) > _KEPT:
            self.steps.popitem(last=False)
        return step if isinstance(step, _Step) else None


class Taped:
    """Makes and keeps the recorded training steps of modules.

    Args:
        plain: The module's forward, of PyTorch's functions and spinecore's modules: from the module and the
            input (N, C, H, W), or a `spinecore.nn.tape.values.Value` in its place, to a tuple of images, or
            None for what the module does not have.

    """

    def __init__(self, plain: Plain) -> None:
        self._plain = plain
        self._kept: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def find(self, module: nn.Module, x: Tensor) -> Callable[[Tensor], Outputs] | None:
        """A function that runs a recorded step, or None where the plain form has to run."""
        if not (module.training and torch.is_grad_enabled()) or x.requires_grad or type(x) is not Tensor:
            return None
        if x.dtype is not torch.float32 or x.device.type != "cpu" or x.layout is not torch.strided:
            return None
        if not 0 < x.numel() <= _LARGEST or _watched() or not native.available().ok:
            return None
        kept: _Kept | None = self._kept.get(module)  # type: ignore[no-untyped-call]
        if kept is None or not same(kept.members):
            kept = self._kept[module] = _Kept(module)
        if not untouched(kept.members, training=True):
            return None
        if not all(p.requires_grad and p.dtype is torch.float32 for p in kept.parameters):
            return None
        step = kept.step(module, self._plain, x)
        return None if step is None else partial(self._run, module, kept.parameters, step)

    def _run(self, module: nn.Module, parameters: Sequence[Tensor], step: _Step, x: Tensor) -> Outputs:
        found = step.forward(x)
        if found is None:
            return self._plain(module, x)
        backends.count_use(f"taped {type(module).__name__}", "cpu")
        pending, outputs = found
        results = iter(_Function.apply(step, pending, x, outputs, *parameters))  # type: ignore[no-untyped-call]
        return tuple(next(results) if present else None for present in step.present)


def _watched() -> bool:
    # Hooks on saved tensors: whoever has set them expects those of the plain form.
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return torch.compiler.is_compiling() or observed() or hooks is not None
