"""Studies on small synthetic sets: tables, resuming, what a disturbed modality costs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spinecore.cli.app import app
from spinecore.plugins.dsrsd_net.config import DSRSDConfig
from spinecore.plugins.dsrsd_net.errors import TableError
from spinecore.plugins.dsrsd_net.samples import split_groups
from spinecore.plugins.dsrsd_net.study import sets
from spinecore.plugins.dsrsd_net.study.boosting import boosted
from spinecore.plugins.dsrsd_net.study.methods import ABLATIONS, method_names, run_method
from spinecore.plugins.dsrsd_net.study.protocol import Split, Study, figures
from spinecore.plugins.dsrsd_net.study.robustness import disturbed, robustness, write_robustness
from spinecore.plugins.dsrsd_net.synthetic import known_factors
from spinecore.plugins.dsrsd_net.training import FitOptions, Scores


def small_study(_folder: Path | None = None) -> Study:
    samples = known_factors(500, missing=0.1).samples

    def splits(seed: int) -> list[Split]:
        train, test = split_groups(samples.group, 0.4, seed)
        train, held = split_groups(samples.group, 0.2, seed, train)
        return [Split(train, held, test)]

    config = DSRSDConfig(modalities=samples.modalities, width=16, factors=8, layers=0)
    return Study("small", samples, config, FitOptions(epochs=12, batch=64, lr=5e-3), splits, linear=True)


def test_every_method_learns_and_knows_its_modality() -> None:
    study = small_study()
    (split,) = study.splits(1)
    names = method_names(study)
    assert len(names) == 1 + 4 + 2 + 3 * 2
    test = study.samples.take(split.test)
    auc = {m: figures(test, run_method(study, m, split, 1))["AUC"] for m in [*names, *ABLATIONS]}
    assert min(auc.values()) > 0.6
    assert auc["dsrsd_net"] > 0.85
    # View 2 lacks a factor that the outcome follows.
    assert max(auc["alone: view2"], auc["boosting: view2"]) < auc["dsrsd_net"]
    with pytest.raises(TableError, match="magic"):
        run_method(study, "magic", split, 1)
    with pytest.raises(TableError, match="view9"):
        run_method(study, "alone: view9", split, 1)


def test_the_command_writes_a_table_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sets.STUDIES, "small", small_study)
    base = ["study", "dsrsd_net", "small", "--data", str(tmp_path), "-o", str(tmp_path / "out")]
    methods = ["--method", "dsrsd_net", "--method", "logistic: all"]
    runner = CliRunner()
    assert runner.invoke(app, [*base, *methods, "--seeds", "1"], catch_exceptions=False).exit_code == 0
    record = tmp_path / "out" / "results.jsonl"
    first = record.read_text()
    assert runner.invoke(app, [*base, *methods, "--seeds", "2"], catch_exceptions=False).exit_code == 0
    assert record.read_text().startswith(first)
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(r["method"], r["seed"]) for r in rows] == [
        ("dsrsd_net", 1), ("logistic: all", 1), ("dsrsd_net", 2), ("logistic: all", 2),
    ]  # fmt: skip
    table = (tmp_path / "out" / "table.md").read_text()
    mean = np.mean([r["AUC"] for r in rows if r["method"] == "dsrsd_net"])
    assert f"| dsrsd_net | 2 | {mean:.4f} (" in table


def test_disturbing_moves_whole_samples_and_costs_what_the_modality_was_worth(tmp_path: Path) -> None:
    study = small_study()
    other = disturbed(study.samples, 1, 0.5, seed=3)
    moved = (other.inputs[1] != study.samples.inputs[1]).any(1)
    assert int(moved.sum()) == 250
    assert (other.inputs[0] == study.samples.inputs[0]).all()
    assert set(other.inputs[1][:, 0].tolist()) == set(study.samples.inputs[1][:, 0].tolist())
    rows = robustness(study, ["dsrsd_net", "late"], 1)
    auc = {(r["method"], r["modality"], r["disturbance"]): r["AUC"] for r in rows}
    for method in ("dsrsd_net", "late"):
        assert auc[method, "view1", "0"] == auc[method, "view2", "0"]
        assert auc[method, "view1", "1"] < auc[method, "view1", "0"] - 0.1
        assert auc[method, "view1", "removed"] < auc[method, "view1", "0"]
    write_robustness(tmp_path, rows)
    assert len((tmp_path / "robustness.csv").read_text().splitlines()) == 1 + len(rows) == 21
    assert (tmp_path / "robustness.png").stat().st_size > 1000


def test_boosting_bears_a_column_that_is_empty_in_training() -> None:
    study = small_study()
    (split,) = study.splits(1)
    x = study.samples.inputs[0].clone()
    x[split.train, 0] = torch.nan
    holed = dataclasses.replace(study.samples, inputs=(x, study.samples.inputs[1]))
    scores = boosted(holed, split.train, split.test, seed=1)
    assert figures(holed.take(split.test), scores)["AUC"] > 0.7


def test_a_perfect_answer_has_perfect_figures() -> None:
    samples = known_factors(50).samples
    outcome = np.eye(2)[samples.outcome.numpy()]
    found = figures(samples, Scores(outcome, np.zeros((50, 0))))
    assert (found["AUC"], found["accuracy"], found["macro F1"], found["Brier"], found["ECE"]) == (
        1,
        1,
        1,
        0,
        0,
    )
