"""``spinecore bench``: the operators against their peers and the limits of this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from spinecore.bench.case import Case, Shape
    from spinecore.bench.summary import Section


def bench(
    operators: Annotated[
        list[str] | None, typer.Argument(help="Operators, for example scse_gate; all by default.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Every shape, seven rounds, compiled peers: several minutes.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Time torch.compile as well, which takes a while to compile.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time every operator beside eager torch (and ONNX Runtime and OpenVINO, where installed), on one thread.

    One shape of every case in under a minute; --full takes them all. Each row gives the best peer's time over
    ours, and the least time this machine needs over ours, measured in the same loop.
    """
    import time

    from rich.console import Console

    from spinecore.bench import machine, measure, results
    from spinecore.bench.markdown import not_counted
    from spinecore.bench.summary import sections
    from spinecore.cli.terminal import shown

    wanted = _cases(operators)
    quick = measure.QUICK_COMPILED if compiled else measure.QUICK
    effort = measure.FULL if full else quick
    document = results.new_document(time.strftime("%Y-%m-%d"), machine.describe())
    errors = Console(stderr=True)
    with errors.status("") as status:
        for case, shape in _rows(wanted, full):
            status.update(f"measuring {case.operator}, {case.name}, {','.join(map(str, shape))}")
            results.add_row(document, case, measure.measure(case, shape, effort))
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    console = Console()
    facts = document["machine"]
    console.print(f"{facts['cpu']}, {facts['isa']}, torch {facts['torch']}, one thread, ms of CPU time\n")
    found = list(sections(document))
    console.print(_table(found), highlight=False)
    for section in found:
        for name, why in not_counted(section).items():
            text = f"[dim]{section.operator}, {section.case}: {shown(name)}: {shown(why)}[/]"
            console.print(text, highlight=False, soft_wrap=True)


def _cases(operators: list[str] | None) -> list[Case]:
    from spinecore.bench.cases import OPERATORS, cases_of
    from spinecore.io.errors import UsageError

    try:
        return [case for name in operators or OPERATORS for case in cases_of(name)]
    except ValueError as error:
        raise UsageError(str(error)) from None


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
