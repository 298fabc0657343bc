"""Figures beside scikit-learn, intervals over people, predictors that see no gait, studies on small files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from spinecore.plugins.scoligait.errors import GaitError
from spinecore.plugins.scoligait.evaluation import (
    balanced_accuracy,
    blind_predictors,
    class_figures,
    clustered_interval,
    screening_figures,
    screening_table,
)
from spinecore.plugins.scoligait.study import sets
from spinecore.plugins.scoligait.study.ground_forces import force_map
from spinecore.plugins.scoligait.study.run import run_study


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(4, 60))
def test_figures_are_those_of_scikit_learn(seed: int, count: int) -> None:
    draw = np.random.default_rng(seed)
    truth = np.concatenate([[0, 1], draw.integers(0, 2, count)])
    score = draw.random(len(truth)).round(2)
    got = screening_figures(truth, score)
    said = (score >= 0.5).astype(int)
    assert got["macro F1"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert got["balanced accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, said))
    assert got["AUROC"] == pytest.approx(metrics.roc_auc_score(truth, score))
    assert got["positive recall"] == pytest.approx(metrics.recall_score(truth, said))
    several = draw.integers(0, 4, count)
    p = draw.random((count, 4))
    assert class_figures(several, p)["balanced accuracy"] == pytest.approx(
        balanced_accuracy(several, p.argmax(1))
    )


def test_intervals_are_over_people() -> None:
    """A hundred clips of four people are four observations: the interval is far wider than by clips."""
    subject = np.repeat(np.arange(4), 25)
    value = np.repeat([0.0, 0.0, 1.0, 1.0], 25)

    def mean(rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> float:
        return float(value[rows].mean())

    people = clustered_interval(mean, subject)
    clips = clustered_interval(mean, np.arange(100))
    assert people.mean == clips.mean == 0.5
    assert people.high - people.low > 3 * (clips.high - clips.low)
    table = screening_table([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], [0, 1, 2, 3], repeats=50)
    assert tuple(table["AUROC"]) == (1.0, 1.0, 1.0)


def test_blind_predictors_use_training_rows_alone() -> None:
    sex = np.array(["f"] * 10 + ["m"] * 10)
    age = np.array([10.0] * 5 + [15.0] * 5 + [10.0] * 5 + [15.0] * 5)
    truth = np.array([1] * 10 + [0] * 10)
    train, test = np.arange(0, 20, 2), np.arange(1, 20, 2)
    turned = truth.copy()
    turned[test] = 1 - turned[test]
    got = blind_predictors(truth, train, test, {"sex": sex, "age": age})
    other = blind_predictors(turned, train, test, {"sex": sex, "age": age})
    for name, p in got.items():
        np.testing.assert_array_equal(p, other[name])
    np.testing.assert_array_equal(got["sex only"], (sex[test] == "f").astype(float))
    assert got["majority"].tolist() == [0.5] * 10
    assert 0 < got["age only"].min() <= got["age only"].max() < 1


def test_force_map_holds_the_correlations() -> None:
    draw = np.random.default_rng(0)
    curves = draw.normal(size=(3, 6, 40))
    got = force_map(curves)
    assert got.shape == (3, 40, 30)
    np.testing.assert_allclose(got[..., :6], curves.transpose(0, 2, 1))
    np.testing.assert_allclose(got[1, :, 12], curves[1, 0] - curves[1, 3])
    assert got[2, 20, 15] == pytest.approx(np.corrcoef(curves[2, 0], curves[2, 1])[0, 1])


def test_a_study_runs_resumes_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    subject = np.repeat(np.arange(20), 2)
    label = subject % 4
    feature = draw.normal(size=(40, 6, 101)).astype(np.float32) + label[:, None, None]
    np.savez(tmp_path / "grf.npz", feature=feature, label=label, subject=subject)
    monkeypatch.setattr(sets, "FORCE_OPTIONS", sets.FitOptions(epochs=2, batch=16))
    out = tmp_path / "out"
    chosen = ["map, latent", "majority"]
    rows = run_study("gait_grf", tmp_path, out, methods=chosen, seeds=1, folds=2)
    assert [r["method"] for r in rows] == chosen
    assert rows[1]["balanced accuracy"] == 0.25
    lines = (out / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["method"] for line in lines] == chosen
    more = [*chosen, "logistic: affected", sets.LINEAR, sets.BOTH]
    rows = run_study("gait_grf", tmp_path, out, methods=more, seeds=1, folds=2)
    assert [r["method"] for r in rows] == more
    assert rows[2]["macro F1"] > 0.6  # the classes are far apart
    assert rows[3]["macro F1"] > 0.6
    text = (out / "table.md").read_text()
    assert "40 trials of 20 subjects" in text
    assert "only 2 of the splits" in text
    whole = run_study("gait_grf", tmp_path, out, methods=["majority"], seeds=1)
    assert len(whole) == 1  # a quick look at two folds is no result of five
    assert "only 2" not in (out / "table.md").read_text()
    with pytest.raises(GaitError, match="study 'x' is unknown"):
        run_study("x", tmp_path, out)
    with pytest.raises(GaitError, match="method 'x' is unknown"):
        run_study("gait_grf", tmp_path, out, methods=["x"])
    np.savez(tmp_path / "grf.npz", label=label)
    with pytest.raises(GaitError, match=r"grf.npz.*feature"):
        run_study("gait_grf", tmp_path, out)
