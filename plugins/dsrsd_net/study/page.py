"""The report of a study: one self-contained page with its tables, curves and probes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spinecore.metrics import mean_interval
from spinecore.metrics.ranking import Estimate

from .methods import ABLATIONS
from .tables import Rows, read_rows

APART = ("method", "seed", "folds", "cpu_seconds", "wall_seconds")
LOWER = ("Brier", "ECE")
"""Figures of which less is better."""
TITLES = {
    "factors": "State of the factors",
    "known_factors": "Leakage probes on known factors",
    "transfer": "Transfer",
}
"""Sections of the CSV files of a study; the template explains them."""


def shown_figures(rows: Rows) -> list[str]:
    """Names of the figures of a study's rows."""
    return [k for k in (rows[0] if rows else {}) if k not in APART]


def summary(rows: Rows) -> dict[str, dict[str, Estimate]]:
    """Method -> figure -> mean and interval over seeds, methods in the order of the first figure."""
    shown, methods = shown_figures(rows), list(dict.fromkeys(row["method"] for row in rows))
    means = {
        m: {k: mean_interval([row[k] for row in rows if row["method"] == m]) for k in shown} for m in methods
    }
    if not shown:
        return means
    sign = 1 if shown[0].endswith(LOWER) else -1
    return dict(sorted(means.items(), key=lambda item: sign * item[1][shown[0]].mean))


def verdicts(means: dict[str, dict[str, Estimate]], model: str = "dsrsd_net") -> list[str]:
    """A sentence a figure: who is best and where the model stands; ablations are not ranked."""
    ranked = {m: v for m, v in means.items() if m not in ABLATIONS}
    found: list[str] = []
    if model not in ranked:
        return found
    for figure in ranked[model]:
        sign = 1 if figure.endswith(LOWER) else -1
        order = sorted(ranked, key=lambda m: sign * ranked[m][figure].mean)
        best, own = order[0], ranked[model][figure].mean
        if best == model:
            rest = f", before {order[1]} with {ranked[order[1]][figure].mean:.4f}" if len(order) > 1 else ""
            found.append(f"{figure}: {model} leads with {own:.4f}{rest}.")
            continue
        place = f"{model} is number {order.index(model) + 1} of {len(order)} with {own:.4f}"
        found.append(f"{figure}: {best} wins with {ranked[best][figure].mean:.4f}; {place}.")
    return found


def ablation_rows(rows: Rows, model: str = "dsrsd_net") -> Rows:
    """Ablation minus whole model in the first figure, over the seeds that both have run."""
    figure = next(iter(shown_figures(rows)), "")
    value = {(row["method"], row["seed"]): row[figure] for row in rows} if figure else {}
    found: Rows = []
    for name in ABLATIONS:
        seeds = [s for m, s in value if m == name and (model, s) in value]
        if seeds:
            change = mean_interval([value[name, s] - value[model, s] for s in seeds])
            found.append({"ablation": name, "seeds": len(seeds), f"change of {figure}": change})
    return found


def write_study_page(out: Path, title: str, notes: Sequence[str], rows: Rows) -> None:
    """Write OUT/index.html from the rows and from what else the study left in OUT."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["cell"] = cell
    means = summary(rows)
    tables = [(name, heading, read_rows(out / f"{name}.csv")) for name, heading in TITLES.items()]
    picture = out / "robustness.png"
    text = environment.get_template("study.html.j2").render(
        title=title,
        notes=list(notes),
        verdicts=verdicts(means),
        shown=shown_figures(rows),
        methods=[(m, sum(r["method"] == m for r in rows), v) for m, v in means.items() if m not in ABLATIONS],
        ablations=ablation_rows(rows),
        tables=[table for table in tables if table[2]],
        robustness=base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else "",
    )
    partial = out / "index.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(out / "index.html")


def cell(value: Any) -> str:
    """A number or an estimate as text."""
    if isinstance(value, Estimate):
        if np.isnan(value.low):
            return f"{value.mean:.4f}"
        return f"{value.mean:.4f} ({value.low:.4f} to {value.high:.4f})"
    if isinstance(value, float):
        return f"{value:g}" if value == int(value) else f"{value:.3f}"
    return str(value)
