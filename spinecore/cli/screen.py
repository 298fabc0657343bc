"""``spinecore screen``: recordings of walks in, a screening score of each subject and a page out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def screen(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Folder for all results.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH...", help="Poses (CSV, JSON, NPZ), C3D, TRC, BVH, video, or folders."),
    ] = None,
    model: Annotated[str, typer.Option(help="Registered gait model.")] = "scoligait",
    weights: Annotated[
        Path | None, typer.Option(help="Weights file or training run [default: shipped].")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=1, help="Frames a second of files that state none.")
    ] = None,
    pose_model: Annotated[
        Path | None, typer.Option(help="ONNX pose model for video; none is shipped.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Score from which a subject counts as positive.")
    ] = None,
    simulate: Annotated[
        int, typer.Option(min=0, help="Also screen so many simulated walkers, written to OUT/simulated.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what the same file, options and weights have given.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Screen walks: OUT/screening.csv, OUT/clips.csv and OUT/index.html with what moved each score.

    A subfolder's name is the subject, else the file's name without its trial number; a CSV may name subjects.
    Exit code: 0 all read, 3 some failed, 2 nothing to do or wrong usage.
    """
    import torch
    from rich.console import Console

    from spinecore.cli.terminal import shown
    from spinecore.io.errors import UsageError
    from spinecore.measure.screening import screen_recordings
    from spinecore.registry import model_spec
    from spinecore.weights import checksum, load_weights, read_card, resolve_weights

    spec = model_spec(model)
    if spec.task != "gait":
        raise UsageError(f"{model}: is a model of task {spec.task!r}; `spinecore models` lists those of gait")
    if not paths and not simulate:
        raise UsageError("give recordings or folders, or --simulate with a number of walkers")
    torch.set_num_threads(threads)
    path = resolve_weights(spec, weights or "shipped")
    reader = spec.load("reader")(
        load_weights(spec, path), read_card(path), pose_model=pose_model, rate=rate, threshold=threshold
    )
    given = list(paths or [])
    recordings = reader.find(given, out)
    if simulate:
        recordings += reader.find([reader.simulate(out / "simulated", simulate)])
    if not recordings:
        looked = ", ".join(str(p) for p in given)
        raise UsageError(f"no recordings in {looked}; CSV, JSON, NPZ, C3D, TRC, BVH and video are read")
    console, errors = Console(), Console(stderr=True)

    def note(name: str, reason: str | None) -> None:
        if reason is not None:
            told = reason if f"{name}: " in reason else f"{name}: {reason}"  # mostly the file begins it
            errors.print(f"[red]failed[/] {shown(told)}", highlight=False, soft_wrap=True)

    command = {
        "paths": [str(p) for p in given],
        "model": model,
        "weights": None if weights is None else str(weights),
        "rate": rate,
        "pose_model": None if pose_model is None else checksum(pose_model),
        "threshold": threshold,
        "simulate": simulate,
        "resume": resume,
    }
    summary = screen_recordings(
        reader,
        recordings,
        out,
        model=model,
        weights_sha256=checksum(path),
        command=command,
        resume=resume,
        on_recording=note,
    )
    parts = [f"[green]{summary.screened} screened[/]"]
    if summary.reused:
        parts[0] += f" ({summary.reused} kept from before)"
    if summary.failures:
        parts.append(f"[red]{len(summary.failures)} failed[/]")
    if summary.interrupted:
        parts.append("[yellow]interrupted[/]: --resume goes on")
    console.print(
        ", ".join(parts) + f", {summary.subjects} subjects, {summary.seconds:.1f} s", highlight=False
    )
    console.print(f"page: {out / 'index.html'}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(summary.exit_code)
