"""The one place that loads the native core `spinecore._core`, and that keeps the reason when it cannot.

Only `spinecore.backends` and `spinecore.ops` use this module. The core checks every tensor it is given but
knows nothing of autograd: calling it directly would lose gradients without a word.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_SHARED_LIBRARY = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}.get(
    sys.platform, "libtorch_cpu.so"
)


class NativeCoreUnavailable(RuntimeError):  # noqa: N818 - reads as what it says
    """The native core is absent or broken; the message carries the reason and the remedy."""


@dataclass(frozen=True)
class _Load:
    module: ModuleType | None
    reason: str
    threads: str


@cache
def _load() -> _Load:
    try:
        module = importlib.import_module("spinecore._core")
    except ModuleNotFoundError as error:
        if error.name != "spinecore._core":
            raise
        reason = (
            "the native core was not built into this installation; reinstall where a C++17 compiler is found "
            "(pip install --force-reinstall --no-deps . -C cmake.define.SPINECORE_CORE=ON)"
        )
        return _Load(None, reason, "")
    except ImportError as error:
        return _Load(
            None, f"the native core does not load: {error}; reinstall spinecore-torch for this Python", ""
        )
    return _Load(module, "", _borrow_torch_threads(module))


def _borrow_torch_threads(module: ModuleType) -> str:
    """Run the loops of the core on torch's own pool, so that `torch.set_num_threads` holds for them too."""
    import torch

    library = Path(torch.__file__).parent / "lib" / _SHARED_LIBRARY
    try:
        function = ctypes.CDLL(str(library)).torch_parallel_for
    except (OSError, AttributeError) as error:
        return f"the core's own pool: torch {torch.__version__} does not lend its threads ({error})"
    module.set_parallel_for(ctypes.cast(function, ctypes.c_void_p).value)
    return "torch's pool (torch.set_num_threads)"


def unavailable_reason() -> str | None:
    """Why the native core cannot be used, with the remedy; None when it can."""
    return _load().reason or None


@cache
def cuda_unavailable_reason() -> str | None:
    """Why the CUDA kernels cannot be used, with the remedy; None when they can."""
    loaded = _load()
    if loaded.module is None:
        return loaded.reason
    facts = loaded.module.info()
    if not facts["cuda_built"]:
        return f"{facts['cuda_reason']}; reinstall with nvcc on the PATH (-C cmake.define.SPINECORE_CUDA=ON)"
    return str(facts["cuda_reason"]) or None


def core() -> ModuleType:
    """The loaded extension module.

    Raises:
        NativeCoreUnavailable: it is absent or broken.

    """
    loaded = _load()
    if loaded.module is None:
        raise NativeCoreUnavailable(loaded.reason)
    return loaded.module


def info() -> dict[str, Any]:
    """What the core is and found on this machine; `available` and `reason` alone when there is none."""
    loaded = _load()
    if loaded.module is None:
        return {"available": False, "reason": loaded.reason}
    return {"available": True, "reason": "", **loaded.module.info(), "threads": loaded.threads}
