"""Steps of whole models beside what each may take: `spinecore bench` prints them under the operators."""

from __future__ import annotations

from typing import Any

from spinecore.bench.measure import Effort
from spinecore.bench.timing import one_thread, time_in_turns
from spinecore.registry import Stage, list_models, model_spec


def timed_models() -> list[str]:
    """Names of the registered models that name steps to time."""
    return [name for name in list_models() if model_spec(name).stages is not None]


def stage_rows(name: str, effort: Effort) -> list[dict[str, Any]]:
    """JSON-ready rows of a model's steps: "stage", "seconds" of CPU time on one thread, "limit", "part_of"
    and "share" of it, None where there is none.
    """
    stages: list[Stage] = model_spec(name).load("stages")()
    with one_thread():
        seconds = time_in_turns(
            {s.name: s.call for s in stages}, rounds=effort.rounds, seconds=effort.seconds
        )
    return [
        {
            "stage": s.name,
            "seconds": seconds[s.name],
            "limit": s.limit,
            "part_of": s.part_of,
            "share": None if s.part_of is None else seconds[s.name] / seconds[s.part_of],
        }
        for s in stages
    ]
