"""Every operator with GPU kernels: cases, the oracle that judges them, and calls of the public operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from emulation import (
    conv_oracle,
    covariance_oracle,
    cross_oracle,
    dictionary_oracle,
    latent_oracle,
    scse_gate_oracle,
)
from hypothesis import strategies as st

import spinecore.ops  # noqa: F401 - the operators register themselves
from gpu_checks.processors import Processor, on
from spinecore import backends
from spinecore.ops import (
    _conv3x3_cuda,
    _conv3x3_triton,
    _covariance_cuda,
    _covariance_triton,
    _cross_cuda,
    _cross_triton,
    _dictionary_pool_cuda,
    _dictionary_pool_triton,
    _latent_pool_cuda,
    _latent_pool_triton,
    _recurrent_residual_conv_cuda,
    _recurrent_residual_conv_triton,
    _scse_gate_cuda,
    _scse_gate_triton,
)
from spinecore.ops._spec import OPS

WITH_KERNELS = sorted(name for name in OPS if name in backends.CUDA.kernels)
Check = Callable[[Any, str, Processor], None]


class Property(NamedTuple):
    """``cases(large)`` draws inputs, ``check(case, backend, processor)`` compares with double precision."""

    cases: Callable[[bool], st.SearchStrategy[Any]]
    check: Check


def _plain(oracle: Any, implementations: dict[str, Any]) -> Check:
    def check(case: Any, backend: str, processor: Processor) -> None:
        chosen = implementations[backend]
        oracle.assert_close(case, on(processor, chosen.forward), on(processor, chosen.backward))

    return check


def _cross(case: cross_oracle.Case, backend: str, processor: Processor) -> None:
    implementation = {"cuda": _cross_cuda, "triton": _cross_triton}[backend]
    forward, backward = implementation.kernels(case.normalise)
    cross_oracle.assert_close(case, on(processor, forward.run), on(processor, backward.run))


def _convolution(case: conv_oracle.Case, backend: str, processor: Processor) -> None:
    chosen = {"cuda": _conv3x3_cuda, "triton": _conv3x3_triton}[backend]
    conv_oracle.assert_close(case, on(processor, chosen.FORWARD.run), on(processor, chosen.BACKWARD.run))


class Recurrence(NamedTuple):
    shape: tuple[int, int, int, int]
    dtype: torch.dtype
    steps: int
    bn: bool
    seed: int


def _recurrences(large: bool) -> st.SearchStrategy[Recurrence]:
    channels, side = (st.integers(1, 96), st.integers(2, 24)) if large else (st.integers(1, 6), st.just(3))
    return st.builds(
        Recurrence,
        st.tuples(st.integers(1, 3), channels, side, side),
        st.sampled_from(conv_oracle.DTYPES),
        st.integers(0, 3 if large else 1),
        st.booleans(),
        st.integers(0, 2**31),
    )


def _recurrence(case: Recurrence, backend: str, processor: Processor) -> None:
    chosen = {"cuda": _recurrent_residual_conv_cuda, "triton": _recurrent_residual_conv_triton}[backend]
    kernels = (chosen.FORWARD_BN, chosen.BACKWARD_BN) if case.bn else (chosen.FORWARD, chosen.BACKWARD)
    moved = tuple(kernel._replace(run=on(processor, kernel.run)) for kernel in kernels)
    conv_oracle.assert_recurrence_close(case.shape, case.dtype, case.steps, case.bn, moved, case.seed)


def _sizes(
    draw: Callable[..., st.SearchStrategy[Any]], large: tuple[int, int], small: tuple[int, int]
) -> Any:
    return lambda is_large: draw(*(large if is_large else small))


PROPERTIES: dict[str, Property] = {
    "scse_gate": Property(
        _sizes(scse_gate_oracle.cases, (300, 40), (12, 6)),
        _plain(scse_gate_oracle, {"cuda": _scse_gate_cuda, "triton": _scse_gate_triton}),
    ),
    "covariance_decorrelation": Property(
        _sizes(covariance_oracle.cases, (700, 300), (20, 20)),
        _plain(covariance_oracle, {"cuda": _covariance_cuda, "triton": _covariance_triton}),
    ),
    "cross_decorrelation": Property(_sizes(cross_oracle.cases, (500, 200), (20, 20)), _cross),
    "latent_pool": Property(
        _sizes(latent_oracle.cases, (900, 64), (20, 8)),
        _plain(latent_oracle, {"cuda": _latent_pool_cuda, "triton": _latent_pool_triton}),
    ),
    "dictionary_pool": Property(
        _sizes(dictionary_oracle.cases, (900, 64), (20, 8)),
        _plain(dictionary_oracle, {"cuda": _dictionary_pool_cuda, "triton": _dictionary_pool_triton}),
    ),
    "conv3x3": Property(_sizes(conv_oracle.cases, (200, 40), (8, 5)), _convolution),
    "recurrences": Property(_recurrences, _recurrence),
}


def missing(name: str, given: int) -> list[Any]:
    """What the operator takes between a sample's arguments and the backend, by its defaults."""
    arguments = OPS[name].overload._schema.arguments
    return [argument.default_value for argument in arguments[given:-1]]


def samples(name: str, backend: str, seed: int = 3) -> Iterator[list[Any]]:
    """The operator's own samples in float32 that the backend can run on its device, backward too; all
    arguments but the backend.
    """
    spec = OPS[name]
    chosen = backends.backend(backend)
    for _, args in spec.samples(torch.float32, seed):
        full = [*args, *missing(name, len(args))]
        call = spec.call(*full)
        kernels = (chosen.kernels.get(call.op), chosen.kernels.get(f"{call.op}_backward"))
        if all(kernel is not None and kernel.can_run(call).ok for kernel in kernels):
            yield full


def leaves(args: list[Any], device: torch.device | str, dtype: torch.dtype | None = None) -> list[Any]:
    """The arguments on a device, floating-point tensors (in ``dtype``) as leaves of autograd."""

    def leaf(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if not value.is_floating_point():
            return value.to(device)
        return value.detach().to(device, dtype, copy=True).requires_grad_()

    return [leaf(value) for value in args]


def forward_backward(name: str, args: list[Any], backend: str) -> list[torch.Tensor]:
    """The results of an operator that carry a gradient, and the gradients of its leaves."""
    returned = OPS[name].overload(*args, backend)
    outputs = returned if isinstance(returned, tuple) else (returned,)
    wanted = [out for out in outputs if isinstance(out, torch.Tensor) and out.requires_grad]
    tensors = [leaf for leaf in args if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    weights = [
        torch.linspace(-1, 1, out.numel(), device=out.device, dtype=out.dtype).view(out.shape)
        for out in wanted
    ]
    total = sum((out * weight).sum() for out, weight in zip(wanted, weights, strict=True))
    grads = torch.autograd.grad(total, tensors, allow_unused=True)
    return [*(out.detach() for out in wanted), *(g for g in grads if g is not None)]


def expected(name: str, args: list[Any]) -> list[torch.Tensor]:
    """The same of the reference, in double precision on the CPU."""
    return forward_backward(name, leaves(args, "cpu", torch.float64), "reference")


def assert_agree(got: list[torch.Tensor], want: list[torch.Tensor]) -> None:
    """Results of float32 beside those in double precision."""
    for a, b in zip(got, want, strict=True):
        scale = float(b.abs().max()) if b.numel() else 1.0
        torch.testing.assert_close(
            a.detach().cpu().double(), b.double(), rtol=2e-4, atol=2e-5 * max(scale, 1.0)
        )
