"""Training: nobody on two sides, exact resume, weights that carry what screening needs; labelled folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spinecore.plugins.scoligait import SPEC
from spinecore.plugins.scoligait.errors import GaitError
from spinecore.plugins.scoligait.fitting import class_weights, hide
from spinecore.plugins.scoligait.recordings import labelled, write_poses
from spinecore.plugins.scoligait.samples import check_split, split_subjects, subject_folds
from spinecore.plugins.scoligait.simulator import draw_camera, draw_walker, simulate
from spinecore.plugins.scoligait.task import GaitTask
from spinecore.registry import PluginError
from spinecore.training.tables import train_table_command
from spinecore.weights import load_weights, read_card

SMALL: dict[str, Any] = {"width": 16, "heads": 2, "depth": 1, "latents": 4, "simulated_subjects": 16}


def test_a_subject_on_two_sides_is_refused() -> None:
    subject = torch.tensor([0, 0, 1, 1, 2])
    check_split(subject, np.array([0, 1]), np.array([2, 3]), np.array([4]))
    with pytest.raises(GaitError, match=r"1 subjects are on two sides .* number 1"):
        check_split(subject, np.array([0, 1, 2]), np.array([3, 4]))


def test_splits_keep_subjects_together() -> None:
    subject = torch.arange(40).repeat_interleave(3)
    outcome = (subject % 4).clone()
    train, held = split_subjects(subject, 0.2, 1)
    check_split(subject, train, held)
    assert len(train) + len(held) == 120
    assert len(held) == 24
    seen = []
    for rest, test in subject_folds(subject, outcome, 5, 1):
        check_split(subject, rest, test)
        seen += test.tolist()
        assert np.bincount(outcome[test].numpy()).tolist() == [6, 6, 6, 6]
    assert sorted(seen) == list(range(120))
    with pytest.raises(GaitError, match="1 subject"):
        split_subjects(torch.zeros(4), 0.2, 1)


def test_hidden_modalities_leave_one() -> None:
    present = torch.tensor([[True, False, False]] * 50 + [[True, True, True]] * 50)
    kept = hide(present, 0.9, torch.Generator().manual_seed(0))
    assert kept.any(1).all()
    assert not (kept & ~present).any()
    assert kept.sum() < present.sum()
    torch.testing.assert_close(class_weights(torch.tensor([0, 0, 0, 1]), 2), torch.tensor([2 / 3, 2.0]))


def run(out: Path, config: Path, **options: Any) -> dict[str, float]:
    return train_table_command(
        "scoligait", {}, out, config=config, steps=4, batch=8, lr=1e-3, threads=1, **options
    )


def test_a_stopped_run_ends_the_same(tmp_path: Path) -> None:
    config = tmp_path / "small.json"
    config.write_text(json.dumps(SMALL))
    run(tmp_path / "whole", config)
    run(tmp_path / "parts", config, stop_after=2)
    run(tmp_path / "parts", config)
    whole, parts = (load_weights(SPEC, tmp_path / n / "weights.safetensors") for n in ("whole", "parts"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    card = read_card(tmp_path / "whole" / "weights.safetensors")
    assert card["source"] == {"dataset": "simulated", "subjects": 16}
    assert card["held_subjects"] == 3
    assert set(card["baselines"]) == {"majority"}
    assert len(card["validation"]["AUROC"]) == 3
    assert len(card["reference"]["measures"]) == 13


def folder_of(path: Path, subjects: int = 8) -> Path:
    draw = np.random.default_rng(1)
    lines = ["file,label,subject,severity,age,sex"]
    for s in range(subjects):
        walker = draw_walker(draw, severity=0.9 if s % 2 else 0.1)
        walk = simulate(walker, draw_camera(draw), draw, frames=200)
        write_poses(path / f"{s}.csv", walk)
        lines.append(
            f"{s}.csv,{'positive' if s % 2 else 'negative'},p{s},{walker.severity},{10 + s},{'fm'[s % 2]}"
        )
    (path / "labels.csv").write_text("\n".join(lines))
    return path


def test_own_recordings_with_blind_baselines(tmp_path: Path) -> None:
    data = labelled(folder_of(tmp_path))
    assert (len(data.clips), len(set(data.subject)), len(set(data.walk))) == (16, 8, 8)
    fields = {k: v for k, v in SMALL.items() if k != "simulated_subjects"}
    task = GaitTask({"data": tmp_path}, config=fields, batch=4)
    assert len(task.train) == 2 * len(set(task.train.tolist())) // 2
    figures = task.validate(task.build().eval())
    assert {"macro_f1", "balanced_accuracy", "auroc", "positive_recall"} <= set(figures)
    assert set(task.table["baselines"]) == {"majority", "age only", "sex only"}
    mirror = task.clips.take(np.array([0, 16]))
    assert mirror.subject[0] == mirror.subject[1]
    assert not torch.equal(mirror.map[0], mirror.map[1])


def test_without_a_column_names_tell_whose_a_recording_is(tmp_path: Path) -> None:
    folder_of(tmp_path, 4)
    for number, name in enumerate(("ann/1.csv", "ann/2.csv", "bob/1.csv", "cy_trial1.csv")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{number}.csv").rename(tmp_path / name)
    (tmp_path / "labels.csv").write_text(
        "file,label\nann/1.csv,1\nann/2.csv,1\nbob/1.csv,0\ncy_trial1.csv,0\n"
    )
    clips = labelled(tmp_path).clips
    assert list(dict.fromkeys(clip.subject for clip in clips)) == ["ann", "bob", "cy"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("file,label\nann_1.csv,1\nann_2.csv,0\n", "ann_1 and ann_2 may be one person or two; add a column"),
        ("file\n0.csv\n", "needs the columns file and label"),
        ("file,label\n0.csv,perhaps\n", "line 2: label 'perhaps'"),
        ("file,label\nnone.csv,1\n", "line 2: .*none.csv does not exist"),
        ("file,label,severity\n0.csv,1,3\n", "severity is 3"),
        ("file,label\n0.csv,1\n1.csv,1\n", "0 of 2 training clips are negative"),
    ],
)
def test_bad_tables_say_what_is_wrong(tmp_path: Path, table: str, words: str) -> None:
    folder_of(tmp_path, 2)
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(PluginError, match=words):
        GaitTask({"data": tmp_path})


def test_wrong_options_say_why() -> None:
    with pytest.raises(GaitError, match="fusion is 'sum'"):
        GaitTask({}, config={"fusion": "sum"})
    with pytest.raises(GaitError, match="give --data"):
        GaitTask({"table": Path("labels.csv")})
