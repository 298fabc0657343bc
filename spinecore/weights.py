"""Weights: safetensors with the model's configuration inside and a card beside; never unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spinecore.registry import ModelSpec

if TYPE_CHECKING:
    from torch import nn


class WeightsError(RuntimeError):
    """Weights are missing, damaged or of another model; the message names the file and the remedy."""


def resolve_weights(spec: ModelSpec, weights: str | Path) -> Path:
    """Path of a weights file: "shipped", a file, or a folder that holds weights.safetensors."""
    if str(weights) == "shipped":
        path = spec.weights_path()
        if path is None:
            raise WeightsError(f"no weights ship with {spec.name!r}; give --weights FILE or train it first")
        return path
    path = Path(weights)
    if path.is_dir():
        path = path / "weights.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such weights file; give a .safetensors file or a training run's folder"
        )
    return path


def checksum(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def read_card(path: Path) -> dict[str, Any]:
    """The card beside a weights file (same name, .json); empty when there is none."""
    card = path.with_suffix(".json")
    if not card.is_file():
        return {}
    data: dict[str, Any] = json.loads(card.read_text(encoding="utf-8"))
    return data


def write_card(path: Path, content: dict[str, Any]) -> None:
    """Write the card of a weights file: `content` and the file's checksum."""
    card = {**content, "sha256": checksum(path)}
    text = json.dumps(card, indent=1) + "\n"
    path.with_suffix(".json").write_text(text, encoding="utf-8")


def pack_weights(source: Path, target: Path, card: dict[str, Any] | None = None) -> None:
    """Copy weights with matrices and kernels in float16 (half the size; vectors stay fp32), with their card.

    A value that float16 cannot hold within 0.1 % of its tensor's largest is an error, not a surprise.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, framework="pt") as f:
        metadata = f.metadata()
        state = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 - safe_open is no mapping
    for name, value in state.items():
        if value.dtype == torch.float32 and value.dim() > 1:
            half = value.half()
            if not (half.float() - value).abs().max() <= 1e-3 * value.abs().max():
                raise WeightsError(f"{source}: {name} does not fit float16; ship it in fp32")
            state[name] = half
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, target, metadata=metadata)
    write_card(target, read_card(source) | (card or {}))


def load_weights(spec: ModelSpec, path: Path, config: dict[str, Any] | None = None) -> nn.Module:
    """Build the model that `path` was saved from and load it.

    Raises:
        WeightsError: damaged file, checksum other than the card's, another model, or contradicting `config`.

    """
    from safetensors import SafetensorError, safe_open

    expected = read_card(path).get("sha256")
    if expected is not None and expected != checksum(path):
        raise WeightsError(f"{path}: SHA-256 differs from the card's {expected[:12]}...; copy the file again")
    try:
        with safe_open(path, framework="pt") as f:
            metadata = f.metadata() or {}
            state = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 - safe_open is no mapping
    except SafetensorError as e:
        raise WeightsError(f"{path}: not a readable safetensors file ({e}); copy it again") from e
    if metadata.get("model") != spec.name:
        raise WeightsError(f"{path}: holds weights of {metadata.get('model')!r}, not of {spec.name!r}")
    stored = json.loads(metadata.get("config", "{}"))
    for key, value in (config or {}).items():
        if key in stored and stored[key] != (list(value) if isinstance(value, tuple) else value):
            raise WeightsError(f"{path}: was trained with {key}={stored[key]}, not {value}; leave {key} out")
    model: nn.Module = spec.load("build")(spec.load("config")(**stored))
    try:
        model.load_state_dict(state)
    except RuntimeError as e:
        raise WeightsError(f"{path}: does not fit {spec.name!r} of this version ({e})") from e
    return model
