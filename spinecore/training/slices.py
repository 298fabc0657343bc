"""`spinecore train` for models that segment slices: a folder of slices and masks to finished weights."""

from __future__ import annotations

from pathlib import Path

from spinecore.registry import model_spec

from .fit import config_fields, fit
from .loop import Schedule

EPOCHS = 70


def train_slices_command(
    model: str,
    data: Path,
    out: Path,
    *,
    config: Path | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch: int = 4,
    lr: float = 1.5e-3,
    seed: int = 1,
    fresh: bool = False,
    threads: int | None = None,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Train `model` on the slices of `data` (images/ and masks/) into folder `out`; resumes a run there.

    Returns the last validation figures. Raises UsageError or PluginError for data or options that cannot
    work.
    """
    task = model_spec(model).load("trainer")(data, config=config_fields(config), batch=batch, seed=seed)
    total = steps if steps is not None else (epochs or EPOCHS) * task.steps_per_epoch
    schedule = Schedule(steps=total, lr=lr, ema=0.995, weight_decay=1e-2, bf16=False, validate_every=400)
    source: dict[str, Path | str | None] = {"data": data}
    return fit(model, task, schedule, source, out, fresh=fresh, threads=threads, stop_after=stop_after)
