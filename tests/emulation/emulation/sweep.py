"""kernels/configurations.json, chosen ahead of time from what each candidate takes of a multiprocessor.

python -m emulation.sweep [operator ...]    (in tests/emulation, to write the file; some minutes)

Every operator runs with tensors of the CPU; its launches are recorded instead, each is compiled for each
architecture, and registers, shared memory and occupancy decide. No clock is involved.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton

from emulation import resources, triton_ptx
from spinecore.kernels import (
    _launch,
    conv3x3,
    covariance_decorrelation,
    cross_decorrelation,
    dictionary_pool,
    latent_pool,
    scse_gate,
)
from spinecore.kernels.tuning import PRODUCTS, STREAMS

ROOT = Path(__file__).resolve().parents[3]
PATH = ROOT / "kernels/configurations.json"
Candidate = dict[str, int]
ENOUGH = 32768
"""Bytes under way on a multiprocessor. Its share of the bandwidth times 600 ns are 15 KB on an H100."""


class Launch(NamedTuple):
    kernel: Any
    arguments: dict[str, Any]
    constants: dict[str, Any]
    warps: int


class Figures(NamedTuple):
    """Of one launch. ``blocks`` and ``warps`` are those resident on a multiprocessor."""

    registers: int
    spilled: bool
    shared: int
    blocks: int
    warps: int


def _scse_gate() -> None:
    for channels in (64, 512):  # a tile has all channels, of eight pixels at least
        x = torch.empty(1, channels, 16, 16)
        w1, w2, ws = torch.empty(8, channels), torch.empty(channels, 8), torch.empty(channels)
        for image in (x, x.contiguous(memory_format=torch.channels_last)):
            results = scse_gate.forward(image, w1, None, w2, None, ws, None, "add")
            scse_gate.backward(image, image, w1, None, w2, ws, *results[1:], "add")


def _covariance() -> None:
    z = torch.empty(256, 128)
    results = covariance_decorrelation.forward(z, None, 1.0, 1e-4)
    scalar = torch.empty(())
    covariance_decorrelation.backward(z, None, scalar, scalar, *results[2:], 1.0, 1e-4)


def _cross() -> None:
    a, b = torch.empty(256, 128), torch.empty(256, 64)
    results = cross_decorrelation.forward(a, b, False)
    cross_decorrelation.backward(a, b, torch.empty(()), *results[1:], False)


def _latent() -> None:
    x, queries, none = torch.empty(2, 256, 64), torch.empty(32, 64), torch.empty(0)
    scores, norms, means = latent_pool.attend(x, queries, 8, none, none)
    latent_pool.differentiate(x, queries, none, scores, norms, means, torch.empty(2, 32))


def _dictionary() -> None:
    x, entries, share = torch.empty(2, 64, 64), torch.empty(64, 64), torch.empty(2, 64)
    weights = dictionary_pool.weigh(x, entries, 4, share)
    dictionary_pool.differentiate(x, entries, 4, share, weights, torch.empty(2, 64))


def _convolutions() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.empty(1, 64, 16, 16, dtype=dtype).contiguous(memory_format=torch.channels_last)
        rest = (None, None, None, None, None, False, True, False, False)
        conv3x3.run(x, torch.empty(64, 9, 64, dtype=dtype), *rest)
        conv3x3.weights(x, x, False)


# Operator and kernel as the file names them; which launches count by the kernel's name, all if empty.
OPERATORS: dict[tuple[str, str], tuple[Callable[[], None], str, list[Candidate]]] = {
    ("scse_gate", "reduce"): (_scse_gate, "reduce", STREAMS),
    ("scse_gate", "apply"): (_scse_gate, "apply", STREAMS),
    ("covariance_decorrelation", "multiply"): (_covariance, "", PRODUCTS),
    ("cross_decorrelation", "multiply"): (_cross, "", PRODUCTS),
    ("latent_pool", "products"): (_latent, "", PRODUCTS),
    ("dictionary_pool", "multiply"): (_dictionary, "", PRODUCTS),
    ("conv3x3", "products"): (_convolutions, "", PRODUCTS),
}


@contextmanager
def _recorded(candidate: Candidate, architecture: int) -> Iterator[list[Launch]]:
    """What would be launched with this configuration, on this architecture."""
    found: list[Launch] = []
    kept = (_launch.launch, _launch.configuration, _launch.architecture_of)
    _launch.launch = lambda kernel, _grid, *rest: found.append(Launch(kernel, *rest))
    _launch.configuration = lambda *_: dict(candidate)
    _launch.architecture_of = lambda _x: architecture
    try:
        yield found
    finally:
        _launch.launch, _launch.configuration, _launch.architecture_of = kept


@cache
def _usage(cubin: bytes) -> tuple[int, bool]:
    """Registers, and whether anything lies in local memory."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        tool = triton.knobs.nvidia.cuobjdump.path
        done = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+).*LOCAL:(\d+)", done.stdout)
    assert found, done.stdout
    return int(found[1]), bool(int(found[2]) or int(found[3]))


