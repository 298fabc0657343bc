"""``spinecore evaluate``: a measured folder against a reference, beside the constant predictor."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer


def evaluate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder written by `spinecore measure`.")],
    reference: Annotated[
        Path,
        typer.Option(help="AASCE-format folder: images/, filenames.csv, landmarks.csv, angles.csv."),
    ],
    part: Annotated[
        str, typer.Option(help="validation (held out by series, as in training), train, or all.")
    ] = "validation",
) -> None:
    """Compare measured films with their reference: masks, angles, tilts and corners, missed films counted.

    Writes OUT/evaluation.json and OUT/evaluation.png.
    """
    from rich.console import Console

    from spinecore.cli.terminal import shown
    from spinecore.io.aasce import load_aasce
    from spinecore.io.atomic import write_json
    from spinecore.measure.evaluation import evaluate_run, evaluation_json
    from spinecore.report.agreement import write_agreement_plot

    evaluation = evaluate_run(out, load_aasce(reference), part, _card_constant(out))
    record = evaluation_json(evaluation)
    write_json(out / "evaluation.json", record)
    write_agreement_plot(out / "evaluation.png", evaluation)
    console = Console()
    clean, everything = record["clean"], record["with_repaired"]
    columns = [(f"{clean['run']['films']} clean films", clean["run"]), ("constant", clean["constant"])]
    if everything["run"]["films"] != clean["run"]["films"]:
        columns.append((f"{everything['run']['films']} with repaired", everything["run"]))
    console.print(_table(part, columns), highlight=False)
    console.print("Angles: aasce_midbody, measured - reference.", highlight=False, style="dim")
    console.print(f"Constant predictor: {evaluation.constant_from}.", highlight=False, style="dim")
    if evaluation.left_out:
        names = shown(", ".join(evaluation.left_out))
        console.print(
            f"Left out (corners beyond repair, or known to training under another name): {names}.",
            highlight=False,
            style="dim",
        )
    missed = [film for film in evaluation.films if film.missed]
    for film in missed[:10]:
        console.print(f"[red]missed[/] {shown(film.name)}: {shown(film.reason)}", highlight=False)
    if len(missed) > 10:
        console.print(f"[red]and {len(missed) - 10} more missed films[/]", highlight=False)


def _card_constant(out: Path) -> list[float] | None:
    """``constant_predictor`` of the card of the weights that measured ``out``."""
    file = out / "run.json"
    if not file.is_file():
        return None
    run = json.loads(file.read_text(encoding="utf-8"))
    constant = run.get("reader", {}).get("details", {}).get("card", {}).get("constant_predictor")
    if isinstance(constant, dict):
        constant = constant.get("angles")
    return constant if isinstance(constant, list) else None


def _table(part: str, columns: list[tuple[str, dict[str, Any] | None]]) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False, title=f"part: {part}", title_justify="left")
    table.add_column("", no_wrap=True)
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for label, show in _ROWS:
        table.add_row(label, *(show(figures) if figures else "-" for _, figures in columns))
    return table


def _number(key: str, digits: int, unit: str = "") -> Any:
    def show(figures: dict[str, Any]) -> str:
        value = figures.get(key)
        return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}{unit}"

    return show


def _nested(key: str, pattern: str) -> Any:
    def show(figures: dict[str, Any]) -> str:
        values = figures.get(key)
        return (
            "-" if not values or any(value is None for value in values.values()) else pattern.format(**values)
        )

    return show


def _interval(figures: dict[str, Any]) -> str:
    low, high = figures["major_mae_interval"]
    return "-" if low is None else f"{low:.2f} to {high:.2f}\u00b0"


_ROWS = (
    ("films not measured", _number("missed", 0)),
    ("mask Dice", _number("dice", 4)),
    ("  worst decile", _number("dice_worst_decile", 4)),
    ("mask IoU", _number("iou", 4)),
    ("mask HD95", _number("hd95_px", 1, " px")),
    ("major Cobb MAE", _number("major_mae_deg", 2, "\u00b0")),
    ("  95 % over series", _interval),
    ("  median error", _number("major_median_deg", 2, "\u00b0")),
    ("  circular MAE", _number("major_cmae_deg", 2, "\u00b0")),
    ("  within 5\u00b0", _number("within_5_deg_percent", 1, " %")),
    ("  bias", _nested("bland_altman", "{bias:+.2f}\u00b0")),
    ("  95 % limits", _nested("bland_altman", "{lower:+.1f} to {upper:+.1f}\u00b0")),
    ("  ICC(A,1)", _nested("icc_a1", "{value:.2f} ({low:.2f}-{high:.2f})")),
    ("AASCE SMAPE", _number("smape_percent", 2, " %")),
    ("tilt a vertebra, MAE", _number("tilt_mae_deg", 2, "\u00b0")),
    ("corner, % body height", _number("corner_error_percent_mean", 1, " %")),
    ("  median film", _number("corner_error_percent_median", 1, " %")),
)
