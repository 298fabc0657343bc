"""Run a study: methods x seeds, every result kept as it comes, one table at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spinecore.metrics import mean_interval

from ..errors import GaitError
from .protocol import Study
from .sets import STUDIES

Report = Callable[[str], None]
APART = ("method", "seed", "folds", "cpu_seconds")


def run_study(
    name: str,
    folder: Path,
    out: Path,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 5,
    report: Report | None = None,
    folds: int | None = None,
    robust: bool = False,
) -> list[dict[str, Any]]:
    """Judge the methods on a data set; OUT/results.jsonl and OUT/table.md.

    What is in OUT already is not run again; what ran on other `folds` is neither counted nor shown.

    Args:
        name: of `STUDIES`.
        folder: with the files of the set.
        out: of the results.
        methods: None is all of them.
        seeds: runs with seeds 1 to this.
        report: called with a line after each run.
        folds: only so many of a seed's splits, for a quick look; the table says so.
        robust: also judge the model with each modality taken away after training (rows "without ...").

    """
    if name not in STUDIES:
        raise GaitError(f"study {name!r} is unknown; use one of {', '.join(STUDIES)}")
    study = STUDIES[name](folder)
    unknown = [m for m in methods or () if m not in study.methods]
    if unknown:
        raise GaitError(f"method {unknown[0]!r} is unknown; use {', '.join(study.methods)}")
    notes = study.notes if folds is None else (*study.notes, f"only {folds} of the splits of each seed")
    out.mkdir(parents=True, exist_ok=True)
    record = out / "results.jsonl"
    rows = [row for row in _read(record) if row.get("folds") == folds]
    done = {(row["method"], row["seed"]) for row in rows}
    for seed in range(1, seeds + 1):
        for method in methods or study.methods:
            if (method, seed) in done:
                continue
            begin = time.process_time()
            found = study.judge(method, seed, folds, robust)
            seconds = round(time.process_time() - begin, 1)
            for judged, figures in found.items():
                row = {"method": judged, "seed": seed, **figures, "cpu_seconds": seconds}
                if folds is not None:
                    row["folds"] = folds
                rows.append(row)
                with record.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
                if report is not None:
                    words = [f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()]
                    report(", ".join(words))
            (out / "table.md").write_text(table(study, rows, notes), encoding="utf-8")
    (out / "table.md").write_text(table(study, rows, notes), encoding="utf-8")
    return rows


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def table(study: Study, rows: list[dict[str, Any]], notes: Sequence[str]) -> str:
    """Markdown: mean and Student's 95 % interval over seeds, a line a method, the best macro F1 first."""
    shown = [k for k in (rows[0] if rows else {}) if k not in APART]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    means = {
        m: {k: mean_interval([r[k] for r in rows if r["method"] == m and k in r]) for k in shown}
        for m in methods
    }
    if shown:
        methods.sort(key=lambda m: -means[m][shown[0]].mean)
    lines = [f"# {study.name}", "", *(f"- {note}" for note in notes), ""]
    lines += ["| method | seeds | " + " | ".join(shown) + " |", "|---|---|" + "---|" * len(shown)]
    for m in methods:
        count = sum(row["method"] == m for row in rows)
        lines.append(f"| {m} | {count} | " + " | ".join(_cell(means[m][k]) for k in shown) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if np.isnan(value.mean):
        return "-"
    if np.isnan(value.low):
        return f"{value.mean:.3f}"
    return f"{value.mean:.3f} ({value.low:.3f} to {value.high:.3f})"
