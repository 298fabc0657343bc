"""The autograd kernel of an operator: what `torch.library.register_autograd` registers, in fewer steps.

Small calls are mostly dispatch. Where nothing but the device's own kernel is left below autograd (no
functional transform, no dispatch mode, no lazy conjugate or negation), that kernel is a Python function
already at hand, and it is called without a second pass through the dispatcher; everywhere else the dispatcher
decides as always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._functorch import autograd_function
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

_BELOW = torch._C._after_autograd_keyset
_PLAIN = frozenset(
    torch._C.DispatchKeySet(key).raw_repr() for key in (torch._C.DispatchKey.CPU, torch._C.DispatchKey.CUDA)
)


def _one_level(function: type[torch.autograd.Function], *args: Any) -> Any:
    """``function.apply`` under torch.func. There it refuses: it would be met before the transforms are taken
    apart. A kernel stands behind the dispatcher, which has done so: it is a node of one level.
    """
    with autograd_function.enable_single_level_autograd_function():  # type: ignore[attr-defined]
        return super(torch.autograd.Function, function).apply(*args)  # type: ignore[misc]


class _Lists:
    """How the tensors of a call, flat as autograd wants them, make up its arguments and its results."""

    def __init__(self, keys: Any, args: tuple[Any, ...]) -> None:
        self.keys = keys
        self.flat, self._arguments = tree_flatten(args)
        self._results: TreeSpec | None = None

    def arguments(self, flat: tuple[Any, ...]) -> tuple[Any, ...]:
        args: tuple[Any, ...] = tree_unflatten(flat, self._arguments)
        return args

    def flatten(self, result: Any) -> tuple[Any, ...]:
        flat, self._results = tree_flatten(result)
        return tuple(flat)

    def results(self, flat: tuple[Any, ...]) -> Any:
        assert self._results is not None
        return tree_unflatten(flat, self._results)


def autograd_kernel(
    overload: Any,
    implementation: Callable[..., Any],
    setup_context: Callable[[Any, tuple[Any, ...], Any], None] | None,
    gradients: Callable[..., tuple[Tensor | None, ...]],
) -> Callable[..., Any]:
    """A kernel for the dispatch key ``Autograd``, taking the key set first.

    ``setup_context`` and ``gradients`` are those of ``torch.library.register_autograd``, except that the
    inputs come as the dispatcher gave them, without trailing arguments that equal their defaults, and that
    ``ctx.needs_input_grad`` has one element more. Where a list of tensors is among the arguments or results,
    ``needs_input_grad``, the gradients that come and those that go have one element a tensor of it.
    """
    guard = torch._C._AutoDispatchBelowAutograd
    grad_enabled, any_requires_grad = torch.is_grad_enabled, torch._C._any_requires_grad
    transformed = torch._C._are_functorch_transforms_active
    lists = _has_lists(overload)

    def below(keys: Any, args: tuple[Any, ...]) -> Any:
        rest = keys & _BELOW
        with guard():
            if rest.raw_repr() in _PLAIN:
                return implementation(*args)
            return overload.redispatch(rest, *args)

    class Differentiable(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            args = given[:-1]
            result = below(given[-1], args)
            if setup_context is not None:
                setup_context(ctx, args, result)
            return result

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> Any:
            return (*gradients(ctx, *grads), None)

    class DifferentiableLists(Differentiable):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            structure: _Lists = given[-1]
            args = structure.arguments(given[:-1])
            result = below(structure.keys, args)
            if setup_context is not None:
                setup_context(ctx, args, result)
            return structure.flatten(result)

    name = f"{overload._schema.name.replace('::', '_')}"
    Differentiable.__name__ = DifferentiableLists.__name__ = name

    def kernel(keys: Any, *args: Any) -> Any:
        if not (grad_enabled() and any_requires_grad(*args)):
            return below(keys, args)
        if lists:
            structure = _Lists(keys, args)
            given = (*structure.flat, structure)
            if transformed():
                return structure.results(_one_level(DifferentiableLists, *given))
            return structure.results(DifferentiableLists.apply(*given))  # type: ignore[no-untyped-call]
        if transformed():
            return _one_level(Differentiable, *args, keys)
        return Differentiable.apply(*args, keys)  # type: ignore[no-untyped-call]

    return kernel


def _has_lists(overload: Any) -> bool:
    schema = overload._schema
    return any("List[Tensor]" in str(value.type) for value in (*schema.arguments, *schema.returns))


def each_of_a_batch(overload: Any) -> Callable[..., tuple[Any, Any]]:
    """A rule for `torch.library.register_vmap` that calls the operator once for each element of the batch."""

    def element(value: Any, dim: Any, index: int) -> Any:
        if isinstance(value, (list, tuple)) and isinstance(dim, (list, tuple)):
            return [element(part, of_part, index) for part, of_part in zip(value, dim, strict=True)]
        return value if dim is None else value.select(dim, index)

    def stacked(values: tuple[Any, ...]) -> Any:
        if isinstance(values[0], Tensor):
            return torch.stack(values)
        return [stacked(parts) for parts in zip(*values, strict=True)]

    def rule(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        if info.batch_size == 0:
            raise ValueError(
                f"{overload._schema.name}: torch.vmap over a dimension of size 0; give one element"
            )
        results = [
            overload(*(element(arg, dim, i) for arg, dim in zip(args, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        whole = tuple(stacked(parts) for parts in zip(*results, strict=True))
        return whole, tuple(0 if isinstance(part, Tensor) else [0] * len(part) for part in whole)

    return rule
