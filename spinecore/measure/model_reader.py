"""A registered film model as a reader of films."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spinecore.io.errors import FilmError, UsageError
from spinecore.io.film import Film
from spinecore.io.find import FilmSource
from spinecore.measure.readers import ReaderInfo
from spinecore.spine.reading import FilmReading

DEFAULT_MODEL = "r2mf_net"


class FilmReader(Protocol):
    """What the ``reader`` factory of a film model's spec returns."""

    def read(self, pixels: list[NDArray[np.float32]]) -> list[FilmReading]:
        """Films (H, W) in 0..1, bone bright -> one reading each, in original pixels."""


class ModelReader:
    """Adapts a :class:`FilmReader` to one film at a time."""

    def __init__(self, reader: FilmReader, info: ReaderInfo) -> None:
        self._reader = reader
        self.info = info

    def fingerprint(self, source: FilmSource) -> str:  # noqa: ARG002 - the same for every film
        """Model and weights."""
        return f"model:{self.info.name}:{self.info.weights_sha256}"

    def read(self, source: FilmSource, film: Film) -> FilmReading:  # noqa: ARG002 - pixels are enough
        """One film through the model."""
        readings = self._reader.read([film.pixels])
        if len(readings) != 1:
            raise FilmError(f"model {self.info.name} returned {len(readings)} readings for one film")
        return readings[0]


def load_model_reader(
    name: str = DEFAULT_MODEL, weights: str | Path | None = None, device: str = "auto"
) -> ModelReader:
    """Build the model once, with the weights given or shipped.

    Raises PluginError, WeightsError or :class:`UsageError`, each with its remedy.
    """
    from spinecore.nn.prepared import freeze
    from spinecore.registry import create_model, list_models, model_spec
    from spinecore.weights import checksum, read_card, resolve_weights

    spec = model_spec(name)
    if spec.reader is None or spec.task != "film":
        known = ", ".join(list_models("film")) or "none"
        raise UsageError(f"model {name!r} reads no films (task {spec.task}); models that do: {known}")
    path = resolve_weights(spec, "shipped" if weights is None else weights)
    chosen = choose_device(device)
    model = create_model(name, weights=path)
    freeze(model)  # nobody else has it
    card = read_card(path)
    info = ReaderInfo(
        kind="model",
        name=name,
        device=chosen,
        weights=path.name,
        weights_sha256=checksum(path),
        details={"provenance": spec.provenance, "card": card},
    )
    reader: Any = spec.load("reader")(model, chosen)
    return ModelReader(reader, info)


def choose_device(device: str) -> str:
    """``auto`` -> "cuda" where a GPU can be used, else "cpu"; a device asked for by name must be there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device)
    except RuntimeError:
        raise UsageError(f"--device {device!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if kind.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {device!r} is not supported; use auto, cpu, cuda or cuda:N")
    if kind.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError(
                f"--device {device!r}: torch {torch.__version__} sees no GPU here; use --device cpu"
            )
        if ":" in device and kind.index >= torch.cuda.device_count():
            raise UsageError(
                f"--device {device!r}: there are {torch.cuda.device_count()} GPUs, counted from 0"
            )
    return device
