"""`spinecore train` for models of several modalities: a table or a set to finished weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spinecore.io.errors import UsageError
from spinecore.registry import model_spec

from .run import RECORD, begun_run, limited_threads, same_options

EPOCHS = 30


def train_table_command(
    model: str,
    source: dict[str, Path | str | None],
    out: Path,
    *,
    config: Path | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch: int = 256,
    lr: float = 1.5e-3,
    seed: int = 1,
    fresh: bool = False,
    threads: int | None = None,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Train `model` on `source` into folder `out`; resumes a run that is already there.

    Returns the last validation figures. Raises UsageError or PluginError for data or options that cannot
    work.
    """
    import torch
    from rich.console import Console

    from .loop import Schedule, train

    spec = model_spec(model)
    fields: dict[str, Any] = {}
    if config is not None:
        try:
            fields = json.loads(config.read_text(encoding="utf-8"))
        except ValueError as e:
            raise UsageError(f"{config}: not JSON ({e}); give a mapping of configuration fields") from e
    task = spec.load("trainer")(source, config=fields, batch=batch, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    begun = begun_run(out, fresh)
    threads = threads or (begun or {}).get("threads") or torch.get_num_threads()
    total = steps if steps is not None else (epochs or EPOCHS) * task.steps_per_epoch
    schedule = Schedule(
        steps=total, lr=lr, ema=0.99, weight_decay=1e-2, bf16=False, validate_every=5 * task.steps_per_epoch
    )
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
    Console().print(f"{out}: {total} steps; " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items()))
    return figures
