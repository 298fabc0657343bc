"""What the Triton kernels share: launching, so that Inductor sees it, and configurations shipped as data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
import triton

CONFIGURATIONS = Path(__file__).parent / "configurations.json"


@cache
def configurations() -> dict[str, Any]:
    """Operator -> kernel -> architecture -> what to launch it with. Chosen ahead of time, see the file."""
    return dict(json.loads(CONFIGURATIONS.read_text()))


Candidate = dict[str, int]
Key = tuple[str, str, int]
VARIABLE = "SPINECORE_TRITON_CONFIGURATIONS"


def _from_file(path: str) -> dict[Key, Candidate]:
    """What ``tuning.save`` wrote."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        found = {
            (operator, kernel, int(architecture)): {name: int(value) for name, value in row.items()}
            for operator, kernels in document.items()
            for kernel, rows in kernels.items()
            for architecture, row in rows.items()
        }
        for (operator, kernel, _), row in found.items():
            fixed = configuration(operator, kernel, 0)
            if row.keys() != fixed.keys() or any(v < 1 or v & (v - 1) for v in row.values()):
                raise ValueError(f"{operator}, {kernel}: {row} is not like {fixed}, in powers of two")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{VARIABLE}={path}: not a file of spinecore.kernels.tuning.save ({type(error).__name__}: "
            f"{error}); unset the variable, or tune anew"
        ) from error
    return found


tuned: dict[Key, Candidate] = {}
"""On request alone: by ``tuning.tune``, or from the file that the variable names."""

_asked: list[dict[Key, Candidate]] = []


@contextmanager
def recording() -> Iterator[dict[Key, Candidate]]:
    """Which configurations are asked for meanwhile, and what was answered."""
    _asked.append({})
    try:
        yield _asked[-1]
    finally:
        _asked.pop()


def configuration(operator: str, kernel: str, architecture: int) -> Candidate:
    """The tuned one of this architecture, or the fixed one of the newest listed architecture (80 is sm_80)
    that is not newer than it.
    """
    listed = configurations()[operator][kernel]
    known = [int(name) for name in listed if int(name) <= architecture]
    fixed = listed[str(max(known) if known else min(map(int, listed)))]
    chosen = dict(tuned.get((operator, kernel, architecture), fixed))
    for record in _asked:
        record[operator, kernel, architecture] = chosen
    return chosen


if VARIABLE in os.environ:
    tuned.update(_from_file(os.environ[VARIABLE]))


@cache
def _capability(device: torch.device) -> int:
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def architecture_of(x: torch.Tensor) -> int:
    """80 for sm_80; where Triton interprets on the CPU, as for the oldest."""
    return _capability(x.device) if x.device.type == "cuda" else 75


def launch(
    kernel: Any, grid: tuple[int, ...], arguments: dict[str, Any], constants: dict[str, Any], warps: int
) -> None:
    """Run `kernel`; through `wrap_triton`, so that a tracing compiler records it."""
    wrapped = torch.library.wrap_triton(kernel) if isinstance(kernel, triton.JITFunction) else kernel
    wrapped[grid](**arguments, **constants, num_warps=warps)
