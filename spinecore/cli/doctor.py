"""``spinecore doctor``: what works here, what does not, why, and what would turn it on."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class Finding:
    """One check. ``state``: "on", "off" (optional, absent) or "broken" (needed, or there and faulty)."""

    name: str
    state: str
    why: str
    remedy: str = ""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check this installation. Exit code 0 when films can be measured, 1 when something needed is broken."""
    findings = examine()
    broken = any(finding.state == "broken" for finding in findings)
    if as_json:
        typer.echo(
            json.dumps({"ok": not broken, "findings": [asdict(finding) for finding in findings]}, indent=1)
        )
        raise typer.Exit(int(broken))
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"on": "green", "off": "dim", "broken": "bold red"}
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("part", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("why, and what would change it", overflow="fold")
    for finding in findings:
        words = escape(finding.why) + (f"\n[cyan]{escape(finding.remedy)}[/]" if finding.remedy else "")
        table.add_row(finding.name, f"[{colours[finding.state]}]{finding.state}[/]", words)
    console = Console()
    console.print(table, highlight=False)
    console.print(
        "[bold red]Something needed is broken.[/]" if broken else "[green]Films can be measured here.[/]"
    )
    raise typer.Exit(int(broken))


def examine() -> list[Finding]:
    """All findings, needed parts first."""
    from spinecore.cli.environment import core_state

    core = core_state()
    return [*_required(), _native(core), _cuda(core), _triton(), *_models(), *_extras()]


def _required() -> list[Finding]:
    from spinecore.cli.environment import own_version, requirements

    found = []
    python = f"Python {sys.version.split()[0]}"
    found.append(Finding("python", "on" if sys.version_info >= (3, 11) else "broken", python))
    own = own_version()
    if own == "not installed":
        why = (
            "the package is imported from a source tree and is not installed; plugins and extras are unknown"
        )
        return [*found, Finding("spinecore-torch", "broken", why, "pip install -e . in the source tree")]
    found.append(Finding("spinecore-torch", "on", own))
    for need in requirements():
        if need.extra:
            continue
        if need.ok:
            found.append(Finding(need.name, "on", str(need.installed)))
        else:
            least = f">={need.minimum}" if need.minimum else ""
            found.append(Finding(need.name, "broken", need.problem, f"pip install '{need.name}{least}'"))
    return found


def _native(core: dict[str, Any]) -> Finding:
    if not core["available"]:
        remedy = "reinstall where a C++17 compiler is found; without it the PyTorch references run, slower"
        return Finding("native core", "off", str(core["reason"]), remedy)
    if core.get("isa_error"):
        remedy = f"unset SPINECORE_CPU_ISA (the best here is {core.get('isa_best')})"
        return Finding("native core", "broken", str(core["isa_error"]), remedy)
    built = ", ".join(core.get("isa_compiled", ()))
    why = f"uses {core.get('isa_selected')} of {built}; built with {core.get('compiler')}; {core['threads']}"
    return Finding("native core", "on", why)


def _cuda(core: dict[str, Any]) -> Finding:
    if not core["available"]:
        return Finding("CUDA kernels", "off", "there is no native core")
    if not core.get("cuda_built"):
        why = str(core.get("cuda_reason") or "this build holds no CUDA kernels")
        return Finding(
            "CUDA kernels", "off", why, "reinstall with nvcc on PATH and -C cmake.define.SPINECORE_CUDA=ON"
        )
    if not core.get("cuda_devices"):
        return Finding(
            "CUDA kernels", "off", str(core.get("cuda_reason") or "no GPU found"), "install an NVIDIA driver"
        )
    return Finding("CUDA kernels", "on", f"{core['cuda_devices']} GPU(s)")


def _triton() -> Finding:
    from spinecore.cli.environment import version_of

    installed = version_of("triton")
    if installed is None:
        return Finding(
            "Triton kernels", "off", "triton is not installed", "pip install 'spinecore-torch[triton]'"
        )
    return Finding("Triton kernels", "on", f"triton {installed}; used on a GPU only")


def _models() -> list[Finding]:
    from spinecore.cli.models import has_weights
    from spinecore.registry import plugins

    found = []
    for plugin in plugins():
        name = f"model {plugin.name}"
        if plugin.spec is None:
            found.append(
                Finding(
                    name, "broken", f"{plugin.distribution}: {plugin.error}", "repair or remove that package"
                )
            )
        elif has_weights(plugin.spec):
            found.append(Finding(name, "on", "weights are shipped"))
        else:
            remedy = "give --weights FILE"
            if plugin.spec.trainer is not None:
                remedy = f"train it (spinecore train {plugin.name}), then give --weights RUN"
            if plugin.spec.task == "film":
                remedy += ", or measure with --landmarks or --masks"
            found.append(Finding(name, "off", "no weights are shipped", remedy))
    return found or [Finding("models", "off", "no model is registered", "reinstall spinecore-torch")]


def _extras() -> list[Finding]:
    from spinecore.cli.environment import requirements

    needed = [need for need in requirements() if need.extra and need.extra != "triton"]
    found = []
    for extra in sorted({need.extra for need in needed}):
        missing = [need.problem for need in needed if need.extra == extra and not need.ok]
        remedy = f"pip install 'spinecore-torch[{extra}]'" if missing else ""
        found.append(
            Finding(f"extra {extra}", "off" if missing else "on", "; ".join(missing) or "installed", remedy)
        )
    return found
