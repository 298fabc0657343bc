"""A training task and its options to finished weights in a folder: what the commands for all models share."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from spinecore.io.errors import UsageError

from .loop import Schedule
from .run import RECORD, begun_run, limited_threads, same_options
from .task import TrainingTask


class DescribedTask(TrainingTask, Protocol):
    """A task that says what a resumed run must share with the one it goes on."""

    def describe(self) -> dict[str, Any]:
        """Its options, for the run's record."""
        ...


def config_fields(config: Path | None) -> dict[str, Any]:
    """Fields of a model's configuration from a JSON file. Raises UsageError unless it holds a mapping."""
    if config is None:
        return {}
    try:
        fields = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UsageError(f"{config}: not JSON ({e}); give a mapping of configuration fields") from e
    if not isinstance(fields, dict):
        raise UsageError(f"{config}: holds {type(fields).__name__}; give a mapping of configuration fields")
    return fields


def fit(
    model: str,
    task: DescribedTask,
    schedule: Schedule,
    source: dict[str, Path | str | None],
    out: Path,
    *,
    fresh: bool = False,
    threads: int | None = None,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Train into folder `out`, or go on with the run there; returns the last validation figures."""
    import torch
    from rich.console import Console

    from .loop import train

    out.mkdir(parents=True, exist_ok=True)
    begun = begun_run(out, fresh)
    threads = threads or (begun or {}).get("threads") or torch.get_num_threads()
    options = {
        "model": model,
        **task.describe(),
        "source": {k: str(v) if v is not None else None for k, v in source.items()},
        "schedule": asdict(schedule),
        "threads": threads,
    }
    record = out / RECORD
    if begun is not None:
        same_options(record, begun, options)
    record.write_text(json.dumps(options, indent=1), encoding="utf-8")
    with limited_threads(threads):
        figures = train(task, schedule, out, stop_after=stop_after)
    Console().print(
        f"{out}: {schedule.steps} steps; " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items())
    )
    return figures
