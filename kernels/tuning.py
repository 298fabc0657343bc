"""Configurations of the Triton kernels by the clock, on request only.

The shipped ones (``configurations.json``) are fixed, so that a result and its time are the same in every
process. Who wants others for a GPU and a shape of their own asks for them:

    from spinecore.kernels import tuning
    tuning.tune(lambda: ops.scse_gate(x, *parameters, backend="triton"))
    tuning.save("tuned.json")  # other processes: SPINECORE_TRITON_CONFIGURATIONS=tuned.json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import triton

from . import _launch
from ._launch import Candidate, Key

PRODUCTS = [{"depth": depth, "num_warps": warps} for depth in (16, 32) for warps in (4, 8)]
STREAMS = [{"elements": size, "num_warps": warps} for size in (1024, 2048, 4096) for warps in (4, 8)]

Timer = Callable[[Callable[[], object]], float]


def by_the_clock(call: Callable[[], object]) -> float:
    """Milliseconds on the current GPU, the median of many runs."""
    return float(triton.testing.do_bench(call, return_mode="median"))


def tune(call: Callable[[], object], timer: Timer = by_the_clock) -> dict[Key, Candidate]:
    """Time every candidate of every kernel that ``call`` launches, and keep the best for this process.

    Args:
        call: Runs operators with ``backend="triton"``, eagerly, on the GPU and at the shapes that count.
        timer: What a call costs; the least wins, at a tie what was in use before.

    Returns:
        The choices by operator, kernel and architecture (80 is sm_80). Kernels are tuned one after another,
        each with the others as chosen so far. Candidates that do not fit on the GPU are left out.

    Raises:
        ValueError: ``call`` launches no Triton kernel of this package.

    """
    with _launch.recording() as asked:
        call()
    if not asked:
        raise ValueError(
            "tune: the call launched no Triton kernel of spinecore; name backend='triton', on a GPU, and "
            "call it eagerly (what torch.compile has traced keeps its configuration)"
        )
    chosen = {}
    for key, fixed in asked.items():
        candidates = PRODUCTS if "depth" in fixed else STREAMS
        costs = {
            index: _cost(call, timer, key, candidate) for index, candidate in enumerate([fixed, *candidates])
        }
        best = min(costs, key=lambda index: costs[index])
        chosen[key] = _launch.tuned[key] = [fixed, *candidates][best]
    return chosen


def _cost(call: Callable[[], object], timer: Timer, key: Key, candidate: Candidate) -> float:
    before = _launch.tuned.get(key)
    _launch.tuned[key] = candidate
    try:
        return timer(call)
    except triton.runtime.errors.OutOfResources:
        return float("inf")
    finally:
        if before is None:
            del _launch.tuned[key]
        else:
            _launch.tuned[key] = before


def forget() -> None:
    """Back to the fixed configurations."""
    _launch.tuned.clear()


def save(path: str | Path) -> None:
    """Write what was tuned in this process, in the form of ``configurations.json``."""
    document: dict[str, dict[str, dict[str, Candidate]]] = {}
    for (operator, kernel, architecture), candidate in _launch.tuned.items():
        document.setdefault(operator, {}).setdefault(kernel, {})[str(architecture)] = candidate
    Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
