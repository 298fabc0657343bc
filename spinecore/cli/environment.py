"""What is installed, read from package metadata: no torch, no plugin code, well under half a second."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

DISTRIBUTION = "spinecore-torch"
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9._-]+)\s*(\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?$")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_MINIMUM = re.compile(r">=\s*([0-9][0-9.]*)")


@dataclass(frozen=True)
class Requirement:
    """One dependency of the distribution and what is installed for it."""

    name: str
    minimum: str  # "" when none is stated
    extra: str  # "" for a required one
    installed: str | None

    @property
    def ok(self) -> bool:
        """Installed, and new enough."""
        return self.installed is not None and _numbers(self.installed) >= _numbers(self.minimum)

    @property
    def problem(self) -> str:
        """Why it is not ok, in words."""
        if self.installed is None:
            return f"{self.name} is not installed"
        return f"{self.name} {self.installed} is older than {self.minimum}"


def own_version() -> str:
    """Version of the distribution, or "not installed" in a bare source tree."""
    return version_of(DISTRIBUTION) or "not installed"


def version_of(name: str) -> str | None:
    """Installed version of a distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def requirements() -> list[Requirement]:
    """Every dependency the distribution declares, extras included (without ``dev``)."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return []
    found = []
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, _, bounds, marker = match.groups()
        extra = _EXTRA.search(marker or "")
        if extra is not None and extra.group(1) == "dev":
            continue
        minimum = _MINIMUM.search(bounds or "")
        least = minimum.group(1) if minimum else ""
        found.append(Requirement(name, least, extra.group(1) if extra else "", version_of(name)))
    return found


def core_state() -> dict[str, Any]:
    """What the native core says of itself, or ``{"available": False, "reason": ...}``."""
    try:
        core = importlib.import_module("spinecore._core")
    except ImportError as error:
        return {"available": False, "reason": str(error)}
    facts: dict[str, Any] = {"available": True, **core.info()}
    if facts.get("isa_error"):
        facts["isa_selected"] = None  # no operator of the core runs until the variable is mended
    else:
        facts.pop("isa_error", None)
    facts.pop("threads_source", None)  # of this process, which runs no operator
    return {**facts, "threads": _threads()}


def _threads() -> str:
    """Whose threads run the core's loops once torch is loaded, found without loading it."""
    found = importlib.util.find_spec("torch")
    library = None if found is None or found.origin is None else Path(found.origin).parent / "lib"
    if library is None or not any(library.glob("*torch_cpu*")):
        return "the core's own pool: no torch is installed that lends its threads"
    return "torch's pool (torch.set_num_threads) once torch is loaded"


def machine() -> dict[str, Any]:
    """Interpreter, system and processors."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": len(affinity(0)) if affinity else os.cpu_count(),
    }


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])
