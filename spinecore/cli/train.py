"""``spinecore train``: train a registered model on a folder of annotated films, or on a table of several
modalities.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    model: Annotated[str, typer.Argument(help="Registered model, for example r2mf_net.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="RUN", help="Folder of the run; an unfinished run goes on.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="AASCE-format folder (images/, filenames.csv, landmarks.csv, angles.csv), "
            "slices (images/, masks/), or a multimodal set."
        ),
    ] = None,
    table: Annotated[Path | None, typer.Option(help="Multimodal models: a CSV instead of a set.")] = None,
    modalities: Annotated[
        Path | None, typer.Option(help="What the table's columns mean, in YAML or JSON.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name of the multimodal set in --data [default: the folder's].")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON file with fields of the model's configuration.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training samples.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps, instead of epochs.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Films (default 8), slices (4) or samples (256) a step.")
    ] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.5e-3,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 1,
    phantoms: Annotated[int, typer.Option(min=0, help="Synthetic films added to the training set.")] = 256,
    init: Annotated[Path | None, typer.Option(help="Weights to start from.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Begin anew instead of going on.")] = False,
    bf16: Annotated[bool, typer.Option(help="Mixed precision in bfloat16.")] = True,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads [default: all].")] = None,
) -> None:
    """Train MODEL on annotated films, split by series, or on slices or samples, split by person.

    A killed run goes on exactly where it stopped.
    """
    from spinecore.io.errors import UsageError
    from spinecore.registry import model_spec
    from spinecore.training.run import DEFAULT_EPOCHS, train_command
    from spinecore.training.slices import train_slices_command
    from spinecore.training.tables import train_table_command

    task = model_spec(model).task
    if task in ("multimodal", "gait"):
        source = {"table": table, "modalities": modalities, "data": data, "dataset": dataset}
        train_table_command(
            model,
            source,
            out,
            config=config,
            epochs=epochs,
            steps=steps,
            batch=batch or (32 if task == "gait" else 256),
            lr=lr,
            seed=seed,
            fresh=fresh,
            threads=threads,
        )
        return
    if data is None:
        raise UsageError(f"{model}: give --data, a folder of annotated films or slices")
    if task == "mri":
        train_slices_command(
            model,
            data,
            out,
            config=config,
            epochs=epochs,
            steps=steps,
            batch=batch or 4,
            lr=lr,
            seed=seed,
            fresh=fresh,
            threads=threads,
        )
        return
    train_command(
        model,
        data,
        out,
        epochs=DEFAULT_EPOCHS if epochs is None else epochs,
        steps=steps,
        batch=8 if batch is None else batch,
        lr=lr,
        seed=seed,
        phantoms=phantoms,
        init=init,
        fresh=fresh,
        bf16=bf16,
        threads=threads,
    )
