"""The conformance check that our plugins and anybody's run: `check_plugin(spec)`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from spinecore.registry import API, ModelSpec


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in a possibly nested result."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in _tensors(v)]
    return []


def _compare(what: str, got: Any, expected: Any, atol: float) -> None:
    a, b = _tensors(got), _tensors(expected)
    if len(a) != len(b):
        raise AssertionError(f"{what}: {len(a)} tensors instead of {len(b)}")
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if x.shape != y.shape:
            raise AssertionError(f"{what}: output {i} has shape {tuple(x.shape)} instead of {tuple(y.shape)}")
        worst = float((x - y).abs().max()) if x.numel() else 0.0
        if not worst <= atol * max(1.0, float(y.abs().max()) if y.numel() else 1.0):
            raise AssertionError(f"{what}: output {i} differs by {worst:.3g}, allowed {atol:.3g} relative")


def _build(spec: ModelSpec) -> tuple[nn.Module, Any, tuple[Tensor, ...]]:
    config, inputs = spec.load("example")()
    if not isinstance(config, spec.load("config")):  # type: ignore[arg-type]
        raise AssertionError(
            f"{spec.name}: example() gives a {type(config).__name__}, not its own config class"
        )
    torch.manual_seed(0)
    model = spec.load("build")(config)
    if not isinstance(model, nn.Module):
        raise AssertionError(f"{spec.name}: build gives a {type(model).__name__}, not a torch.nn.Module")
    return model, config, inputs


def check_plugin(spec: ModelSpec, *, backend: str = "inductor", atol: float = 1e-4) -> None:
    """Build, forward, backward, state-dict round trip, `torch.export`, `torch.compile` on the spec's example.

    Args:
        spec: the plugin's ModelSpec; `example` must give (config, inputs) that run in well under a second.
        backend: of torch.compile; "aot_eager" traces everything but leaves out minutes of C++ compilation.
        atol: allowed difference relative to the largest output, fp32.

    Raises:
        AssertionError: with what failed, by how much.

    """
    if spec.api != API:
        raise AssertionError(f"{spec.name}: made for plugin API {spec.api}; this spinecore has {API}")
    from spinecore.ops import OPS

    unknown = [op for op in spec.ops if op not in OPS]
    if unknown:
        raise AssertionError(f"{spec.name}: names operators that do not exist: {', '.join(unknown)}")
    model, config, inputs = _build(spec)

    model.train()
    outputs = _tensors(model(*inputs))
    if not outputs or not all(bool(torch.isfinite(t).all()) for t in outputs):
        raise AssertionError(f"{spec.name}: training forward gives no or non-finite tensors")
    sum(t.float().square().mean() for t in outputs if t.requires_grad).backward()  # type: ignore[union-attr]
    dead = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if dead:
        raise AssertionError(f"{spec.name}: no gradient reaches {', '.join(dead[:5])}")

    model.eval()
    with torch.no_grad():
        expected = model(*inputs)
        _compare("repeated forward", model(*inputs), expected, 0.0)
        twin = spec.load("build")(config)
        twin.load_state_dict(copy.deepcopy(model.state_dict()))
        _compare("state-dict round trip", twin.eval()(*inputs), expected, 0.0)
        exported = torch.export.export(model, inputs)
        _compare("torch.export", exported.module()(*inputs), expected, atol)
        compiled = torch.compile(model, fullgraph=True, backend=backend)
        _compare("torch.compile", compiled(*inputs), expected, atol)
