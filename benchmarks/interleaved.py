"""Timing on a shared machine: variants take turns in one process, on the process's own CPU time.

CPU time is not inflated when another job takes the core, and taking turns spreads what remains (caches,
memory traffic) over all variants alike. Ratios of such times repeat far better than wall clock times.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_memory() -> None:
    """Let glibc keep freed tensors of up to 32 MiB instead of giving their pages back after every call.

    Otherwise page faults make up to half of the time of whoever allocates last, peer or not, as luck has it.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def time_in_turns(
    variants: Mapping[str, Callable[[], object]], rounds: int = 9, seconds: float = 0.02
) -> dict[str, float]:
    """Median CPU seconds of one call of each variant, on one thread."""
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for call in variants.values():
        call()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in variants.items():
                call()
                calls, wall, start = 0, time.perf_counter(), time.process_time()
                while calls == 0 or time.perf_counter() - wall < seconds:
                    call()
                    calls += 1
                samples[name].append((time.process_time() - start) / calls)
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in samples.items()}
