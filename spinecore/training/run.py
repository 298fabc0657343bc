"""`spinecore train`: data folder and options to a finished run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spinecore.io.aasce import VALIDATION_FRACTION, load_aasce, split_by_series, twin_in_training
from spinecore.io.errors import UsageError
from spinecore.io.films import read_film
from spinecore.registry import model_spec

from .films import AnnotatedFilms

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_EPOCHS = 125
RECORD = "config.json"


def annotated_films(folder: Path, validation_fraction: float = VALIDATION_FRACTION) -> AnnotatedFilms:
    """An AASCE folder split by series; only clean films that training holds under no other name validate."""
    data = load_aasce(folder)
    held = split_by_series(data.names, validation_fraction)

    def pixels(i: int) -> NDArray[np.float32]:
        return read_film(data.paths[i]).pixels

    return AnnotatedFilms(
        names=data.names,
        corners=data.corners,
        angles=data.angles,
        sizes=data.sizes,
        train=np.flatnonzero(~held & ~data.unrepairable),
        validation=np.flatnonzero(held & ~data.flawed & ~twin_in_training(data.names, held)),
        pixels=pixels,
    )


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def begun_run(out: Path, fresh: bool) -> dict[str, Any] | None:
    """Options of the run in `out` that is to go on; None when there is none or it is discarded."""
    if fresh:
        for name in ("checkpoint.safetensors", "train.csv", "validation.csv", "curves.png", RECORD):
            (out / name).unlink(missing_ok=True)
    if not (out / "checkpoint.safetensors").exists() or not (out / RECORD).exists():
        return None
    options: dict[str, Any] = json.loads((out / RECORD).read_text(encoding="utf-8"))
    return options


def same_options(path: Path, before: dict[str, Any], options: dict[str, Any]) -> None:
    """A resumed run must continue with the options it began with, except for its length and its threads."""
    free = {"steps", "validate_every", "save_every", "log_every"}

    def fixed(d: dict[str, Any]) -> dict[str, Any]:
        schedule = {k: v for k, v in d["schedule"].items() if k not in free}
        return {**d, "schedule": schedule, "threads": None}

    old, new = fixed(before), fixed(json.loads(json.dumps(options)))
    for key in old.keys() | new.keys():
        if old.get(key) != new.get(key):
            changed = [k for k in new["schedule"] if old["schedule"].get(k) != new["schedule"][k]] or [key]
            raise UsageError(
                f"{path}: the run there was begun with other options ({', '.join(changed)} differs); "
                f"give the same options to resume, --fresh to start anew, or another -o folder"
            )


def train_command(
    model: str,
    data: Path,
    out: Path,
    *,
    epochs: int = DEFAULT_EPOCHS,
    steps: int | None = None,
    batch: int = 8,
    lr: float = 1.5e-3,
    seed: int = 1,
    phantoms: int = 256,
    init: Path | None = None,
    fresh: bool = False,
    bf16: bool = True,
    threads: int | None = None,
    config: dict[str, Any] | None = None,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Train `model` on the AASCE-format folder `data` into folder `out`; resumes a run that is already there.

    Returns the last validation figures. Raises UsageError for data or options that cannot work.
    """
    import torch
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from .loop import Progress as Step
    from .loop import Schedule, train

    spec = model_spec(model)
    make = spec.load("trainer")
    films = annotated_films(data)
    if len(films.train) < batch:
        raise UsageError(f"{data}: {len(films.train)} usable training films, fewer than one batch of {batch}")
    out.mkdir(parents=True, exist_ok=True)
    begun = begun_run(out, fresh)
    # Sums depend on how threads share them: as many threads as before make a resumed run the same to the bit.
    threads = threads or (begun or {}).get("threads") or torch.get_num_threads()
    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        loading: dict[str, Any] = {}

        def loaded(what: str, done: int, total: int) -> None:
            if what not in loading:
                loading[what] = bar.add_task(f"loading {what}", total=total, note="")
            bar.update(loading[what], completed=done)

        task = make(
            films,
            config=spec.load("config")(**(config or {})),
            phantoms=phantoms,
            batch=batch,
            seed=seed,
            progress=loaded,
        )
        total = steps if steps is not None else epochs * task.steps_per_epoch
        schedule = Schedule(steps=total, lr=lr, bf16=bf16)
        options = {
            "model": model,
            **task.describe(),
            "schedule": asdict(schedule),
            "init": str(init) if init else None,
            "threads": threads,
        }
        record = out / RECORD
        if begun is not None:
            same_options(record, begun, options)
        record.write_text(json.dumps(options, indent=1), encoding="utf-8")
        initial = None
        if init is not None:
            from spinecore.weights import load_weights, resolve_weights

            initial = load_weights(spec, resolve_weights(spec, init)).state_dict()
        running = bar.add_task(f"training {model}", total=total, note="")

        def report(p: Step) -> None:
            note = f"loss {p.loss:.3f}  {p.seconds_per_step:.2f} s/step"
            bar.update(running, completed=p.step, note=note)

        with limited_threads(threads):
            figures = train(task, schedule, out, initial=initial, report=report, stop_after=stop_after)
    console.print(f"{out}: {total} steps; " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items()))
    return figures
