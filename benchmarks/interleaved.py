"""Timing in turns, from where the package has it."""

from __future__ import annotations

from spinecore.bench.timing import keep_memory, time_in_turns

__all__ = ["keep_memory", "time_in_turns"]
