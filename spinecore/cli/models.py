"""``spinecore models``: what is registered, usable or not."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the registered models, their weights, and why a broken one cannot be used."""
    from spinecore.registry import plugins

    found = []
    for plugin in plugins():
        spec = plugin.spec
        found.append(
            {
                "name": plugin.name,
                "task": spec.task if spec else None,
                "distribution": plugin.distribution,
                "available": plugin.available,
                "error": plugin.error,
                "weights": None if spec is None else ("shipped" if has_weights(spec) else "none shipped"),
                "provenance": spec.provenance if spec else None,
            }
        )
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    from spinecore.cli.terminal import shown

    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("model", "task", "weights", "from", "notes"):
        table.add_column(column, overflow="fold")
    for entry in found:
        notes = entry["provenance"] if entry["available"] else f"unavailable: {entry['error']}"
        table.add_row(
            *(str(entry[key] or "-") for key in ("name", "task", "weights", "distribution")),
            shown(str(notes)),
        )
    Console().print(table)


def has_weights(spec: object) -> bool:
    """Whether weights ship with a model, found without importing the model's package (and torch with it)."""
    from importlib.util import find_spec
    from pathlib import Path

    from spinecore.registry import ModelSpec

    assert isinstance(spec, ModelSpec)
    if spec.weights is None:
        return False
    found = find_spec(spec.build.partition(":")[0].rpartition(".")[0])
    folders = [] if found is None else list(found.submodule_search_locations or [])
    return any((Path(folder) / spec.weights).is_file() for folder in folders)
