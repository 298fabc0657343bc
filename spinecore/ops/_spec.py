"""One row an operator: from an :class:`OpSpec` come the schema, the fake, autograd, autocast, the backends,
the tests' inputs and the documentation. :func:`register` is the only place where spinecore talks to the
dispatcher.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.autograd import forward_ad

from spinecore import backends
from spinecore.backends import Call, Kernel, Verdict
from spinecore.ops._autograd import autograd_kernel, each_of_a_batch

_LIBRARY = torch.library.Library("spinecore", "DEF")  # type: ignore[no-untyped-call]
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order)
_REFERENCE_VERDICT = Verdict(True, "PyTorch reference, runs everywhere")


class Sample(NamedTuple):
    """One set of inputs for an operator's tests, documentation and benchmark: positional arguments without
    ``backend``.
    """

    label: str
    args: tuple[Any, ...]


class Cost(NamedTuple):
    """Work of one forward call: floating-point operations and the least bytes that must move."""

    flops: int
    bytes: int


def _no_options(*_: Any) -> tuple[Any, ...]:
    return ()


@dataclass(frozen=True)
class OpSpec:
    """The whole contract of one operator.

    Attributes:
        name: Registered as ``torch.ops.spinecore.<name>``; its backward as ``<name>_backward``.
        function: The public function, which calls the operator.
        schema: Arguments and returns, ending in ``str? backend=None``. Returns beyond ``differentiable``
            serve the backward.
        reference: The meaning of the operator in PyTorch, in the inputs' dtype; arguments of the schema
            without ``backend``.
        check: Raises ``ValueError`` or ``TypeError`` naming argument, value and remedy; runs before every
            backend and in the fake.
        fake: Shapes, dtypes and strides of the returns without computing.
        setup_context: Keeps for the backward what it needs.
        backward: From the gradients of the differentiable returns (None where nothing uses one of several) to
            one gradient an input, by calling the backward operator.
        backward_schema, backward_reference, backward_fake: The backward as an operator of its own.
        call: The metadata a backend decides on.
        backward_options: The options of the backward's call, from the backward's arguments: what ``call``
            gives as options, for kernels of the backward that decide on them.
        autocast: For each tensor argument that autocast touches, ``lower`` (the autocast dtype) or
            ``float32``.
        samples: Inputs for a dtype and a seed, edge cases included.
        cost: Work of a call.
        equations, source: Documentation: what is computed and where it was published.
        differentiable: How many of the returns, from the first, carry a gradient.

    """

    name: str
    function: Callable[..., Any]
    schema: str
    reference: Callable[..., Any]
    check: Callable[..., None]
    fake: Callable[..., Any]
    setup_context: Callable[[Any, tuple[Any, ...], Any], None]
    backward: Callable[..., tuple[Tensor | None, ...]]
    backward_schema: str
    backward_reference: Callable[..., Any]
    backward_fake: Callable[..., Any]
    call: Callable[..., Call]
    autocast: Mapping[str, str]
    samples: Callable[[torch.dtype, int], Iterator[Sample]]
    cost: Callable[..., Cost]
    equations: str
    source: str
    differentiable: int = 1
    backward_options: Callable[..., tuple[Any, ...]] = _no_options
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    backward_kernels: Mapping[str, Kernel] = field(default_factory=dict)

    @property
    def overload(self) -> Any:
        """The registered forward operator."""
        return getattr(torch.ops.spinecore, self.name).default

    @property
    def backward_overload(self) -> Any:
        """The registered backward operator."""
        return getattr(torch.ops.spinecore, f"{self.name}_backward").default


OPS: dict[str, OpSpec] = {}
"""Every registered operator by name."""


def register(spec: OpSpec) -> tuple[Any, Any]:
    """Register both operators of ``spec`` and return their overloads (forward, backward)."""
    if spec.name in OPS:
        raise ValueError(f"operator {spec.name!r} is already registered")
    qualified = f"spinecore::{spec.name}"
    _LIBRARY.define(spec.name + spec.schema, tags=_TAGS)  # type: ignore[no-untyped-call]
    _LIBRARY.define(f"{spec.name}_backward{spec.backward_schema}", tags=_TAGS)  # type: ignore[no-untyped-call]
    forward, backward = spec.overload, spec.backward_overload
    _register_kernels(spec)
    implementation = _implement(forward, spec.call, spec.check)
    backward_name = f"{spec.name}_backward"
    options = spec.backward_options
    backward_implementation = _implement(
        backward, lambda *args: backends.call_of(backward_name, args[0], *options(*args)), None
    )
    fill = _filler(forward)

    def fake(*args: Any) -> Any:
        filled = fill(args)[:-1]
        spec.check(*filled)
        return spec.fake(*filled)

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        inputs = fill(inputs)
        ctx.backend = inputs[-1]
        outputs = output if isinstance(output, tuple) else (output,)
        extras = outputs[spec.differentiable :]
        ctx.mark_non_differentiable(
            *(t for extra in extras for t in (extra if isinstance(extra, list) else [extra]))
        )
        # Otherwise autograd would fill a zero gradient for every output that only serves the backward.
        ctx.set_materialize_grads(False)
        spec.setup_context(ctx, inputs[:-1], outputs)

    def gradients(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        # The dispatcher drops trailing arguments that equal their defaults, and wants as many gradients as it
        # passed arguments.
        count = len(ctx.needs_input_grad) - 1
        given = grads[: spec.differentiable]
        if all(grad is None for grad in given):
            return (None,) * count
        return (*spec.backward(ctx, *given), None)[:count]

    def no_second_gradient(ctx: Any, *_: Tensor | None) -> NoReturn:
        raise NotImplementedError(
            f"spinecore::{spec.name} has no second derivative; "
            "for a gradient penalty compose it from PyTorch operations"
        )

    torch.library.register_fake(qualified, fake, lib=_LIBRARY)
    fill_backward = _filler(backward)
    torch.library.register_fake(
        f"{qualified}_backward", lambda *args: spec.backward_fake(*fill_backward(args)[:-1]), lib=_LIBRARY
    )
    for overload, name, kernel in (
        (forward, spec.name, autograd_kernel(forward, implementation, setup_context, gradients)),
        (
            backward,
            backward_name,
            autograd_kernel(backward, backward_implementation, None, no_second_gradient),
        ),
    ):
        _LIBRARY.impl(name, kernel, "Autograd", with_keyset=True)  # type: ignore[no-untyped-call]
        torch.library.register_vmap(f"spinecore::{name}", each_of_a_batch(overload), lib=_LIBRARY)
    for device in ("CPU", "CUDA"):
        _register_autocast(spec, forward, device)
    backends.register_operator(spec.name, lambda args, kwargs: _describe(spec, args, kwargs))
    OPS[spec.name] = spec
    return forward, backward


def _describe(spec: OpSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Call, str | None]:
    """The call that the public function would make with these arguments, checked and under autocast, and the
    backend asked for.
    """
    bound = inspect.signature(spec.function).bind(*args, **kwargs)
    bound.apply_defaults()
    # What the function decides by itself (whether to keep results for the backward) is left at its default.
    inputs = tuple(
        bound.arguments.get(argument.name, argument.default_value)
        for argument in spec.overload._schema.arguments[:-1]
    )
    device = next(value.device.type for value in inputs if isinstance(value, Tensor))
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        inputs = autocast_arguments(spec, inputs, device)
    spec.check(*inputs)
    return spec.call(*inputs), bound.arguments["backend"]


def _register_kernels(spec: OpSpec) -> None:
    pairs = (
        (spec.name, {"reference": Kernel(spec.reference, _always), **spec.kernels}),
        (
            f"{spec.name}_backward",
            {"reference": Kernel(spec.backward_reference, _always), **spec.backward_kernels},
        ),
    )
    for name, kernels in pairs:
        for backend_name, kernel in kernels.items():
            backends.register_kernel(name, backend_name, kernel)


def _always(_call: Call) -> Verdict:
    return _REFERENCE_VERDICT


def _filler(overload: Any) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Restores the schema's defaults: the dispatcher drops trailing arguments that equal them."""
    defaults = tuple(argument.default_value for argument in overload._schema.arguments)
    count = len(defaults)
    return lambda args: args if len(args) == count else (*args, *defaults[len(args) :])


