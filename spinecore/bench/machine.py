"""The machine: what it is, what else runs on it, and what it can do at best."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from spinecore.bench.case import Work

PACKAGES = ("torch", "onnxruntime", "openvino", "numpy")
_FMA_STEPS = 400_000  # about a millisecond
FMA, READ, COPY, STREAM = "limit fma", "limit read", "limit copy", "limit copy streamed"


def describe() -> dict[str, Any]:
    """Processor, instruction set, compiler and versions: times of two equal descriptions may be compared."""
    import spinecore
    from spinecore import _native

    core = _native.info()
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "spinecore": spinecore.__version__,
        "isa": core.get("isa_selected", "none: " + str(core["reason"])),
        "compiler": core.get("compiler", "none"),
        **{name: _version(name) for name in PACKAGES},
    }


def load() -> float:
    """The load average of the last minute; 0 where the system tells none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a file of the system
            facts = dict(line.split(":", 1) for line in lines if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    found = {key.strip(): value.strip() for key, value in facts.items()}
    name = found.get("model name", platform.machine())
    if "cpu family" in found:
        name += f" (family {found['cpu family']}, model {found.get('model', '?')})"
    return name


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def limit_variants(work: Work) -> dict[str, Callable[[], object]]:
    """Calls that run the machine at its limits, to be timed in turns with the operator; none without the
    native core.
    """
    import torch

    from spinecore import _native

    if _native.unavailable_reason() is not None:
        return {}
    core = _native.core()
    found: dict[str, Callable[[], object]] = {FMA: lambda: core.fma_burst(_FMA_STEPS)}
    if work.limit == "traffic":
        x = torch.ones(work.tensor_bytes // 4, dtype=torch.float32, device="cpu")
        y = torch.zeros_like(x)
        found[READ] = lambda: core.read_burst(x)
        found[COPY] = lambda: core.copy_burst(x, y, False)
        found[STREAM] = lambda: core.copy_burst(x, y, True)
    return found


def limits_of(seconds: Mapping[str, float], work: Work) -> dict[str, float]:
    """From the times of :func:`limit_variants`: multiply-add peak, bandwidths, least time of the work.

    A copy of n bytes counts as n: where plain and streamed stores differ, the faster one is the limit.
    """
    from spinecore import _native

    if FMA not in seconds:
        return {}
    peak = _native.core().fma_burst(_FMA_STEPS) / seconds[FMA]
    if work.limit == "fma":
        return {"fma_gflops": peak / 1e9, "seconds": work.flops / peak}
    copy = min(seconds[COPY], seconds[STREAM])
    least = (work.reads - work.writes) * seconds[READ] + work.writes * copy
    return {
        "fma_gflops": peak / 1e9,
        "read_gb_per_s": work.tensor_bytes / seconds[READ] / 1e9,
        "copy_gb_per_s": work.tensor_bytes / copy / 1e9,
        "seconds": least,
    }
