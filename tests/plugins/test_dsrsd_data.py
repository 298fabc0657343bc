"""Readers of the known sets, on small files in their formats: what was not known yet has no effect."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinecore.plugins.dsrsd_net.config import ModalityConfig
from spinecore.plugins.dsrsd_net.data.assistments import load_assistments
from spinecore.plugins.dsrsd_net.data.digits import load_digits
from spinecore.plugins.dsrsd_net.data.gait import load_gait
from spinecore.plugins.dsrsd_net.data.oulad import WORK, load_oulad, still_registered
from spinecore.plugins.dsrsd_net.data.practice import OWN, PRACTICE, fill_ease, practice_columns
from spinecore.plugins.dsrsd_net.errors import TableError
from spinecore.plugins.dsrsd_net.samples import Samples
from spinecore.plugins.dsrsd_net.study import sets
from spinecore.plugins.dsrsd_net.study.protocol import Split, check_split
from spinecore.plugins.dsrsd_net.study.sets import STUDIES, without_items

Rows = list[list[object]]
COURSES = (("AAA", "2013J"), ("AAA", "2014B"))
DUE = (19, 54, 90, 120)


def write(path: Path, header: str, rows: Rows, *, packed: bool = False) -> None:
    with gzip.open(f"{path}.gz", "wt", newline="") if packed else path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header.split(","), *rows])


def oulad_files(folder: Path, *, people: int = 24, raw: bool = False) -> Path:
    """Two presentations; student 0 is enrolled in both; hand-ins before and after the cut-off."""
    rng = np.random.default_rng(0)
    info: Rows = []
    registration: Rows = []
    hand_in: Rows = []
    clicks: Rows = []
    for c, (module, presentation) in enumerate(COURSES):
        for i in range(people):
            student = 0 if i == 0 else 100 * (c + 1) + i
            result = ("Pass", "Fail", "Withdrawn", "Distinction")[i % 4]
            info.append(
                [
                    module,
                    presentation,
                    student,
                    "MF"[i % 2],
                    "Wales",
                    "A Level",
                    "10-20%",
                    "0-35",
                    0,
                    60,
                    "N",
                    result,
                ]
            )
            gone = 40 if result == "Withdrawn" else ""
            registration.append([module, presentation, student, -30 - i, gone])
            for a, due in enumerate(DUE):
                if not (result == "Withdrawn" and due > 40):
                    hand_in.append([10 * c + a, student, due - 1 - i % 3, 0, int(rng.integers(20, 100))])
            for day in range(-5, 80, 3 + i % 5):
                clicks.append([module, presentation, student, 7, day, 1 + i % 6])
    assessments: Rows = [
        [m, p, 10 * c + a, "TMA", due, 25] for c, (m, p) in enumerate(COURSES) for a, due in enumerate(DUE)
    ]
    head = "code_module,code_presentation,id_student"
    write(
        folder / "studentInfo.csv",
        f"{head},gender,region,highest_education,imd_band,age_band,num_of_prev_attempts,studied_credits,disability,final_result",
        info,
        packed=True,
    )
    write(folder / "studentRegistration.csv", f"{head},date_registration,date_unregistration", registration)
    write(
        folder / "assessments.csv",
        "code_module,code_presentation,id_assessment,assessment_type,date,weight",
        assessments,
    )
    write(
        folder / "studentAssessment.csv", "id_assessment,id_student,date_submitted,is_banked,score", hand_in
    )
    if raw:
        write(folder / "studentVle.csv", f"{head},id_site,date,sum_click", clicks)
    for week in (2, 4, 6, 8):
        known = [r for r in clicks if int(str(r[4])) <= 7 * week]
        rows: Rows = []
        for student in sorted({str(r[2]) for r in known}):
            counts = [float(str(r[5])) for r in known if str(r[2]) == student]
            spread = float(np.std(counts, ddof=1)) if len(counts) > 1 else 0.0
            rows.append(
                [
                    student,
                    sum(counts),
                    np.mean(counts),
                    spread,
                    len(counts),
                    len(counts),
                    99,
                    99,
                    9,
                    week,
                    7 * week,
                ]
            )
        write(
            folder / f"clicks_to_week_{week}.csv",
            "id_student,total_clicks,avg_daily_clicks,std_clicks,active_days,interactions,"
            "assess_mean,assess_max,assess_count,Week,Days",
            rows,
        )
    return folder


def edit(path: Path, change: Callable[[dict[str, str]], None]) -> None:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        change(row)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def same_inputs(a: Samples, b: Samples) -> bool:
    pairs = zip((*a.inputs, a.present), (*b.inputs, b.present), strict=True)
    return all(
        torch.equal(torch.nan_to_num(x.double(), nan=-9), torch.nan_to_num(y.double(), nan=-9))
        for x, y in pairs
    )


def test_oulad_has_its_outcome_presence_and_next_assessment(tmp_path: Path) -> None:
    samples = load_oulad(oulad_files(tmp_path))
    assert len(samples) == 48
    assert samples.outcome[:4].tolist() == [0, 1, 1, 0]
    assert samples.valid.shape == (48, 4)
    # Clicks of a student with two enrolments may be of either: absent.
    assert samples.present[:, 1].tolist() == [i % 24 != 0 for i in range(48)]
    work = dict(zip(WORK, samples.inputs[2][1, -1].tolist(), strict=False))
    assert (work["due"], work["submitted"], work["share_submitted"]) == (2, 2, 1)
    withdrawn = dict(zip(WORK, samples.inputs[2][2, -1].tolist(), strict=False))
    assert (withdrawn["submitted"], withdrawn["missed_last"]) == (1, 1)
    assert samples.steps[2].tolist()[1:] == [0, 0, 0]  # what was never handed in is not passed


@pytest.mark.parametrize("raw", [False, True])
def test_what_came_after_the_cut_off_has_no_effect(tmp_path: Path, raw: bool) -> None:
    folder = oulad_files(tmp_path, raw=raw)
    before = load_oulad(folder)

    def later_marks(row: dict[str, str]) -> None:
        if int(row["date_submitted"]) > 56:
            row["score"], row["date_submitted"] = "1", "200"

    edit(folder / "studentAssessment.csv", later_marks)
    edit(folder / "studentRegistration.csv", lambda row: row.update(date_unregistration="3"))
    for week in (2, 4, 6, 8):
        edit(folder / f"clicks_to_week_{week}.csv", lambda row: row.update(assess_mean="0", assess_count="0"))
    if raw:
        edit(
            folder / "studentVle.csv",
            lambda row: row.update(sum_click="999") if int(row["date"]) > 56 else None,
        )
    after = load_oulad(folder)
    assert same_inputs(before, after)
    assert not torch.equal(before.steps, after.steps)  # the change was seen where it belongs: in the target


def test_each_step_knows_its_own_day_alone(tmp_path: Path) -> None:
    folder = oulad_files(tmp_path)
    before = load_oulad(folder)

    def at_day_50(row: dict[str, str]) -> None:
        if 42 < int(row["date_submitted"]) <= 56:
            row["score"] = "1"

    edit(folder / "studentAssessment.csv", at_day_50)
    after = load_oulad(folder)
    assert torch.equal(torch.nan_to_num(before.inputs[2][:, :3]), torch.nan_to_num(after.inputs[2][:, :3]))
    assert not torch.equal(torch.nan_to_num(before.inputs[2][:, 3]), torch.nan_to_num(after.inputs[2][:, 3]))


@pytest.mark.parametrize("raw", [False, True])
def test_an_early_step_does_not_know_who_clicks_later(tmp_path: Path, raw: bool) -> None:
    folder = oulad_files(tmp_path, raw=raw)
    late, never = "101", "102"

    def only(week: int) -> None:
        path = folder / f"clicks_to_week_{week}.csv"
        head, *rows = path.read_text().splitlines()
        gone = (never, late) if week < 6 else (never,)
        path.write_text("\n".join([head, *(r for r in rows if r.split(",")[0] not in gone)]) + "\n")

    for week in (2, 4, 6, 8):
        only(week)
    if raw:
        head, *rows = (folder / "studentVle.csv").read_text().splitlines()
        fields = [r.split(",") for r in rows]
        rows = [",".join(f) for f in fields if f[2] != never and not (f[2] == late and int(f[4]) <= 28)]
        (folder / "studentVle.csv").write_text("\n".join([head, *rows]) + "\n")
    samples = load_oulad(folder)
    place = {name.split("/")[2]: i for i, name in enumerate(samples.names)}
    a, b = place[late], place[never]
    assert samples.present[a, 1] == samples.present[b, 1]
    x = torch.nan_to_num(samples.inputs[1], nan=-9)
    assert torch.equal(x[a, :2], x[b, :2])
    assert not torch.equal(x[a, 2:], x[b, 2:])


def test_who_has_left_is_judged_apart_and_not_shown(tmp_path: Path) -> None:
    folder = oulad_files(tmp_path)
    samples = load_oulad(folder)
    assert still_registered(folder, samples, 56).tolist() == [i % 4 != 2 for i in range(48)]
    assert still_registered(folder, samples, 39).all()


def test_raw_clicks_are_by_enrolment_so_nobody_is_left_out(tmp_path: Path) -> None:
    samples = load_oulad(oulad_files(tmp_path, raw=True))
    assert samples.present[:, 1].all()
    assert samples.inputs[1][1, 0, 0] == pytest.approx(
        np.log1p(2 * len(range(-5, 15, 4)))
    )  # clicks to day 14


def test_out_of_time_trains_on_no_student_of_the_test(tmp_path: Path) -> None:
    study = STUDIES["oulad_time"](oulad_files(tmp_path))
    (split,) = study.splits(1)
    check_split(study.samples, split)
    assert set(study.samples.domain[split.test].tolist()) == {1}
    assert set(study.samples.domain[split.train].tolist()) == {0}
    with pytest.raises(ValueError, match="training and test"):
        check_split(
            study.samples, Split(np.array([0]), np.array([1]), np.array([24]))
        )  # student 0, enrolled twice


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


def test_missing_files_say_which_folder_is_meant(tmp_path: Path) -> None:
    for load in (load_oulad, load_digits, load_gait):
        with pytest.raises(TableError, match=r"no such file.*give the folder"):
            load(tmp_path)


@pytest.mark.parametrize("header", ["", "a,b,c,class\n", "0,1,2,0\n"])
def test_a_header_of_names_or_numbers_is_no_numeral(tmp_path: Path, header: str) -> None:
    for view in ("fou", "zer"):
        (tmp_path / f"mfeat-{view}.csv").write_text(header + "0.5,1,2,0\n0,1,3,4\n")
    samples = load_digits(tmp_path, ("fou", "zer"))
    assert samples.inputs[0].tolist() == [[0.5, 1, 2], [0, 1, 3]]
    assert samples.outcomes == ("0", "4")


def test_views_that_do_not_pair_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mfeat-fou.csv").write_text("0.5,1,0\n0.1,3,4\n")
    (tmp_path / "mfeat-zer.csv").write_text("0.5,1,4\n0.1,3,0\n")
    with pytest.raises(TableError, match=r"mfeat-zer.csv: rows do not pair"):
        load_digits(tmp_path, ("fou", "zer"))


def real(name: str) -> Path:
    folder = Path(os.environ.get("SPINECORE_DATA", "")) / name
    if not os.environ.get("SPINECORE_DATA") or not folder.is_dir():
        pytest.skip(f"SPINECORE_DATA names no folder that holds the set {name}")
    return folder


def test_the_real_sets_have_the_counts_of_their_papers() -> None:
    digits = load_digits(real("mfeat"))
    assert [x.shape for x in digits.inputs] == [(2000, 76), (2000, 47), (2000, 6)]
    gait = load_gait(real("gait_grf"))
    assert (len(gait), len(gait.group.unique()), len(gait.outcomes)) == (775, 155, 4)
    oulad = load_oulad(real("oulad"))
    assert len(oulad) == 21_333
    repeated = real("knowledge_tracing") / "assist2009_pid"
    kept = load_assistments(repeated, limit=200)
    every = load_assistments(repeated, limit=200, drop_repeats=False)
    assert 0.05 < 1 - int((kept.steps >= 0).sum()) / int((every.steps >= 0).sum()) < 0.35
