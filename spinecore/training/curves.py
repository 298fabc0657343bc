"""Training and validation curves as one PNG."""

from __future__ import annotations

import csv
from pathlib import Path


def _columns(path: Path) -> dict[str, list[float]]:
    if not path.exists():
        return {}
    with path.open(newline="") as f:
        rows = list(csv.DictReader(f))
    return {k: [float(r[k]) for r in rows] for k in rows[0]} if rows else {}


def draw_curves(train_csv: Path, validation_csv: Path, out: Path) -> None:
    """One small plot a column, against the step; the two files keep their own row of plots."""
    from matplotlib.figure import Figure

    rows = [
        (
            name,
            {k: v for k, v in columns.items() if k not in ("step", "epoch", "lr", "seconds")},
            columns["step"],
        )
        for name, columns in (("training", _columns(train_csv)), ("validation", _columns(validation_csv)))
        if columns
    ]
    if not rows:
        return
    per_row = 5
    lines = [(n, k, s, v) for n, cols, s in rows for k, v in cols.items()]
    height = -(-len(lines) // per_row)
    figure = Figure(figsize=(3.2 * per_row, 2.3 * height), layout="constrained")
    for i, (name, key, steps, values) in enumerate(lines):
        ax = figure.add_subplot(height, per_row, i + 1)
        ax.plot(steps, values, color="#1f5fa8" if name == "training" else "#b5471b", linewidth=1.2)
        ax.set_title(f"{key} ({name})", fontsize=9)
        ax.tick_params(labelsize=7)
        ax.grid(alpha=0.25)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    figure.savefig(out, dpi=110)
