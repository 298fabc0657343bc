"""``spinecore bench``: the operators against their peers and the limits of this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from spinecore.bench.case import Case, Shape
    from spinecore.bench.summary import Section


def bench(
    operators: Annotated[
        list[str] | None,
        typer.Argument(help="Operators and models, for example scse_gate or scoligait; all by default."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Every shape, seven rounds, compiled peers: several minutes.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Time torch.compile as well, which takes a while to compile.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time operators beside eager torch (and ONNX Runtime and OpenVINO, where installed), on one thread.

    One shape of every case in under a minute; --full takes them all. Each row gives the best peer's time over
    ours, and the least time this machine needs over ours, measured in the same loop.
    """
    import time

    from rich.console import Console

    from spinecore.bench import machine, measure, results
    from spinecore.bench.markdown import not_counted
    from spinecore.bench.stages import stage_rows
    from spinecore.bench.summary import sections
    from spinecore.cli.terminal import shown

    wanted, models = _wanted(operators)
    quick = measure.QUICK_COMPILED if compiled else measure.QUICK
    effort = measure.FULL if full else quick
    document = results.new_document(time.strftime("%Y-%m-%d"), machine.describe())
    errors = Console(stderr=True)
    with errors.status("") as status:
        for case, shape in _rows(wanted, full):
            status.update(f"measuring {case.operator}, {case.name}, {','.join(map(str, shape))}")
            results.add_row(document, case, measure.measure(case, shape, effort))
        for name in models:
            status.update(f"measuring {name}")
            document.setdefault("models", {})[name] = stage_rows(name, effort)
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    console = Console()
    facts = document["machine"]
    console.print(f"{facts['cpu']}, {facts['isa']}, torch {facts['torch']}, one thread, ms of CPU time\n")
    found = list(sections(document))
    if found:
        console.print(_table(found), highlight=False)
    for section in found:
        for name, why in not_counted(section).items():
            text = f"[dim]{section.operator}, {section.case}: {shown(name)}: {shown(why)}[/]"
            console.print(text, highlight=False, soft_wrap=True)
    for name, rows in document.get("models", {}).items():
        console.print(_steps(name, rows), highlight=False)


def _wanted(names: list[str] | None) -> tuple[list[Case], list[str]]:
    """Cases of the operators among `names`, and the models among them; all of both where there are none."""
    from spinecore.bench.cases import OPERATORS, cases_of
    from spinecore.bench.stages import timed_models
    from spinecore.io.errors import UsageError

    models = timed_models()
    try:
        cases = [case for name in names or OPERATORS if name not in models for case in cases_of(name)]
    except ValueError as error:
        raise UsageError(f"{error}; models: {', '.join(models)}") from None
    return cases, [name for name in models if not names or name in names]


def _rows(cases: list[Case], full: bool) -> Iterator[tuple[Case, Shape]]:
    for case in cases:
        for shape in case.shapes if full else [case.quick_shape]:
            yield case, shape


def _table(found: list[Section]) -> Table:
    from rich.table import Table

    from spinecore.bench.markdown import milliseconds

    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("operator", "case", "shape", "best peer"):
        table.add_column(column, overflow="fold")
    for column in ("ms", "ours, ms", "ratio", "of limit"):
        table.add_column(column, justify="right", no_wrap=True)
    for section in found:
        for line in section.lines:
            colour = "green" if line.ratio is not None and line.ratio >= 1 else "red"
            table.add_row(
                section.operator,
                section.case,
                ",".join(map(str, line.shape)),
                line.peer.name if line.peer else "-",
                milliseconds(line.peer.seconds) if line.peer else "-",
                milliseconds(line.ours.seconds) if line.ours else "-",
                "-" if line.ratio is None else f"[{colour}]{line.ratio:.2f}[/]",
                "-" if line.of_limit is None else f"{100 * line.of_limit:.0f} %",
            )
    return table


def _steps(name: str, rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False, title=f"\n{name}", title_justify="left")
    table.add_column("step", overflow="fold")
    for column in ("ms", "may take, ms"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("part of", overflow="fold")
    for row in rows:
        colour = "green" if row["limit"] is None or row["seconds"] <= row["limit"] else "red"
        table.add_row(
            row["stage"],
            f"[{colour}]{1e3 * row['seconds']:.2f}[/]",
            "-" if row["limit"] is None else f"{1e3 * row['limit']:.0f}",
            "" if row["part_of"] is None else f"{100 * row['share']:.1f} % of {row['part_of']}",
        )
    return table
