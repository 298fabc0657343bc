"""``spinecore train``: train a registered model on a folder of annotated films."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    model: Annotated[str, typer.Argument(help="Registered model, for example r2mf_net.")],
    data: Annotated[
        Path, typer.Option(help="AASCE-format folder: images/, filenames.csv, landmarks.csv, angles.csv.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="RUN", help="Folder of the run; an unfinished run goes on.")
    ],
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training films.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps, instead of epochs.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Films a step.")] = 8,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.5e-3,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 1,
    phantoms: Annotated[int, typer.Option(min=0, help="Synthetic films added to the training set.")] = 256,
    init: Annotated[Path | None, typer.Option(help="Weights to start from.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Begin anew instead of going on.")] = False,
    bf16: Annotated[bool, typer.Option(help="Mixed precision in bfloat16.")] = True,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads [default: all].")] = None,
) -> None:
    """Train MODEL on annotated films, split by series; a killed run goes on exactly where it stopped."""
    from spinecore.training.run import DEFAULT_EPOCHS, train_command

    train_command(
        model,
        data,
        out,
        epochs=DEFAULT_EPOCHS if epochs is None else epochs,
        steps=steps,
        batch=batch,
        lr=lr,
        seed=seed,
        phantoms=phantoms,
        init=init,
        fresh=fresh,
        bf16=bf16,
        threads=threads,
    )
