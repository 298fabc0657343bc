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
from spinecore.plugins.dsrsd_net.baselines import Baseline
from spinecore.plugins.dsrsd_net.config import DSRSDConfig
from spinecore.plugins.dsrsd_net.errors import TableError
from spinecore.plugins.dsrsd_net.example import SMALL, example_inputs
from spinecore.plugins.dsrsd_net.network import DSRSDNet
from spinecore.plugins.dsrsd_net.samples import Samples, split_groups
from spinecore.plugins.dsrsd_net.study import run, sets
from spinecore.plugins.dsrsd_net.study.boosting import boosted
from spinecore.plugins.dsrsd_net.study.inspection import factor_rows, inspect, write_inspection
from spinecore.plugins.dsrsd_net.study.known import probe_known
from spinecore.plugins.dsrsd_net.study.methods import ABLATIONS, WITH_BOOSTING, method_names, run_method
from spinecore.plugins.dsrsd_net.study.page import ablation_rows, summary, verdicts
from spinecore.plugins.dsrsd_net.study.protocol import Split, Study, figures
from spinecore.plugins.dsrsd_net.study.robustness import disturbed, noised
from spinecore.plugins.dsrsd_net.study.tables import read_rows
from spinecore.plugins.dsrsd_net.synthetic import known_factors
from spinecore.plugins.dsrsd_net.training import FitOptions, Scores, fit


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


def test_the_mean_with_boosting_is_that_of_its_two() -> None:
    study = small_study()
    (split,) = study.splits(1)
    both, net, trees = (run_method(study, m, split, 1) for m in (WITH_BOOSTING, "dsrsd_net", "boosting: all"))
    np.testing.assert_allclose(both.outcome, (net.outcome + trees.outcome) / 2, atol=1e-12)
    assert WITH_BOOSTING not in method_names(study)
    assert WITH_BOOSTING in method_names(dataclasses.replace(study, mixed=True))


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
    quick = [*base, "--method", "logistic: all", "--seeds", "1", "--folds", "1"]
    assert runner.invoke(app, quick, catch_exceptions=False).exit_code == 0
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| logistic: all | 1 |" in table  # what ran on all splits is not mixed with a quick look
    assert "| dsrsd_net |" not in table
    assert runner.invoke(app, [*base, *methods, "--seeds", "2"], catch_exceptions=False).exit_code == 0
    assert f"| dsrsd_net | 2 | {mean:.4f} (" in (tmp_path / "out" / "table.md").read_text()
    assert len(record.read_text().splitlines()) == 5


def poisoned(study: Study, part: np.ndarray, *, inputs: bool) -> Study:
    """The same study with other answers, and other columns, of some people."""
    samples = study.samples
    outcome = samples.outcome.clone()
    outcome[part] = 1 - outcome[part]
    seen = tuple(x.clone() for x in samples.inputs)
    if inputs:
        for x in seen:
            x[part] = 50 * x[part] + 7
    return dataclasses.replace(study, samples=dataclasses.replace(samples, outcome=outcome, inputs=seen))


