"""Lets the GPU tests run on the CPU: the CUDA kernels emulated, or with TRITON_INTERPRET=1 Triton's."""

from __future__ import annotations

import importlib
import os
from collections import ChainMap
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from emulation import sources

from spinecore import _native, backends
from spinecore.backends import Verdict
from spinecore.ops import _device

EMULATED = {
    "scse_gate": "emulated_scse_gate",
    "covariance_decorrelation": "emulated_covariance",
    "cross_decorrelation": "emulated_cross",
    "latent_pool": "emulated_latent_pool",
    "dictionary_pool": "emulated_dictionary_pool",
    "conv3x3": "emulated_conv3x3",
    "recurrent_residual_conv": "emulated_recurrence",
}
# Implementation, kernels, and what the operators of torch's library stand for.
TRITON: dict[str, tuple[str, dict[str, str]]] = {
    "_scse_gate_triton": (
        "scse_gate",
        {"scse_gate_triton": "forward", "scse_gate_triton_backward": "backward"},
    ),
    "_covariance_triton": (
        "covariance_decorrelation",
        {"covariance_triton": "forward", "covariance_triton_backward": "backward"},
    ),
    "_cross_triton": (
        "cross_decorrelation",
        {"cross_triton": "forward", "cross_triton_backward": "backward"},
    ),
    "_latent_pool_triton": (
        "latent_pool",
        {"latent_pool_triton": "attend", "latent_pool_triton_backward": "differentiate"},
    ),
    "_dictionary_pool_triton": (
        "dictionary_pool",
        {"dictionary_pool_triton": "weigh", "dictionary_pool_triton_backward": "differentiate"},
    ),
    "_conv3x3_triton": ("conv3x3", {"conv3x3_triton": "run", "conv3x3_triton_weights": "weights"}),
}
Replace = Callable[[Any, str, Any], None]


def interpreted() -> bool:
    """Whether this process runs Triton's kernels in its interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def core() -> Any:
    """Every emulated operator as one core."""
    modules = [sources.operator_module(operator, name) for operator, name in EMULATED.items()]
    return SimpleNamespace(**ChainMap(*(vars(module) for module in modules)))


def install(replace: Replace = setattr) -> None:
    """From here on tensors of the CPU count as a GPU's. ``replace`` may be a monkeypatch's ``setattr``."""
    replace(_device, "stream_of", lambda _x: nullcontext(0))
    replace(_device, "capability", lambda _x: (8, 0))
    if interpreted():
        replace(backends.TRITON, "ready", lambda _device: Verdict(True, "interpreted"))
        _interpret(replace)
    else:
        replace(backends.CUDA, "ready", lambda _device: Verdict(True, "emulated"))
        replace(_native, "core", core)


def _interpret(replace: Replace) -> None:
    from emulation import interpreter

    from spinecore.kernels import _launch

    def launch(kernel: Any, grid: Any, arguments: Any, constants: Any, warps: int) -> None:
        with interpreter.guarded(*(v for v in arguments.values() if isinstance(v, torch.Tensor))):
            kernel[grid](**arguments, **constants, num_warps=warps)

    replace(_launch, "launch", launch)
    for implementation, (stem, names) in TRITON.items():
        kernels = importlib.import_module(f"spinecore.kernels.{stem}")
        directly = SimpleNamespace(**{op: getattr(kernels, name) for op, name in names.items()})
        place = importlib.import_module(f"spinecore.ops.{implementation}")
        replace(place, "_kernels", lambda directly=directly: directly)
