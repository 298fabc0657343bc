"""OULAD on small files in its format: what was not known yet has no effect."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spinecore.plugins.dsrsd_net.data.oulad import WORK, load_oulad, still_registered
from spinecore.plugins.dsrsd_net.errors import TableError
from spinecore.plugins.dsrsd_net.samples import Samples
from spinecore.plugins.dsrsd_net.study.methods import method_names, run_method
from spinecore.plugins.dsrsd_net.study.protocol import Split, check_split, figures
from spinecore.plugins.dsrsd_net.study.sets import STUDIES
from spinecore.plugins.dsrsd_net.training import FitOptions

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


def test_one_modality_of_oulad_says_whether_the_next_assessment_is_passed(tmp_path: Path) -> None:
    """Attributes do not change with the step, and are asked at each all the same."""
    study = STUDIES["oulad_time"](oulad_files(tmp_path))
    study = replace(study, options=FitOptions(epochs=1, batch=16))
    (split,) = study.splits(1)
    test = study.samples.take(split.test)
    methods = ["alone: attributes", "boosting: attributes", "alone: clicks"]
    assert set(methods) <= set(method_names(study))
    for method in methods:
        found = figures(test, run_method(study, method, split, 1))
        assert {"next AUC", "AUC"} <= set(found), method


@pytest.mark.parametrize(
    ("name", "column"), [("studentInfo.csv.gz", "studied_credits"), ("assessments.csv", "weight")]
)
def test_a_field_that_is_no_number_is_named(tmp_path: Path, name: str, column: str) -> None:
    path = oulad_files(tmp_path) / name
    text = (gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()).decode()
    head, first, *rest = text.splitlines()
    fields = first.split(",")
    fields[head.split(",").index(column)] = "many"
    changed = "\n".join([head, ",".join(fields), *rest]) + "\n"
    path.write_bytes(gzip.compress(changed.encode()) if name.endswith(".gz") else changed.encode())
    with pytest.raises(TableError, match=rf"{name}, line 2: {column} is 'many'"):
        load_oulad(tmp_path)


def test_one_presentation_has_no_test_out_of_time(tmp_path: Path) -> None:
    folder = oulad_files(tmp_path)
    info = gzip.decompress((folder / "studentInfo.csv.gz").read_bytes()).decode().splitlines()
    (folder / "studentInfo.csv.gz").write_bytes(gzip.compress("\n".join(info[:25]).encode()))
    with pytest.raises(TableError, match=r"presentation 2013J alone"):
        STUDIES["oulad_time"](folder).splits(1)


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