@pytest.mark.parametrize("method", ["dsrsd_net", "late"])
def test_nothing_of_the_test_people_reaches_the_training_of_a_network(method: str) -> None:
    study = small_study()
    (split,) = study.splits(1)

    def trained(of: Study) -> tuple[DSRSDNet | Baseline, float]:
        torch.manual_seed(0)
        model = DSRSDNet(study.config) if method == "dsrsd_net" else Baseline(study.config, method)
        options = FitOptions(epochs=2, batch=64, lr=5e-3)
        return model, fit(model, of.samples, split.train, split.validation, options, 1)

    (clean, figure), (other, same) = trained(study), trained(poisoned(study, split.test, inputs=True))
    assert figure == same  # what stops the training is not the test people's either
    for a, b in zip(clean.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    held, _ = trained(poisoned(study, split.validation, inputs=True))
    means = [str(k) for k in clean.state_dict() if k.endswith("embed.mean")]
    assert means
    for name in means:  # people who stop the training standardise no column
        assert torch.equal(clean.state_dict()[name], held.state_dict()[name])


@pytest.mark.parametrize("method", ["boosting: all", "logistic: all"])
def test_nothing_of_the_test_people_reaches_the_training_of_a_tool(method: str) -> None:
    study = small_study()
    (split,) = study.splits(1)
    clean = run_method(study, method, split, 1)
    other = run_method(poisoned(study, split.test, inputs=False), method, split, 1)
    np.testing.assert_array_equal(clean.outcome, other.outcome)


def test_boosting_of_answers_learns_from_training_people_alone() -> None:
    samples = small_study().samples
    answers = dataclasses.replace(samples, steps=samples.outcome[:, None], outcome=samples.outcome * 0 - 1)
    flipped = answers.steps.clone()
    flipped[300:] = 1 - flipped[300:]
    train, test = np.arange(300), np.arange(300, 500)
    clean = boosted(answers, train, test, 1)
    other = boosted(dataclasses.replace(answers, steps=flipped), train, test, 1)
    np.testing.assert_array_equal(clean.steps, other.steps)


def test_disturbing_moves_whole_samples_and_noise_keeps_to_its_modality() -> None:
    samples = small_study().samples
    other = disturbed(samples, 1, 0.5, seed=3)
    moved = (other.inputs[1] != samples.inputs[1]).any(1)
    assert int(moved.sum()) == 250
    assert (other.inputs[0] == samples.inputs[0]).all()
    assert set(other.inputs[1][:, 0].tolist()) == set(samples.inputs[1][:, 0].tolist())
    noisy = noised(samples, 0, 2.0, seed=3)
    assert torch.equal(noisy.inputs[1], samples.inputs[1])
    here = samples.present[:, 0]
    added = (noisy.inputs[0] - samples.inputs[0])[here].std(0) / samples.inputs[0][here].std(0)
    assert 1.7 < float(added.min()) < float(added.max()) < 2.3


def test_noise_leaves_codes_and_missing_values_alone() -> None:
    present, valid, *inputs = example_inputs()[1]
    inputs[0][1, 0] = torch.nan
    at = torch.arange(4)
    samples = Samples(SMALL.modalities, tuple(inputs), present, valid, at % 2, valid.long(), at, at)
    for m, columns in ((0, 3), (1, 2)):
        x, y = inputs[m], noised(samples, m, 1.0, seed=0).inputs[m]
        assert torch.equal(x[..., columns:], y[..., columns:])
        assert torch.equal(x.isnan(), y.isnan())
        assert not torch.equal(torch.nan_to_num(x[..., :columns]), torch.nan_to_num(y[..., :columns]))


def test_inspection_sees_what_the_modality_was_worth_and_a_collapse(tmp_path: Path) -> None:
    study = dataclasses.replace(small_study(), transfer=True)
    found = inspect(study, ["dsrsd_net", "late"], 1)
    auc = {(r["method"], r["modality"], r["disturbance"], r["level"]): r["AUC"] for r in found.robustness}
    for method in ("dsrsd_net", "late"):
        whole = auc[method, "view1", "exchanged", 0.0]
        assert whole == auc[method, "view2", "exchanged", 0.0] == auc[method, "view1", "noise", 0.0]
        assert auc[method, "view1", "exchanged", 1.0] < whole - 0.1
        assert auc[method, "view1", "noise", 2.0] < whole
        assert auc[method, "view1", "removed", 1.0] < whole
    assert [(r["method"], r["modality"]) for r in found.factors] == [
        ("dsrsd_net", "view1"),
        ("dsrsd_net", "view2"),
    ]
    assert [r["people of"] for r in found.transfer] == ["training domains", "test domain"] * 2
    assert not inspect(small_study(), [], 1).transfer
    write_inspection(tmp_path, found)
    assert (tmp_path / "robustness.png").stat().st_size > 1000
    assert read_rows(tmp_path / "factors.csv")[0]["modality"] == "view1"
    torch.manual_seed(0)
    model = DSRSDNet(study.config)
    (split,) = study.splits(1)
    test = study.samples.take(split.test)
    model.fit_columns(list(test.inputs), test.present, test.valid)
    before = factor_rows(model, test)[0]
    with torch.no_grad():  # all shared factors say the same thing
        model.projections[0].down.copy_(model.projections[0].down[:1].expand(8, -1))
    after = factor_rows(model, test)[0]
    assert before["rank of s"] > 4
    assert after["rank of s"] == pytest.approx(1, abs=1e-3)
    assert after["correlation of s"] == pytest.approx(1, abs=1e-3)


def test_the_page_says_who_wins_and_what_each_part_is_worth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"method": m, "seed": s, "AUC": auc + 0.01 * s, "Brier": 1 - auc, "cpu_seconds": 1.0}
        for m, auc in (("dsrsd_net", 0.8), ("boosting: all", 0.82), ("late", 0.7), ("no alignment", 0.9))
        for s in (1, 2)
    ]
    assert verdicts(summary(rows)) == [
        "AUC: boosting: all wins with 0.8350; dsrsd_net is number 2 of 3 with 0.8150.",
        "Brier: boosting: all wins with 0.1800; dsrsd_net is number 2 of 3 with 0.2000.",
    ]
    (part,) = ablation_rows(rows)
    assert (part["ablation"], part["seeds"]) == ("no alignment", 2)
    assert part["change of AUC"].mean == pytest.approx(0.1)
    monkeypatch.setitem(sets.STUDIES, "small", small_study)
    monkeypatch.setattr(run, "VARIANTS", ["hard projection"])
    monkeypatch.setattr(run, "probe_known", lambda v: probe_known(v, known_factors(200), epochs=1))
    base = ["study", "dsrsd_net", "small", "--data", str(tmp_path), "-o", str(tmp_path / "out")]
    options = ["--method", "dsrsd_net", "--seeds", "1", "--robust", "--ablations", "--probes"]
    assert CliRunner().invoke(app, [*base, *options], catch_exceptions=False).exit_code == 0
    page = (tmp_path / "out" / "index.html").read_text()
    for title in ("Who wins", "Ablations", "Robustness", "State of the factors", "Leakage probes"):
        assert f"<h2>{title}" in page
    assert "no orthogonality" in page
    assert "http" not in page
    wrong = CliRunner().invoke(app, ["study", "scoligait", "x", "--data", ".", "-o", ".", "--probes"])
    assert wrong.exit_code != 0
    assert "--probes" in str(wrong.exception)


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
