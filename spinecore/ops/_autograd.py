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

_BELOW = torch._C._after_autograd_keyset
_PLAIN = frozenset(
    torch._C.DispatchKeySet(key).raw_repr() for key in (torch._C.DispatchKey.CPU, torch._C.DispatchKey.CUDA)
)


def autograd_kernel(
    overload: Any,
    implementation: Callable[..., Any],
    setup_context: Callable[[Any, tuple[Any, ...], Any], None] | None,
    gradients: Callable[..., tuple[Tensor | None, ...]],
) -> Callable[..., Any]:
    """A kernel for the dispatch key ``Autograd``, taking the key set first, of an operator without lists of
    tensors.

    ``setup_context`` and ``gradients`` are those of ``torch.library.register_autograd``, except that the
    inputs come as the dispatcher gave them, without trailing arguments that equal their defaults, and that
    ``ctx.needs_input_grad`` has one element more.
    """
    guard = torch._C._AutoDispatchBelowAutograd
    grad_enabled, any_requires_grad = torch.is_grad_enabled, torch._C._any_requires_grad

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

    Differentiable.__name__ = f"{overload._schema.name.replace('::', '_')}"

    def kernel(keys: Any, *args: Any) -> Any:
        if grad_enabled() and any_requires_grad(*args):
            return Differentiable.apply(*args, keys)  # type: ignore[no-untyped-call]
        return below(keys, args)

    return kernel
