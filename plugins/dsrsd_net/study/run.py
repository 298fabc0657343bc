"""Run a study: methods x seeds, every result kept as it comes, one table at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..baselines import METHODS
from ..errors import TableError
from ..training import Scores
from .inspection import inspect, write_inspection
from .known import VARIANTS, probe_known
from .methods import ABLATIONS, method_names, run_method
from .page import cell, shown_figures, summary, write_study_page
from .protocol import Study, check_split, figures
from .sets import STUDIES
from .tables import write_rows

Report = Callable[[str], None]


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
    ablations: bool = False,
    probes: bool = False,
) -> list[dict[str, Any]]:
    """Judge the methods on a data set; writes OUT/results.jsonl, table.md and index.html.

    What is in OUT already is not run again; what ran on other `folds` is neither counted nor shown.

    Args:
        name: of `STUDIES`.
        folder: with the official files.
        out: of the results.
        methods: None is all of them.
        seeds: runs with seeds 1 to this; splits and weights follow from the seed.
        report: called with a line after each run.
        folds: only so many of a seed's splits, for a quick look; the table says so.
        robust: also disturb and remove each modality, with the networks among `methods` (default: the model
            and the fusion baselines) of seed 1, into OUT/robustness.csv and .png; with what their factors
            look like (factors.csv) and, in a study of transfer, transfer.csv.
        ablations: also the model without each of its parts.
        probes: also probe the factors on a set where they are known, into OUT/known_factors.csv.

    """
    if name not in STUDIES:
        raise TableError(f"study {name!r} is unknown; use one of {', '.join(STUDIES)}")
    study = STUDIES[name](folder)
    if folds is not None:
        study = replace(study, notes=(*study.notes, f"only {folds} of the splits of each seed"))
    out.mkdir(parents=True, exist_ok=True)
    record = out / "results.jsonl"
    rows = [row for row in _read(record) if row.get("folds") == folds]
    done = {(row["method"], row["seed"]) for row in rows}
    chosen = [*(methods or method_names(study)), *(ABLATIONS if ablations else ())]
    for seed in range(1, seeds + 1):
        for method in dict.fromkeys(chosen):
            if (method, seed) in done:
                continue
            begin, clock = time.process_time(), time.perf_counter()
            row: dict[str, Any] = {
                "method": method,
                "seed": seed,
                **pooled_figures(study, method, seed, folds),
            }
            row["cpu_seconds"] = round(time.process_time() - begin, 1)
            row["wall_seconds"] = round(time.perf_counter() - clock, 1)
            if folds is not None:
                row["folds"] = folds
            rows.append(row)
            with record.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            (out / "table.md").write_text(table(study, rows), encoding="utf-8")
            if report is not None:
                report(
                    ", ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
                )
    (out / "table.md").write_text(table(study, rows), encoding="utf-8")
    if robust:
        networks = [m for m in methods or ("dsrsd_net", *METHODS) if m in ("dsrsd_net", *METHODS, *ABLATIONS)]
        write_inspection(out, inspect(study, networks, 1))
    if probes:
        write_rows(out / "known_factors.csv", [row for v in VARIANTS for row in probe_known(v)])
    write_study_page(out, study.name, study.notes, rows)
    return rows


def pooled_figures(study: Study, method: str, seed: int, folds: int | None = None) -> dict[str, float]:
    """Figures over the test parts of all splits of a seed together, or of the first `folds`."""
    splits = study.splits(seed)[:folds]
    scores = []
    for split in splits:
        check_split(study.samples, split)
        scores.append(run_method(study, method, split, seed))
    pooled = Scores(np.concatenate([s.outcome for s in scores]), np.concatenate([s.steps for s in scores]))
    test = np.concatenate([s.test for s in splits])
    found = figures(study.samples.take(test), pooled)
    if study.part is not None:
        name, mask = study.part
        kept = mask[test]
        inside = figures(study.samples.take(test[kept]), Scores(pooled.outcome[kept], pooled.steps[kept]))
        found |= {f"{name}: {k}": v for k, v in inside.items() if k.endswith("AUC")}
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def table(study: Study, rows: list[dict[str, Any]]) -> str:
    """Markdown: mean and 95 % interval over seeds, a line a method, in the order of the first figure."""
    shown, means = shown_figures(rows), summary(rows)
    lines = [f"# {study.name}", "", *(f"- {note}" for note in study.notes), ""]
    lines += ["| method | seeds | " + " | ".join(shown) + " |", "|---|---|" + "---|" * len(shown)]
    for m, estimates in means.items():
        cells = [cell(estimates[k]) for k in shown]
        count = sum(row["method"] == m for row in rows)
        lines.append(f"| {m} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
