"""A table with its description: read, trained, resumed and predicted by the commands users run."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spinecore.cli.app import app
from spinecore.plugins.dsrsd_net.data.description import description, read_description
from spinecore.plugins.dsrsd_net.data.table import load_table
from spinecore.plugins.dsrsd_net.drivers import explain
from spinecore.plugins.dsrsd_net.errors import TableError
from spinecore.plugins.dsrsd_net.network import DSRSDNet
from spinecore.plugins.dsrsd_net.task import sample_task
from spinecore.registry import model_spec
from spinecore.weights import load_weights

YAML = """
id: student
time: week
until: 6
outcome: result
next_step: active
modalities:
  profile: {kind: vector, numeric: [age], categorical: [region]}
  clicks: {kind: sequence, numeric: [clicks]}
  notes: {kind: text, text: [comment]}
"""
SMALL = {"width": 16, "factors": 8, "dropout": 0.0}


def write_table(folder: Path, people: int = 120, seed: int = 0) -> Path:
    """Who clicks more than others passes; the comment knows it too, age and region do not."""
    rng = np.random.default_rng(seed)
    rows: list[list[object]] = []
    for i in range(people):
        level = rng.standard_normal()
        for week in (8, 2, 4, 6):
            clicks = level + 0.3 * rng.standard_normal()
            comment = ("going well" if level > 0 else "too hard for me") if i % 3 else ""
            age = 20 + i % 30 if i % 4 else ""
            answers = [int(clicks > 0), "pass" if level > 0 else "fail"]
            rows.append([f"s{i}", week, age, "NSEW"[i % 4], f"{clicks:.3f}", comment, *answers])
    path = folder / "students.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["student", "week", "age", "region", "clicks", "comment", "active", "result"])
        writer.writerows(rows)
    (folder / "modalities.yaml").write_text(YAML)
    (folder / "config.json").write_text(json.dumps(SMALL))
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_rows_become_samples_in_time_order_without_what_came_later(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    samples, what = load_table(path, read_description(tmp_path / "modalities.yaml"))
    assert len(samples) == 120
    assert samples.valid.shape == (120, 3)  # week 8 is after `until`
    assert what.classes == ["fail", "pass"]
    assert what.names == {"region": ["E", "N", "S", "W"]}
    with path.open() as stream:
        rows = {(r["student"], r["week"]): r for r in csv.DictReader(stream)}
    for t, week in enumerate(("2", "4", "6")):
        assert samples.inputs[1][5, t, 0] == pytest.approx(float(rows["s5", week]["clicks"]))
    assert samples.steps[5].tolist() == [int(rows["s5", "4"]["active"]), int(rows["s5", "6"]["active"]), -1]
    assert torch.equal(
        samples.present[:, 2], torch.arange(120) % 3 != 0
    )  # no comment: the modality is absent
    assert torch.isnan(samples.inputs[0][0, 0])


def test_later_rows_change_nothing_that_the_model_sees(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    what = read_description(tmp_path / "modalities.yaml")
    before, _ = load_table(path, what)
    lines = path.read_text().splitlines()
    spoilt = [
        ",".join([*line.split(",")[:4], "99", "leak", "1", line.split(",")[7]])
        if line.split(",")[1] == "8"
        else line
        for line in lines
    ]
    assert spoilt != lines
    path.write_text("\n".join(spoilt) + "\n")
    after, _ = load_table(path, what)
    for a, b in zip(
        (*before.inputs, before.steps, before.valid), (*after.inputs, after.steps, after.valid), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_train_resume_and_predict_by_command(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    common = (
        "--table",
        path,
        "--modalities",
        tmp_path / "modalities.yaml",
        "--config",
        tmp_path / "config.json",
    )
    common = (*common, "--batch", 32, "--lr", "0.01", "--threads", 1)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run("train", "dsrsd_net", "-o", whole, "--steps", 60, *common).exit_code == 0

    from spinecore.training.tables import train_table_command

    source: dict[str, Path | str | None] = {"table": path, "modalities": tmp_path / "modalities.yaml"}
    options: dict[str, Any] = {
        "config": tmp_path / "config.json",
        "batch": 32,
        "lr": 0.01,
        "threads": 1,
        "steps": 60,
    }
    train_table_command("dsrsd_net", source, parts, stop_after=25, **options)
    figures = train_table_command("dsrsd_net", source, parts, **options)
    assert figures["AUC"] > 0.9
    assert figures["next AUC"] > 0.8
    spec = model_spec("dsrsd_net")
    models = [load_weights(spec, folder / "weights.safetensors") for folder in (whole, parts)]
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert torch.equal(a, b)  # a killed run ends where an unbroken one does

    out = tmp_path / "out"
    done = run("predict", "dsrsd_net", "--weights", whole, "--table", path, "-o", out, "--by", "region")
    assert done.exit_code == 0
    with (out / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 120
    assert all(abs(float(r["p(fail)"]) + float(r["p(pass)"]) - 1) < 1e-5 for r in rows)
    assert all(
        abs(sum(float(r[f"gate {m}"]) for m in ("profile", "clicks", "notes")) - 1) < 1e-4 for r in rows
    )
    assert rows[0]["drop notes"] == ""  # it was absent
    with (out / "groups.csv").open() as stream:
        groups = list(csv.DictReader(stream))
    assert {g["group"] for g in groups} == {"all", "E", "N", "S", "W"}
    assert all(float(g["low"]) <= float(g["mean"]) <= float(g["high"]) for g in groups)
    size = {
        g["modality"]: float(g["mean"])
        for g in groups
        if g["group"] == "all" and g["figure"].startswith("size")
    }
    assert size["clicks"] > size["profile"]  # what decides is what is shown as deciding
    packed = tmp_path / "students.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    twin = tmp_path / "twin"
    done = run("predict", "dsrsd_net", "--weights", whole, "--table", packed, "-o", twin, "--by", "region")
    assert done.exit_code == 0
    assert (twin / "groups.csv").read_text() == (out / "groups.csv").read_text()
    page = (out / "index.html").read_text()
    assert "s5" in page
    assert "http" not in page.replace("http-equiv", "")


def test_people_who_validate_standardise_no_column(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    task = sample_task({"table": path, "modalities": tmp_path / "modalities.yaml"}, config=dict(SMALL))
    before = task.build().state_dict()
    for x in task.samples.inputs:
        x[task.held] = 50 * x[task.held]
    after = task.build().state_dict()
    assert all(torch.equal(a, b) for a, b in zip(before.values(), after.values(), strict=True))


def test_a_table_may_lack_the_outcome_and_have_new_categories(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    _, what = load_table(path, read_description(tmp_path / "modalities.yaml"))
    rows = [line.split(",")[:7] for line in path.read_text().splitlines()]
    for row in rows[1:]:
        row[3] = "Mars" if row[0] == "s1" else row[3]
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    samples, kept = load_table(path, what)
    assert kept.classes == ["fail", "pass"]
    assert samples.outcome.tolist() == [-1] * 120
    assert samples.inputs[0][1, 1] == 0


def test_the_parts_of_a_prediction_add_up(tmp_path: Path) -> None:
    from spinecore.plugins.dsrsd_net.config import DSRSDConfig

    samples, _ = load_table(write_table(tmp_path), read_description(tmp_path / "modalities.yaml"))
    torch.manual_seed(0)
    model = DSRSDNet(DSRSDConfig(modalities=samples.modalities, width=16, factors=8, next_step=True)).double()
    samples = samples.take(np.arange(50))
    drivers = explain(model.float(), samples, batch=16)
    with torch.no_grad():
        out = model.eval()(samples.present, samples.valid, *samples.inputs)
        count = samples.present.sum(0)[:, None]
        s, p = (x[:, -1:].sum(0, keepdim=True) / count for x in (out.shared, out.private))
        many = (len(samples), -1, -1, -1)
        step = torch.ones(len(samples), 1, dtype=torch.bool)
        average = model.predict(
            s.expand(many), p.expand(many), samples.present, step, out.gates[:, -1:]
        ).outcome
    np.testing.assert_allclose(
        drivers.shared + drivers.private,
        drivers.probability[:, 1] - average.double().softmax(-1)[:, 1].numpy(),
        atol=1e-6,
    )
    out = model.eval()(samples.without(1).present, samples.valid, *samples.inputs)
    expected = drivers.probability[:, 1] - out.outcome.double().softmax(-1)[:, 1].detach().numpy()
    np.testing.assert_allclose(drivers.drop[:, 1], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modalities": {}}, "at least one modality"),
        ({"speed": 1}, "'speed' is unknown"),
        ({}, "a modality that changes with the step"),
        ({"outcome": None, "next_step": None}, "neither"),
        ({"time": None}, "needs `id` and `time`"),
        ({"modalities": {"a": {"kind": "vector", "numeric": ["result"]}}}, "is the outcome"),
        ({"modalities": {"a": {"kind": "vector", "columns": ["age"]}}}, "use kind, numeric"),
    ],
)
def test_a_description_that_cannot_work_says_why(change: dict[str, object], words: str) -> None:
    good = {"id": "student", "time": "week", "outcome": "result", "next_step": "active"}
    with pytest.raises(TableError, match=words):
        description({**good, "modalities": {"a": {"kind": "vector", "numeric": ["age"]}}, **change})


def test_a_field_that_is_no_number_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    lines = path.read_text().splitlines()
    lines[6] = lines[6].replace(lines[6].split(",")[4], "many")
    path.write_text("\n".join(lines))
    with pytest.raises(TableError, match=r"students.csv, line 7: clicks is 'many'"):
        load_table(path, read_description(tmp_path / "modalities.yaml"))
