"""What the Triton kernels share: launching, so that Inductor sees it, and configurations shipped as data."""

from __future__ import annotations

import json
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


def configuration(operator: str, kernel: str, architecture: int) -> dict[str, int]:
    """That of the newest listed architecture (80 is sm_80) that is not newer than `architecture`."""
    listed = configurations()[operator][kernel]
    known = [int(name) for name in listed if int(name) <= architecture]
    return dict(listed[str(max(known) if known else min(map(int, listed)))])


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
