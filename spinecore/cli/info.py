"""``spinecore info``: one page that says what this installation is."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print versions, the native core, models and extras. Imports no torch."""
    facts = gather()
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    from spinecore.cli.terminal import shown

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("spinecore-torch", facts["spinecore"])
    for key, value in facts["machine"].items():
        table.add_row(key, str(value))
    for name, installed in facts["versions"].items():
        table.add_row(name, installed or "not installed")
    for key, value in facts["core"].items():
        words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        table.add_row(f"core {key}", shown(words))
    for model in facts["models"]:
        table.add_row(f"model {model['name']}", shown(model["state"]))
    for extra, state in facts["extras"].items():
        table.add_row(f"extra {extra}", shown(state))
    Console().print(table, highlight=False)


def gather() -> dict[str, Any]:
    """The facts as plain data (schema ``spinecore.info/1``)."""
    from spinecore.cli.environment import core_state, machine, own_version, requirements
    from spinecore.cli.models import has_weights
    from spinecore.registry import plugins

    needed = requirements()
    extras: dict[str, str] = {}
    for extra in sorted({need.extra for need in needed if need.extra}):
        missing = [need.problem for need in needed if need.extra == extra and not need.ok]
        extras[extra] = "; ".join(missing) or "installed"
    models = []
    for plugin in plugins():
        if plugin.spec is None:
            state = f"unavailable: {plugin.error}"
        else:
            state = "weights shipped" if has_weights(plugin.spec) else "no weights shipped"
        models.append({"name": plugin.name, "distribution": plugin.distribution, "state": state})
    return {
        "schema": "spinecore.info/1",
        "spinecore": own_version(),
        "machine": machine(),
        "versions": {need.name: need.installed for need in needed if not need.extra},
        "core": core_state(),
        "models": models,
        "extras": extras,
    }
