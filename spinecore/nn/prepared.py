"""The form of a module that is fastest for inference, kept while everything it was made from stays the same.

    _prepared = Prepared(build)            # build(module) -> callable, raises NotPreparable

    def forward(self, x):
        fast = _prepared.find(self, x)
        if fast is not None:
            return fast(x)
        ...                                 # the plain form

The fast form is chosen only where nothing but the result can tell it from the plain one: evaluation without
gradients, float32 on the CPU, no autocast, no hooks, nothing traced or compiled. It is thrown away when a
module, parameter or buffer is exchanged or changes. `backends.usage` counts its runs as ``prepared <class>``.

That a tensor has changed is seen by its version counter: operations in place, `load_state_dict`, optimizers.
What goes past the counter (``.data``, NumPy views) is seen by address and by one cache line in every 2 KiB: a
write to a whole tensor is, one to a few neighbouring elements may not be; after such a write call
:func:`forget`. Tensors without a counter (made in inference mode) are compared byte for byte.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from spinecore import backends
from spinecore.ops import prepared as native
from spinecore.ops.recording import NotFinite

from .members import Members, NotPreparable, members_of, observed, same, untouched

Form = TypeVar("Form")


class _Mark(NamedTuple):
    """What the tensors were like: equal marks, equal tensors."""

    versions: tuple[int, ...]
    sample: int
    bytes: int


class _Kept(NamedTuple, Generic[Form]):
    members: Members
    mark: _Mark
    instruction_set: str
    form: Form | None


class Prepared(Generic[Form]):
    """Makes and keeps prepared forms.

    Args:
        build: From a module to its prepared form; raises `NotPreparable` where it has none. The form must not
            refer to the module itself, or the module would never be freed.

    """

    def __init__(self, build: Callable[[Any], Form]) -> None:
        self._build = build
        self._kept: WeakIdKeyDictionary = WeakIdKeyDictionary()
        _every.add(self)

    def find(self, module: nn.Module, x: Tensor) -> Form | None:
        """The prepared form of `module` for the input `x`, or None where the plain form has to run."""
        if module.training or type(x) is not Tensor or x.dtype is not torch.float32 or x.numel() == 0:
            return None
        if torch.compiler.is_compiling() or x.device.type != "cpu" or x.layout is not torch.strided:
            return None
        if observed() or not native.available().ok:
            return None
        kept: _Kept[Form] | None = self._kept.get(module)  # type: ignore[no-untyped-call]
        if kept is not None and module in _frozen and not torch.is_grad_enabled():
            return _used(module, kept.form)
        members = kept.members if kept is not None and same(kept.members) else members_of(module)
        if not untouched(members, training=False):
            return None
        if torch.is_grad_enabled() and (x.requires_grad or any(t.requires_grad for t in members.tensors)):
            return None
        mark, isa = _mark(members), native.instruction_set()
        if mark is None:
            return None
        if kept is None or kept.members is not members or kept.mark != mark or kept.instruction_set != isa:
            try:
                with torch.no_grad():
                    form = self._build(module)
            except NotPreparable:
                form = None
            kept = self._kept[module] = _Kept(members, mark, isa, form)
        return _used(module, kept.form)


_every: weakref.WeakSet[Prepared[Any]] = weakref.WeakSet()
_frozen: weakref.WeakSet[nn.Module] = weakref.WeakSet()


def _used(module: nn.Module, form: Form | None) -> Form | None:
    if form is not None:
        backends.count_use(f"prepared {type(module).__name__}", "cpu")
    return form


def freeze(module: nn.Module) -> None:
    """Promise that nothing inside `module` changes any more: without gradients, it is no longer looked at.

    For a module that its owner alone can reach. Looking costs a twentieth of a small network, and what is
    looked at pushes the prepared weights out of the caches. :func:`forget` takes the promise back.
    """
    _frozen.add(module)


def forget(module: nn.Module) -> None:
    """Throw the prepared forms of `module` away, and the promise of :func:`freeze`.

    After a write that neither counter nor sample sees.
    """
    _frozen.discard(module)
    for prepared in _every:
        prepared._kept.pop(module, None)  # type: ignore[no-untyped-call]


def _mark(members: Members) -> _Mark | None:
    """Of float32 tensors on the CPU; None where there are others."""
    sample, whole = _fingerprint(members.counted, True), _fingerprint(members.uncounted, False)
    if sample is None or whole is None:
        return None
    return _Mark(tuple([tensor._version for tensor in members.counted]), sample, whole)


def _fingerprint(tensors: list[Tensor], sampled: bool) -> int | None:
    try:
        return native.fingerprint(tensors, sampled)
    except (TypeError, ValueError):
        if any(t.dtype is not torch.float32 or t.device.type != "cpu" for t in tensors):
            return None
        return native.fingerprint([t.contiguous() for t in tensors])  # one of them has gaps


__all__ = ["NotFinite", "NotPreparable", "Prepared", "forget", "freeze"]
