"""Benchmarks: cases, the peers' best settings, timing in turns, and the table with the machine's limits.

``make bench`` and ``spinecore bench`` run the same cases; nothing here is imported by an operator.
"""

from __future__ import annotations

from spinecore.bench.case import Case, Problem, Target, Unavailable, Variant, Work
from spinecore.bench.timing import keep_memory, one_thread, time_in_turns

__all__ = [
    "Case",
    "Problem",
    "Target",
    "Unavailable",
    "Variant",
    "Work",
    "keep_memory",
    "one_thread",
    "time_in_turns",
]