def _refuse_none(overload: Any, inputs: tuple[Any, ...]) -> None:
    """The dispatcher lets None through as an undefined tensor, which a check stumbles over."""
    schema = overload._schema
    for argument, value in zip(schema.arguments, inputs, strict=False):
        if value is None and str(argument.type) == "Tensor":
            raise TypeError(
                f"{schema.name.split('::')[1]}: {argument.name} is None; expected a tensor. Give one."
            )


def _implement(
    overload: Any, call: Callable[..., Call], check: Callable[..., None] | None
) -> Callable[..., Any]:
    fill = _filler(overload)
    name = overload._schema.name

    def implementation(*args: Any) -> Any:
        args = fill(args)
        inputs = args[:-1]
        if check is not None:
            try:
                check(*inputs)
            except AttributeError:
                _refuse_none(overload, inputs)
                raise
        if forward_ad._current_level >= 0:  # torch would drop the tangents without a word
            raise NotImplementedError(
                f"{name} has no forward-mode derivative (torch.func.jvp, torch.autograd.forward_ad); "
                "use reverse mode, or compose it from PyTorch operations"
            )
        return backends.run(call(*inputs), inputs, args[-1])

    _LIBRARY.impl(name.split("::")[1], implementation, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    return implementation


def autocast_arguments(spec: OpSpec, args: tuple[Any, ...], device_type: str) -> tuple[Any, ...]:
    """The arguments as the operator's autocast rule would cast them; double precision is left alone, as torch
    does.
    """
    lower = torch.get_autocast_dtype(device_type)
    names = [argument.name for argument in spec.overload._schema.arguments]
    cast = []
    for name, value in zip(names, args, strict=False):
        rule = spec.autocast.get(name)
        if (
            rule is None
            or not isinstance(value, Tensor)
            or not value.is_floating_point()
            or value.dtype is torch.float64
        ):
            cast.append(value)
        else:
            cast.append(value.to(lower if rule == "lower" else torch.float32))
    return tuple(cast)


def _register_autocast(spec: OpSpec, overload: Any, device: str) -> None:
    key = getattr(torch._C.DispatchKey, f"Autocast{device}")
    keys = torch._C.DispatchKeySet(key)

    def kernel(_keyset: Any, *args: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return overload(*autocast_arguments(spec, args, device.lower()))

    _LIBRARY.impl(spec.name, kernel, f"Autocast{device}", with_keyset=True)  # type: ignore[no-untyped-call]
