"""ASSISTments on small files in its format: earlier answers alone; ease of items from training students."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinecore.plugins.dsrsd_net.config import ModalityConfig
from spinecore.plugins.dsrsd_net.data.assistments import load_assistments
from spinecore.plugins.dsrsd_net.data.practice import OWN, PRACTICE, fill_ease, practice_columns
from spinecore.plugins.dsrsd_net.errors import TableError
from spinecore.plugins.dsrsd_net.samples import Samples
from spinecore.plugins.dsrsd_net.study import sets
from spinecore.plugins.dsrsd_net.study.sets import STUDIES, without_items


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 1)), min_size=2, max_size=40),
    st.data(),
)
def test_practice_columns_know_earlier_answers_alone(
    rows: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    item, skill, right = (np.array(x) for x in zip(*rows, strict=True))
    at = data.draw(st.integers(0, len(rows) - 1))
    other = right.copy()
    other[at:] = 1 - other[at:]
    a, b = practice_columns(item, skill, right), practice_columns(item, skill, other)
    np.testing.assert_array_equal(a[: at + 1, :OWN], b[: at + 1, :OWN])
    if at + 1 < len(rows):
        assert not np.array_equal(a[at + 1, :OWN], b[at + 1, :OWN])
    assert np.isnan(a[:, OWN:]).all()


def test_ease_comes_from_other_training_students_alone() -> None:
    rng = np.random.default_rng(0)
    n, steps = 60, 20
    items, target = rng.integers(1, 9, (n, steps)), rng.integers(0, 2, (n, steps))
    skills, group = 1 + items % 3, np.arange(n) // 2
    train = np.arange(40)
    empty = np.full((n, steps, len(PRACTICE)), np.nan, dtype=np.float32)

    def ease(answers: np.ndarray) -> np.ndarray:
        return fill_ease(empty, items, skills, answers, group, train)[..., OWN:]

    before = ease(target)
    assert np.isfinite(before).all()
    test_flipped = target.copy()
    test_flipped[40:] = 1 - test_flipped[40:]
    after = ease(test_flipped)
    np.testing.assert_array_equal(before[:40], after[:40])
    np.testing.assert_array_equal(before[40:, :, :3], after[40:, :, :3])
    for step in range(
        steps
    ):  # the last column looks at the own earlier answers, never at this one or a later one
        one = target.copy()
        one[45, step:] = 1 - one[45, step:]
        np.testing.assert_array_equal(before[45, : step + 1, 3], ease(one)[45, : step + 1, 3])
    own = target.copy()
    own[:2] = 1 - own[:2]  # student 0
    np.testing.assert_array_equal(before[:2, :, :3], ease(own)[:2, :, :3])
    assert not np.array_equal(before[2:40, :, :3], ease(own)[2:40, :, :3])


def assist_files(root: Path, name: str = "assist2009_pid", *, twice: bool = False) -> Path:
    folder = root / name
    folder.mkdir()
    for fold in range(1, 5):
        lines = []
        for k in range(6):
            student = 7 if twice else 100 * fold + k
            problems, skills, right = [5, 5, 6, 7, 7, 7, 8], [1, 2, 1, 3, 3, 3, 2], [1, 1, 0, 1, 1, 1, k % 2]
            lines += [f"7,{student}", *([",".join(map(str, problems))] if name.endswith("_pid") else [])]
            lines += [",".join(map(str, skills)), ",".join(map(str, right)) + ","]
        (folder / f"{name}_fold{fold}.csv").write_text("\n".join(lines) + "\n")
    (folder / "skill.json").write_text(json.dumps({"Addition": 1, "Circle Graphs": 2, "circle area": 3}))
    return folder


def test_assistments_drops_repeated_answers_and_shows_the_previous_answer_only(tmp_path: Path) -> None:
    samples = load_assistments(assist_files(tmp_path), steps=3)
    assert len(samples) == 48  # four answers each, in windows of three
    first, second = samples.inputs[0][0], samples.inputs[0][1]
    assert first[:, 1].tolist() == [5, 6, 7]
    assert first[:, 2].tolist() == [0, 1 + 2 * 1 + 1, 1 + 2 * 1 + 0]
    assert samples.steps[0].tolist() == [-1, 0, 1]
    assert samples.steps[1].tolist() == [0, -1, -1]
    assert samples.valid[1].tolist() == [True, False, False]
    assert second[0, 1] == 8
    text = samples.inputs[2]
    assert len(set(text[0, 2].tolist()) & set(text[1, 0].tolist()) - {0.0}) == 1  # "circle" is in both names
    assert (
        len(load_assistments(tmp_path / "assist2009_pid", drop_repeats=False, steps=100).steps[0].nonzero())
        > 4
    )


def test_the_study_of_answers_takes_the_ease_of_items_from_training_folds(tmp_path: Path) -> None:
    study = STUDIES["assist2009_pid"](assist_files(tmp_path))
    assert study.prepare is not None
    split = study.splits(1)[0]
    flipped = study.samples.steps.clone()
    rows = flipped[split.test]
    flipped[split.test] = torch.where(rows >= 0, 1 - rows, rows)
    assert not torch.equal(flipped, study.samples.steps)
    other = dataclasses.replace(study.samples, steps=flipped)
    a, b = (study.prepare(s, split, 1).inputs[1] for s in (study.samples, other))
    assert torch.equal(a[split.train], b[split.train])
    ease = slice(OWN, OWN + 3)
    assert torch.equal(a[split.test][..., ease], b[split.test][..., ease])


def test_items_without_number_have_no_codes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    modality = ModalityConfig("responses", "sequence", 1, (4, 9, 7))
    x = torch.arange(8.0).view(1, 2, 4)
    one = torch.ones(1, dtype=torch.long)
    here = torch.ones(1, 1, dtype=torch.bool)
    samples = Samples((modality,), (x,), here, here.expand(1, 2), one, one[:, None].expand(1, 2), one, one)
    assert without_items(samples).modalities == samples.modalities
    monkeypatch.setattr(sets, "ITEMS", 8)
    found = without_items(samples)
    assert found.modalities[0].categories == (4, 7)
    assert found.inputs[0].tolist() == [[[0, 1, 3], [4, 5, 7]]]


def test_assistments_without_problems_or_names_has_two_modalities(tmp_path: Path) -> None:
    folder = assist_files(tmp_path, "assist2015")
    (folder / "skill.json").write_text(json.dumps({"70": 1, "71": 2, "72": 3}))
    samples = load_assistments(folder)
    assert [m.name for m in samples.modalities] == ["responses", "practice"]
    assert int((samples.steps >= 0).sum()) == 24 * 6


def test_a_student_in_two_folds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="student 7 is in folds 1 and 2"):
        load_assistments(assist_files(tmp_path, twice=True))


def test_a_list_of_skills_that_is_no_list_is_named(tmp_path: Path) -> None:
    folder = assist_files(tmp_path)
    (folder / "skill.json").write_text('["Addition"]')
    with pytest.raises(TableError, match=r"skill.json.*each skill's name to its number"):
        load_assistments(folder)


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (3, "1,0,2,0,1,1,0", "neither 0 nor 1"),
        (2, "1,2,x,3,3,3,2", "whole number"),
        (3, "1,0", "of one length"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, line: int, text: str, words: str) -> None:
    folder = assist_files(tmp_path)
    path = folder / "assist2009_pid_fold2.csv"
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines))
    with pytest.raises(TableError, match=rf"assist2009_pid_fold2.csv.*{words}"):
        load_assistments(folder)
