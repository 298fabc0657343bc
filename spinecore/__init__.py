"""spinecore: fused spine operators for PyTorch and the measurements built on them.

Importing this package is cheap and does not import torch: every public name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinecore import backends, io, measure, metrics, nn, ops, report, spine, testing, training
    from spinecore.backends import explain
    from spinecore.cli.doctor import examine as doctor
    from spinecore.cli.info import gather as info
    from spinecore.registry import create_model, list_models, model_spec

    __version__: str

_MODULES = ("backends", "io", "measure", "metrics", "nn", "ops", "report", "spine", "testing", "training")
_NAMES = {
    "create_model": ("spinecore.registry", "create_model"),
    "doctor": ("spinecore.cli.doctor", "examine"),
    "explain": ("spinecore.backends", "explain"),
    "info": ("spinecore.cli.info", "gather"),
    "list_models": ("spinecore.registry", "list_models"),
    "model_spec": ("spinecore.registry", "model_spec"),
}

__all__ = [  # noqa: RUF022 - functions first, then modules
    "__version__",
    "create_model",
    "doctor",
    "explain",
    "info",
    "list_models",
    "model_spec",
    "backends",
    "io",
    "measure",
    "metrics",
    "nn",
    "ops",
    "report",
    "spine",
    "testing",
    "training",
]


def __getattr__(name: str) -> Any:
    value: Any
    if name == "__version__":
        from importlib.metadata import version

        value = version("spinecore-torch")
    elif name in _NAMES:
        module, attribute = _NAMES[name]
        value = getattr(importlib.import_module(module), attribute)
    elif name in _MODULES:
        value = importlib.import_module(f"spinecore.{name}")
    else:
        raise AttributeError(f"module 'spinecore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
