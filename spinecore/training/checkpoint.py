"""Whole training state in one safetensors file, written atomically; nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

FORMAT = "spinecore-checkpoint-1"


def save_checkpoint(
    path: Path, model: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer, meta: dict[str, Any]
) -> None:
    """Write model, moving average and optimiser moments; a kill in the middle keeps the former file."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.state_dict().items()}
    for name, p in model.named_parameters():
        for key, value in optimizer.state[p].items():
            tensors[f"optimizer.{name}:{key}"] = value
    partial = path.with_suffix(".partial")
    save_file(
        {k: v.detach().contiguous() for k, v in tensors.items()},
        partial,
        metadata={"format": FORMAT, "meta": json.dumps(meta)},
    )
    partial.replace(path)


def load_checkpoint(
    path: Path, model: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote into the given objects; returns meta."""
    with safe_open(path, framework="pt") as f:
        metadata = f.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path}: not a training checkpoint of this version; start afresh with --fresh")
        tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 - safe_open is no mapping
    for prefix, module in (("model.", model), ("ema.", ema)):
        module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    for name, p in model.named_parameters():
        state: dict[str, torch.Tensor] = {}
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = tensors[f"optimizer.{name}:{key}"]
            # Moments keep the parameter's memory format, so that a resumed step is the same to the bit.
            state[key] = value if key == "step" else torch.zeros_like(p).copy_(value)
        optimizer.state[p] = state
    meta: dict[str, Any] = json.loads(metadata["meta"])
    return meta
