"""What PyTorch does to functions (`torch.func`, activation checkpointing), done to every operator."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from spinecore.ops import OPS, OpSpec

SPECS = [pytest.param(spec, id=name) for name, spec in OPS.items()]
Loss = Callable[[dict[str, Tensor]], Tensor]


def _loss(spec: OpSpec) -> tuple[Loss, dict[str, Tensor]]:
    """A number that depends on every result, and the arguments it can be differentiated by."""
    sample = next(iter(spec.samples(torch.float64, 0))).args
    names = [argument.name for argument in spec.overload._schema.arguments]
    taken = inspect.signature(spec.function).parameters
    arguments = {name: value for name, value in zip(names, sample, strict=False) if name in taken}
    points = {
        name: value
        for name, value in arguments.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }

    def loss(changed: dict[str, Tensor]) -> Tensor:
        results = spec.function(**{**arguments, **changed})
        return sum(
            result.square().sum() for result in (results if isinstance(results, tuple) else (results,))
        )

    return loss, points


def _leaves(points: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone().requires_grad_() for name, value in points.items()}


def _gradients(loss: Loss, points: dict[str, Tensor]) -> dict[str, Tensor]:
    leaves = _leaves(points)
    return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))


def _equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(
            got[name], value, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("spec", SPECS)
def test_functional_gradients_are_those_of_autograd(spec: OpSpec) -> None:
    loss, points = _loss(spec)
    _equal(torch.func.grad(loss)(points), _gradients(loss, points))


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_of_each_of_a_batch(spec: OpSpec) -> None:
    """Per-sample gradients; and no warning that sends the user to PyTorch for a batching rule."""
    loss, points = _loss(spec)
    batch = [{name: value * (1 + 0.1 * i) for name, value in points.items()} for i in range(2)]
    dims = {name: int(i == 0) for i, name in enumerate(points)}
    stacked = {name: torch.stack([one[name] for one in batch], dims[name]) for name in points}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses = torch.func.vmap(loss, in_dims=(dims,))(stacked)
        gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(dims,))(stacked)
    for i, one in enumerate(batch):
        torch.testing.assert_close(losses[i], loss(one), rtol=1e-10, atol=1e-10)
        _equal({name: value[i] for name, value in gradients.items()}, _gradients(loss, one))


def test_nothing_to_map_over_is_refused() -> None:
    with pytest.raises(ValueError, match=r"conv3x3: torch\.vmap over a dimension of size 0"):
        torch.func.vmap(OPS["conv3x3"].function, (0, None))(torch.ones(0, 1, 2, 4, 4), torch.ones(2, 2, 3, 3))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("spec", SPECS)
def test_checkpointing_gives_the_same_gradients(spec: OpSpec, reentrant: bool) -> None:
    loss, points = _loss(spec)

    def positional(*values: Tensor) -> Tensor:
        return loss(dict(zip(points, values, strict=True)))

    leaves = _leaves(points)
    total: Any = checkpoint(positional, *leaves.values(), use_reentrant=reentrant)
    total.backward()
    _equal(
        {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}, _gradients(loss, points)
    )


@pytest.mark.parametrize("spec", SPECS)
def test_an_absent_tensor_is_named(spec: OpSpec) -> None:
    names = [argument.name for argument in spec.overload._schema.arguments]
    sample: list[Any] = list(next(iter(spec.samples(torch.float32, 0))).args)
    sample[0] = None
    with pytest.raises(TypeError, match=rf"{spec.name}: {names[0]} is None; expected a tensor"):
        spec.overload(*sample)
