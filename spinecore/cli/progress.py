"""A bar with the time left, or ten lines where there is no terminal; failures are printed as they happen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from spinecore.cli.terminal import shown

TENTHS = 10


class Done(Protocol):
    """A film or scan that has been dealt with."""

    @property
    def film(self) -> str:
        """Its name."""

    @property
    def measured(self) -> bool:
        """Whether that went well."""

    @property
    def reason(self) -> str:
        """Why not."""


@contextmanager
def film_progress(
    total: int, doing: str = "measuring", things: str = "films"
) -> Iterator[Callable[[Done, bool], None]]:
    """Yield a callback for each film done, or whatever `things` are; writes to stderr: stdout is for data."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[film]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        done, begin = 0, time.monotonic()
        task = bar.add_task(doing, total=total, film="")

        def on_film(result: Done, _reused: bool) -> None:
            if not result.measured:
                message = f"[red]failed[/] {shown(result.film)}: {shown(result.reason)}"
                console.print(message, highlight=False, soft_wrap=True)
            bar.update(task, advance=1, film=shown(result.film[-40:]))
            nonlocal done
            done += 1
            if bar.disable and (done * TENTHS // total > (done - 1) * TENTHS // total):
                left = (time.monotonic() - begin) / done * (total - done)
                console.print(f"{done} of {total} {things}, about {left:.0f} s left", highlight=False)

        yield on_film
