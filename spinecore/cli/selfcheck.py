"""``spinecore selfcheck``: known angles back from corners, masks and phantom films, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spinecore.measure.selfcheck import Outcome
    from spinecore.spine.selfcheck import Check


def selfcheck(
    films: Annotated[int, typer.Option(min=1, help="Phantom films to measure.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="First phantom.")] = 100,
) -> None:
    """Measure spines whose angles are known: as geometry, and as films through every file format.

    Geometry: every definition, resized, mirrored, turned and misordered corners, bending, a mask. Films:
    phantoms written as PNG, JPEG, TIFF and DICOM and read back. Angles must agree to 0.1 degrees, pixels with
    the grey depth of the format. Exit code 1 when one does not.
    """
    from rich.console import Console
    from rich.table import Table

    from spinecore.measure.selfcheck import check_films
    from spinecore.spine.selfcheck import LIMIT_DEG, run_selfcheck

    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("source", no_wrap=True)
    table.add_column("what", overflow="fold")
    for column in ("truth", "measured", "difference"):
        table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
    passed: list[bool] = []
    for source, what, check in _rows(run_selfcheck(seed), check_films(films, seed)):
        colour = "green" if check.ok else "bold red"
        difference = f"[{colour}]{check.measured - check.truth:+.3f}[/]"
        table.add_row(source, what, f"{check.truth:.3f}", f"{check.measured:.3f}", difference)
        passed.append(check.ok)
    console = Console()
    console.print(table, highlight=False)
    if not all(passed):
        console.print(f"[bold red]{passed.count(False)} of {len(passed)} checks failed.[/]")
        raise typer.Exit(1)
    console.print(f"[green]All {len(passed)} checks passed[/] (angles within {LIMIT_DEG:g} degrees).")


def _rows(geometry: list[Check], files: list[Outcome]) -> Iterator[tuple[str, str, Check | Outcome]]:
    """(source, what was measured, check)."""
    for check in geometry:
        yield "geometry", check.name, check
    for outcome in files:
        yield outcome.format, f"{outcome.film.removesuffix('-coronal')}: {outcome.what}", outcome
