"""Running operators for tests: leaves with kept strides, outputs with gradients, and the arguments an
operator's backward gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from spinecore import backends
from spinecore.ops import OPS, OpSpec
from spinecore.testing.comparators import assert_calibrated, perturb


def leaves(args: Sequence[Any]) -> list[Any]:
    """The arguments with every floating-point tensor as a fresh leaf that requires a gradient; strides are
    kept.
    """
    return [
        value.detach().requires_grad_() if isinstance(value, Tensor) and value.is_floating_point() else value
        for value in args
    ]


def cast_arguments(args: Sequence[Any], dtype: torch.dtype) -> list[Any]:
    """The arguments with every floating-point tensor in ``dtype``."""
    return [
        value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
        for value in args
    ]


def _flat(value: Any) -> list[Any]:
    return [t for item in value for t in _flat(item)] if isinstance(value, (tuple, list)) else [value]


def outputs_and_gradients(
    function: Callable[..., Any], args: Sequence[Any], seed: int = 0
) -> tuple[list[Tensor], list[Tensor]]:
    """Run ``function`` and pull a random vector back through it.

    Args:
        function: Returns a tensor or tensors, nested in tuples and lists; those that do not require a
            gradient are returned but not pulled through.
        args: Its arguments; every floating-point tensor among them gets a gradient.
        seed: Of the output gradients, which depend on nothing else, so that two functions are compared under
            the same ones.

    Returns:
        The outputs, and one gradient for each floating-point tensor argument (zeros where it is not used).

    """
    inputs = leaves(args)
    result = function(*inputs)
    outputs = _flat(result)
    used = [output for output in outputs if output.requires_grad]
    generator = torch.Generator().manual_seed(seed)
    grads = [
        torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.device, output.dtype)
        for output in used
    ]
    wanted = [value for value in inputs if isinstance(value, Tensor) and value.requires_grad]
    gradients: Sequence[Tensor | None] = torch.autograd.grad(used, wanted, grads, allow_unused=True)
    filled = [
        torch.zeros_like(value) if gradient is None else gradient
        for gradient, value in zip(gradients, wanted, strict=True)
    ]
    return [output.detach() for output in outputs], filled


def _detached(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_detached(item) for item in value)
    return value.detach() if isinstance(value, Tensor) else value


def backward_arguments(spec: OpSpec, args: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments with which autograd calls the backward operator of ``spec`` for these inputs."""
    seen: list[tuple[Any, ...]] = []

    class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is spec.backward_overload:
                seen.append(_detached(args))
            return func(*args, **(kwargs or {}))

    with Recorder():  # type: ignore[no-untyped-call]
        outputs_and_gradients(spec.overload, args)
    return seen[0]


def runnable_backends(spec: OpSpec, args: Sequence[Any]) -> list[str]:
    """Names of the backends that can run this call and its backward when asked for by name, highest priority
    first.
    """
    call = spec.call(*args)
    backward = call._replace(op=f"{spec.name}_backward")
    return [
        backend.name
        for backend in backends.BACKENDS
        if backend.can_run(call).ok and backend.can_run(backward).ok
    ]


def check_against_formula(
    name: str,
    formula: Callable[..., Any],
    args: Sequence[Any],
    dtype: torch.dtype,
    seed: int = 0,
    floor_ulps: float = 8.0,
    shown: Callable[[Any], Any] = lambda results: results,
) -> None:
    """Compare outputs and gradients of every backend that can run a call with a formula in plain PyTorch.

    Args:
        name: The operator.
        formula: The same function of the same arguments, differentiable by autograd. It gives the oracle, in
            double precision, and the baseline, in ``dtype``.
        args: Arguments in double precision; their strides are kept in ``dtype``.
        dtype: What the operator is run in.
        seed: Of the output gradients.
        floor_ulps: As for :func:`assert_calibrated`.
        shown: From the results, the operator's or the formula's, to what is compared of them; for results
            whose size says nothing of their error, as a mean of values that cancel.

    Raises:
        AssertionError: A result is further off than :func:`assert_calibrated` allows, or has lost its dtype
            or layout.

    """
    spec = OPS[name]
    given = _cast_with_strides(args, dtype)

    def wanted(*inputs: Any) -> Any:
        return shown(formula(*inputs))

    oracle = outputs_and_gradients(wanted, cast_arguments(given, torch.float64), seed)
    baseline = outputs_and_gradients(wanted, given, seed)
    moved = [outputs_and_gradients(wanted, perturb(given, dtype, seed + k), seed) for k in range(3)]
    for backend in runnable_backends(spec, given):

        def run(*inputs: Any, chosen: str = backend) -> Any:
            return shown(spec.function(*inputs, backend=chosen))

        actual = outputs_and_gradients(run, given, seed)
        for part, kind in enumerate(("output", "gradient")):
            for index, triple in enumerate(zip(actual[part], baseline[part], oracle[part], strict=True)):
                perturbed = [run[part][index] for run in moved]
                label = f"{name} on {backend}: {kind} {index}"
                assert_calibrated(*triple, perturbed=perturbed, floor_ulps=floor_ulps, name=label)
        assert actual[0][0].dtype is baseline[0][0].dtype
        if args[0].dim() == 4:
            expected = torch.contiguous_format
            if given[0].is_contiguous(memory_format=torch.channels_last) and not given[0].is_contiguous():
                expected = torch.channels_last
            assert actual[0][0].is_contiguous(memory_format=expected), "the layout of x was lost"


def _cast_with_strides(args: Sequence[Any], dtype: torch.dtype) -> list[Any]:
    """In ``dtype``, with the strides kept also where they are not dense."""
    out = []
    for value in args:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            out.append(value)
            continue
        cast = torch.empty_strided(value.shape, value.stride(), dtype=dtype)
        out.append(cast.copy_(value))
    return out
