"""``spinecore study``: a multimodal model beside its baselines on one data set, one table."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Annotated

import typer


def study(
    model: Annotated[str, typer.Argument(help="Registered multimodal model, for example dsrsd_net.")],
    name: Annotated[str, typer.Argument(metavar="STUDY", help="Which study; a wrong name lists them.")],
    data: Annotated[Path, typer.Option(help="Folder with the official files of the set.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="OUT", help="Folder of the results; what is there is kept.")
    ],
    method: Annotated[
        list[str] | None, typer.Option(help="Only this method, repeatable; an ablation can be named too.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs, with seeds 1 to this.")] = 5,
    folds: Annotated[
        int | None, typer.Option(min=1, help="Only so many splits a seed, for a quick look.")
    ] = None,
    robust: Annotated[
        bool,
        typer.Option("--robust", help="Also remove and disturb each modality; writes robustness.csv, .png."),
    ] = False,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also the model without each of its parts.")
    ] = False,
    probes: Annotated[
        bool, typer.Option("--probes", help="Also probe the factors on a set where they are known.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Train and judge MODEL and its baselines on STUDY; writes OUT/results.jsonl, table.md and index.html.

    Splits are by person and follow from the seed. A run that was stopped goes on where it was.
    """
    import torch
    from rich.console import Console

    from spinecore.io.errors import UsageError
    from spinecore.registry import model_spec

    spec = model_spec(model)
    if spec.study is None:
        raise UsageError(f"{model}: has no studies")
    torch.set_num_threads(threads)
    console = Console()

    def report(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    entry = spec.load("study")
    more = {"ablations": ablations, "probes": probes}
    for option in [o for o, wanted in more.items() if wanted and o not in signature(entry).parameters]:
        raise UsageError(f"{model}: its studies have no --{option}")
    more = {o: wanted for o, wanted in more.items() if wanted}
    entry(name, data, out, methods=method, seeds=seeds, report=report, folds=folds, robust=robust, **more)
    console.print((out / "table.md").read_text(encoding="utf-8"), highlight=False, soft_wrap=True)