def figures(launch: Launch, architecture: int) -> Figures:
    """Of one launch, compiled."""
    built = triton_ptx.built(launch.kernel, launch.arguments, launch.constants, launch.warps, architecture)
    registers, spilled = _usage(built.asm["cubin"])
    threads = 32 * launch.warps
    taken = {"": {"registers": registers, "shared": built.metadata.shared}}
    occupancy = resources.occupancies(architecture, threads, taken)[0]
    warps = round(occupancy * RESIDENT_WARPS[architecture])
    return Figures(registers, spilled, built.metadata.shared, warps // launch.warps, warps)


RESIDENT_WARPS = {75: 32, 80: 64, 86: 48, 89: 48, 90: 64, 100: 64, 120: 48}


def worth(candidate: Candidate, of_launches: list[Figures]) -> tuple[int, ...]:
    """What the rule compares, the largest wins; the launch that has least counts. Spilling or not running at
    all comes last. A product wants two blocks and eight warps on a multiprocessor, so that one multiplies
    while another waits, then long steps, which have few barriers, then warps, then free registers. A stream
    wants enough bytes under way and 24 warps, then large tiles, which have few sums to pass on.
    """
    blocks, warps = min(f.blocks for f in of_launches), min(f.warps for f in of_launches)
    runs = int(blocks > 0 and not any(f.spilled for f in of_launches))
    registers = -max(f.registers for f in of_launches)
    if "depth" in candidate:
        return (runs, min(blocks, 2), min(warps, 8), candidate["depth"], warps, registers)
    enough = min(4 * blocks * candidate["elements"], ENOUGH)
    return (runs, enough, min(warps, 24), candidate["elements"], warps, registers)


def chosen(operator: str, kernel: str, architecture: int) -> Candidate:
    """The candidate that the rule prefers."""
    run, name, candidates = OPERATORS[operator, kernel]
    values = {}
    for index, candidate in enumerate(candidates):
        with _recorded(candidate, architecture) as launches:
            run()
        counted = [launch for launch in launches if name in launch.kernel.__name__]
        assert counted, f"{operator} launches no {name}"
        values[worth(candidate, [figures(launch, architecture) for launch in counted]), -index] = candidate
    return values[max(values)]


def main() -> None:
    """Write the file; with operators named, their part of it."""
    document: dict[str, Any] = json.loads(PATH.read_text()) if sys.argv[1:] else {}
    for operator, kernel in OPERATORS:
        if sys.argv[1:] and operator not in sys.argv[1:]:
            continue
        rows = {str(arch): chosen(operator, kernel, arch) for arch in resources.ARCHITECTURES}
        document.setdefault(operator, {})[kernel] = rows
        print(operator, kernel, rows, flush=True)
    lines = json.dumps(document, indent=2)
    # One line for each architecture.
    lines = re.sub(r"\{\s+(\"(?:depth|elements)\": \d+),\s+(\"num_warps\": \d+)\s+\}", r"{\1, \2}", lines)
    PATH.write_text(lines + "\n")


if __name__ == "__main__":
    main()
