"""``spinecore explain OP``: which backend would run an operator here, and why not the others."""

from __future__ import annotations

from typing import Annotated

import typer


def explain(
    op: Annotated[str, typer.Argument(help="Operator, for example scse_gate.")],
    shape: Annotated[str, typer.Option(help="Shape of the leading tensor.")] = "1,64,32,32",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Say for every backend whether it can run OP on such a tensor, why or why not, and which is chosen."""
    from rich.console import Console
    from rich.table import Table

    from spinecore.cli.terminal import shown
    from spinecore.io.errors import UsageError

    try:
        sizes = tuple(int(part) for part in shape.split(","))
    except ValueError:
        raise UsageError(f"--shape {shape!r}: give whole numbers separated by commas") from None
    if not sizes or min(sizes) < 0:
        raise UsageError(f"--shape {shape!r}: sizes must not be negative")

    import torch

    import spinecore.ops  # noqa: F401  registers the operators' kernels
    from spinecore.backends import BACKENDS, Call, verdicts

    known = sorted({name for backend in BACKENDS for name in backend.kernels})
    if op not in known:
        raise UsageError(f"no operator {op!r}; known: {', '.join(known)}")
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise UsageError(f"--dtype {dtype!r} is unknown; use float32, bfloat16, float16 or float64")
    answers = verdicts(Call(op, device.partition(":")[0], kind, sizes, "contiguous"))
    chosen = next((name for name, verdict in answers.items() if verdict.ok), None)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("", "backend", "can run", "reason"):
        table.add_column(column, overflow="fold")
    for name, verdict in answers.items():
        word = "[green]yes[/]" if verdict.ok else "no"
        table.add_row("[green]>[/]" if name == chosen else "", name, word, shown(verdict.reason))
    Console().print(table)
