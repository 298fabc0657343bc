"""Model plugins: entry points of the group `spinecore.models`, found without importing them.

The entry point's name is the key; its value names a `ModelSpec`, which is data. Listing imports nothing of a
plugin but its spec, and no torch. `SPINECORE_PLUGINS=a,b` admits only those keys (empty: none).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import nn

GROUP = "spinecore.models"
API = 1


class PluginError(RuntimeError):
    """A plugin is unknown, broken, or claimed twice; the message says which and what to do."""


class Stage(NamedTuple):
    """A step of a model that `spinecore bench` times on one thread.

    `limit` are the seconds it may take, None where nothing was promised; `part_of` is the name of the step
    that it is part of, of which its share is printed.
    """

    name: str
    call: Callable[[], object]
    limit: float | None = None
    part_of: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """What a plugin says of itself. All references are "module:attribute", resolved on first use.

    Attributes:
        api: version of this contract, 1.
        name: the key under which it registers.
        task: what it does, e.g. "film" (reads vertebrae from radiographs).
        build: config -> torch.nn.Module.
        config: the configuration dataclass; its defaults are the model's defaults.
        ops: operators of spinecore that it uses.
        weights: file inside the plugin's package with shipped weights, or None.
        provenance: paper, data and licence in one line.
        reader: (model, device) -> FilmReader, for task "film"; (model, samples) -> readings for "multimodal";
            (model, device, prompts) -> object with probabilities(slice) for "mri".
        trainer: training entry used by `spinecore train`.
        study: study entry used by `spinecore study`, for task "multimodal".
        stages: () -> list of `Stage`, the steps that `spinecore bench` times.
        example: () -> tuple of small inputs for the model, used by `spinecore.testing.check_plugin`.

    """

    api: int
    name: str
    task: str
    build: str
    config: str
    ops: tuple[str, ...] = ()
    weights: str | None = None
    provenance: str = ""
    reader: str | None = None
    trainer: str | None = None
    example: str | None = None
    study: str | None = None
    stages: str | None = None

    def load(self, what: str) -> Callable[..., Any]:
        """Resolve `build`, `config`, `reader`, `trainer`, `example`, `study` or `stages`."""
        reference = getattr(self, what)
        if reference is None:
            raise PluginError(f"model {self.name!r} has no {what}")
        module, _, attribute = reference.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return found

    def weights_path(self) -> Path | None:
        """Where the shipped weights lie, or None when none ship."""
        if self.weights is None:
            return None
        package = importlib.import_module(self.build.partition(":")[0].rpartition(".")[0])
        if package.__file__ is None:
            return None
        path = Path(package.__file__).parent / self.weights
        return path if path.is_file() else None


@dataclass(frozen=True)
class Plugin:
    """One registered name: its spec, or why there is none."""

    name: str
    value: str
    distribution: str
    spec: ModelSpec | None
    error: str | None = None
    exception: BaseException | None = field(default=None, compare=False, repr=False)

    @property
    def available(self) -> bool:
        """Whether the plugin can be used."""
        return self.spec is not None


def _distribution(point: EntryPoint) -> str:
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist is not None else "unknown distribution"


def _load(point: EntryPoint) -> Plugin:
    origin = _distribution(point)
    try:
        spec = point.load()
    except Exception as e:  # noqa: BLE001 - a broken plugin is listed with its reason, and raised when asked for
        return Plugin(point.name, point.value, origin, None, f"{type(e).__name__}: {e}", e)
    if not isinstance(spec, ModelSpec):
        return Plugin(
            point.name, point.value, origin, None, f"{point.value} is {type(spec).__name__}, not a ModelSpec"
        )
    if spec.api != API:
        return Plugin(
            point.name, point.value, origin, None, f"made for plugin API {spec.api}; this spinecore has {API}"
        )
    if spec.name != point.name:
        return Plugin(
            point.name, point.value, origin, None, f"spec is named {spec.name!r}, entry point {point.name!r}"
        )
    return Plugin(point.name, point.value, origin, spec)


def _admitted(name: str) -> bool:
    allowed = os.environ.get("SPINECORE_PLUGINS")
    return allowed is None or name in {a.strip() for a in allowed.split(",")}


@cache
def _points() -> Mapping[str, tuple[EntryPoint, ...]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        same = found.setdefault(point.name, [])
        # One distribution seen twice on sys.path (an editable install beside a wheel) is no conflict.
        if not any(p.value == point.value and _distribution(p) == _distribution(point) for p in same):
            same.append(point)
    return {k: tuple(v) for k, v in sorted(found.items())}


def refresh() -> None:
    """Forget what was found, after installing or removing a plugin in this process."""
    _points.cache_clear()


def plugins() -> list[Plugin]:
    """Every registered name with its spec or the reason why it cannot be used, sorted by name."""
    out: list[Plugin] = []
    for name, same in _points().items():
        if not _admitted(name):
            out.append(Plugin(name, same[0].value, _distribution(same[0]), None, "not in SPINECORE_PLUGINS"))
        elif len(same) > 1:
            origins = " and ".join(_distribution(p) for p in same)
            out.append(
                Plugin(name, same[0].value, origins, None, f"{name!r} is claimed by {origins}; remove one")
            )
        else:
            out.append(_load(same[0]))
    return out


def list_models(task: str | None = None) -> list[str]:
    """Names of the usable models, all or those of one task. Imports no torch."""
    return [p.name for p in plugins() if p.spec is not None and (task is None or p.spec.task == task)]


def model_spec(name: str) -> ModelSpec:
    """Spec of one model.

    Raises:
        PluginError: unknown name (the message lists the known ones) or a plugin that could not be loaded (its
            own exception is the cause).

    """
    for plugin in plugins():
        if plugin.name == name:
            if plugin.spec is None:
                raise PluginError(
                    f"model {name!r} ({plugin.distribution}): {plugin.error}"
                ) from plugin.exception
            return plugin.spec
    known = ", ".join(list_models()) or "none"
    raise PluginError(f"no model named {name!r}; known: {known}. `spinecore models` lists them")


def create_model(name: str, weights: str | Path | None = None, **config: Any) -> nn.Module:
    """Build a model, with weights if given.

    Args:
        name: registered name.
        weights: None (random), "shipped", a safetensors file, or a folder with weights.safetensors. A file's
            own configuration is used; `config` entries that contradict it are an error.
        config: fields of the model's configuration.

    """
    from spinecore.weights import load_weights, resolve_weights

    spec = model_spec(name)
    if weights is None:
        model: nn.Module = spec.load("build")(spec.load("config")(**config))
        return model
    return load_weights(spec, resolve_weights(spec, weights), config)
