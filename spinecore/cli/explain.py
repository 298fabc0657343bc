"""``spinecore explain OP``: which backend would run an operator here, and why not the others."""

from __future__ import annotations

from typing import Annotated, Any

import typer

_USUAL = {4: (1, 64, 32, 32), 3: (8, 256, 64), 2: (256, 128)}
"""Shapes of images, tokens and features."""


def explain(
    op: Annotated[str, typer.Argument(help="Operator, for example scse_gate.")],
    shape: Annotated[
        str | None,
        typer.Option(help="Shape of the leading tensor [default: 1,64,32,32 for images, and the like]."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Say for every backend whether it can run OP on such a tensor, why or why not, and which is chosen."""
    from rich.console import Console
    from rich.table import Table

    from spinecore.cli.terminal import shown
    from spinecore.io.errors import UsageError

    sizes = None if shape is None else _sizes(shape)

    import torch

    from spinecore.backends import Call, verdicts
    from spinecore.ops import OPS

    spec = OPS.get(op.removesuffix("_backward"))
    if spec is None:
        raise UsageError(f"no operator {op!r}; known: {', '.join(sorted(OPS))}, and each with _backward")
    # What else the backends look at (channels after a convolution, heads) is that of the first sample.
    example = spec.call(*next(iter(spec.samples(torch.float32, 0))).args)
    if sizes is None:
        sizes = _USUAL[len(example.shape)]
    if len(sizes) != len(example.shape):
        usual = ",".join(map(str, _USUAL[len(example.shape)]))
        raise UsageError(f"--shape {shape!r}: {op} takes {len(example.shape)} sizes, for example {usual}")
    options = tuple(_scaled(option, sizes[1]) for option in example.options)
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise UsageError(f"--dtype {dtype!r} is unknown; use float32, bfloat16, float16 or float64")
    answers = verdicts(Call(op, device.partition(":")[0], kind, sizes, "contiguous", options))
    chosen = next((name for name, verdict in answers.items() if verdict.ok), None)
    named = [f"{option[0]} {option[1]}" for option in options if isinstance(option, tuple)]
    title = ", ".join([f"{op}: {' x '.join(map(str, sizes))} {dtype} on {device}", *named])
    table = Table(box=None, header_style="dim", pad_edge=False, title=shown(title), title_justify="left")
    for column in ("", "backend", "can run", "reason"):
        table.add_column(column, overflow="fold")
    for name, verdict in answers.items():
        word = "[green]yes[/]" if verdict.ok else "no"
        table.add_row("[green]>[/]" if name == chosen else "", name, word, shown(verdict.reason))
    Console().print(table)


def _sizes(shape: str) -> tuple[int, ...]:
    from spinecore.io.errors import UsageError

    try:
        sizes = tuple(int(part) for part in shape.split(","))
    except ValueError:
        raise UsageError(f"--shape {shape!r}: give whole numbers separated by commas") from None
    if min(sizes) < 0:
        raise UsageError(f"--shape {shape!r}: sizes must not be negative")
    return sizes


def _scaled(option: Any, width: int) -> Any:
    """Channels after a convolution, and the columns of a second matrix: as many as the first has."""
    if isinstance(option, tuple) and option[0] in ("out_channels", "width"):
        return option[0], width
    return option
