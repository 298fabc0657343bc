"""One row: every variant of a case at one shape built, checked in double precision and timed in turns."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from spinecore.backends import BackendUnavailable
from spinecore.bench import machine
from spinecore.bench.case import (
    CONTEXT,
    OURS,
    PEER,
    Call,
    Case,
    Shape,
    Unavailable,
    relative_error,
    results_of,
)
from spinecore.bench.models import quiet_libraries
from spinecore.bench.timing import PROBE_ROUNDS, keep_memory, one_thread, time_in_turns


class Effort(NamedTuple):
    """How long to measure, and whether to wait for torch.compile."""

    rounds: int = 7
    seconds: float = 0.02
    compiled: bool = True


FULL = Effort()
QUICK = Effort(3, 0.01, compiled=False)
QUICK_COMPILED = Effort(3, 0.01)


def measure(case: Case, shape: Shape, effort: Effort = FULL) -> dict[str, Any]:
    """Measure one shape of a case.

    Returns:
        In plain types: ``shape``, ``measured`` (UTC), ``load`` before and after, ``rounds``, ``variants``
        (name, kind, family, and either seconds, rounds and error or the reason why it is not counted) and
        ``limit``. A variant twice as slow as the best of its kind stops after two rounds.

    """
    keep_memory()
    before = machine.load()
    torch.compiler.reset()
    with one_thread():
        problem = case.problem(shape)
        expected = results_of(problem.expected())
        entries: list[dict[str, Any]] = []
        calls: dict[str, Call] = {}
        for name, variant in problem.variants.items():
            if "compile" in name and not effort.compiled:
                continue
            entry: dict[str, Any] = {"name": name, "kind": variant.kind, "family": variant.family}
            entries.append(entry)
            try:
                with quiet_libraries():
                    call = variant.build()
                    error = relative_error(results_of(call()), expected)
            except Exception as failure:  # noqa: BLE001 - the reason goes into the results
                entry["reason"] = _reason(failure)
                continue
            entry["error"] = error if error < float("inf") else None
            allowed = max(case.tolerance, variant.tolerance)
            if error > allowed:
                entry["reason"] = f"wrong values: relative error {error:.1e}, allowed {allowed:.0e}"
                continue
            calls[name] = call
        del expected
        gc.collect()
        work = case.work(shape)
        kinds = {entry["name"]: entry["kind"] for entry in entries}
        dropped: set[str] = set()

        def hopeless(medians: Mapping[str, float]) -> set[str]:
            dropped.update(too_slow(medians, kinds))
            return dropped

        timed = {**calls, **machine.limit_variants(work)}
        seconds = time_in_turns(timed, effort.rounds, effort.seconds, hopeless)
    for entry in entries:
        if entry["name"] in calls:
            entry["seconds"] = seconds[entry["name"]]
            entry["rounds"] = PROBE_ROUNDS if entry["name"] in dropped else effort.rounds
    return {
        "shape": list(shape),
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": [before, machine.load()],
        "rounds": effort.rounds,
        "variants": entries,
        "limit": machine.limits_of(seconds, work),
    }


def too_slow(seconds: Mapping[str, float], kinds: Mapping[str, str]) -> set[str]:
    """Those that take twice as long as the best of their kind (context: as the best peer), and so cannot
    change any ratio.
    """
    best: dict[str, float] = {}
    for name, kind in kinds.items():
        if name in seconds:
            best[kind] = min(best.get(kind, seconds[name]), seconds[name])
    best[CONTEXT] = best.get(PEER, float("inf"))
    return {name for name, kind in kinds.items() if name in seconds and seconds[name] > 2 * best[kind]}


def _reason(failure: BaseException) -> str:
    """One line for the table; an exporter's own words are in what it was caused by."""
    failure = failure.__cause__ or failure
    text = "".join(c for c in str(failure).strip() if c.isprintable() or c == "\n").splitlines()
    words = text[0][:300] if text else "no message"
    if isinstance(failure, BackendUnavailable):
        return words.partition("cannot run: ")[2] or words
    if isinstance(failure, Unavailable):
        return words
    return f"{type(failure).__name__}: {words}"


def is_native(row: dict[str, Any]) -> bool:
    """Whether one of our own variants ran in this row."""
    return any(entry["kind"] == OURS and "seconds" in entry for entry in row["variants"])
