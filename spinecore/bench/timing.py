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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_memory() -> None:
    """Let glibc keep freed tensors of up to 32 MiB instead of giving their pages back after every call.

    Otherwise page faults make up to half of the time of whoever allocates last, peer or not, as luck has it.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch, and with it the native kernels, on one thread inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


PROBE_ROUNDS = 2


def time_in_turns(
    variants: Mapping[str, Callable[[], object]],
    rounds: int = 9,
    seconds: float = 0.02,
    hopeless: Callable[[Mapping[str, float]], set[str]] | None = None,
) -> dict[str, float]:
    """Median CPU seconds of one call of each variant, on one thread.

    In every round each variant runs until ``seconds`` have passed, at least once. Before that it runs once
    untimed, so that it meets the caches as it leaves them itself; not where one call takes several times
    ``seconds``, which is long enough for that not to matter.

    After two rounds ``hopeless`` may name from the medians so far the variants that need no more of them.
    """
    samples: dict[str, list[float]] = {name: [] for name in variants}
    short: dict[str, bool] = {}
    for name, call in variants.items():
        start = time.perf_counter()
        call()
        short[name] = time.perf_counter() - start < 3 * seconds  # a first call takes longer
    gc.collect()
    gc.disable()
    try:
        dropped: set[str] = set()
        for done in range(rounds):
            if hopeless is not None and done == PROBE_ROUNDS:
                dropped = hopeless({name: statistics.median(values) for name, values in samples.items()})
            for name, call in variants.items():
                if name in dropped:
                    continue
                if short[name]:
                    call()
                calls, wall, start = 0, time.perf_counter(), time.process_time()
                while calls == 0 or time.perf_counter() - wall < seconds:
                    call()
                    calls += 1
                samples[name].append((time.process_time() - start) / calls)
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in samples.items()}
