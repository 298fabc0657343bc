"""Open University Learning Analytics (Kuzilek et al. 2017): attributes, clicks, assessments at weeks 2, 4, 6
and 8.

A sample is an enrolment; a step is a cut-off day. Everything at a step was known on that day:

- Submissions count from the day they were made, with their score; banked ones (transferred) from the start.
- Later submissions and exams are never seen. `date_unregistration` is no input; it only says whose outcome
  was still open (`still_registered`).
- Click summaries are keyed by student alone, so those of a student with several enrolments may hold another
  presentation's clicks: they are left out, the modality is absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from ..config import ModalityConfig
from ..errors import TableError
from ..samples import Samples
from .files import Columns, find, numbers, read_columns
from .oulad_clicks import click_steps

Matrix = NDArray[np.float64]
PASS_MARK = 40.0
CODES = ("code_module", "gender", "region", "highest_education", "imd_band", "age_band", "disability")
PROFILE = ("log_previous_attempts", "studied_credits", "registered_on_day", "starts_in_october")


@dataclass(frozen=True)
class Enrolments:
    """Rows of studentInfo and the key of each: (module, presentation, student)."""

    columns: Columns
    keys: list[tuple[str, str, str]]

    @property
    def row_of(self) -> dict[tuple[str, str, str], int]:
        """Row number by key."""
        return {key: i for i, key in enumerate(self.keys)}

    @property
    def courses(self) -> list[tuple[str, str]]:
        """(module, presentation) of each row."""
        return [key[:2] for key in self.keys]


def load_oulad(folder: Path, weeks: tuple[int, ...] = (2, 4, 6, 8)) -> Samples:
    """Enrolments with outcome 1 = Fail or Withdrawn, and at each cut-off whether the next assessment will be
    passed.

    Args:
        folder: holds the official files, plain or gzip; studentVle when it is there, else clicks_to_week_<w>.
        weeks: cut-offs, each a step; the last one is the outcome's.

    """
    if not weeks or list(weeks) != sorted(set(weeks)) or weeks[0] < 1:
        raise TableError(f"weeks are {weeks}; give growing numbers from 1 on")
    needed = (
        "code_presentation",
        "id_student",
        "num_of_prev_attempts",
        "studied_credits",
        "final_result",
        *CODES,
    )
    info = read_columns(folder, "studentInfo.csv", needed)
    keys = list(zip(info["code_module"], info["code_presentation"], info["id_student"], strict=True))
    if len(set(keys)) < len(keys):
        raise TableError(
            f"{find(folder, 'studentInfo.csv')}: an enrolment is listed twice; keep one row each"
        )
    rolls = Enrolments(info, keys)
    days = [7 * week for week in weeks]
    work, following = assessment_steps(folder, rolls, days)
    clicks, told_apart = click_steps(folder, rolls.keys, weeks)
    modules = [course[0] for course in rolls.courses]
    module = _code(modules)[:, None, None].repeat(len(days), 1)
    blocks = [_profile(folder, rolls), *(np.concatenate((x, module), -1) for x in (clicks, work))]
    size = int(module.max()) + 1
    known = ("Pass", "Distinction", "Fail", "Withdrawn")
    odd = set(info["final_result"]) - set(known)
    if odd:
        raise TableError(
            f"{find(folder, 'studentInfo.csv')}: final_result {sorted(odd)[0]!r}; use {', '.join(known)}"
        )
    presentations = sorted(set(info["code_presentation"]))
    students = np.unique(np.array(info["id_student"]), return_inverse=True)[1]
    rows = len(keys)
    profile_codes = tuple(int(blocks[0][:, len(PROFILE) + c].max()) + 1 for c in range(len(CODES)))
    return Samples(
        modalities=(
            ModalityConfig("attributes", "vector", len(PROFILE), profile_codes),
            ModalityConfig("clicks", "sequence", clicks.shape[2], (size,)),
            ModalityConfig("assessments", "sequence", work.shape[2], (size,)),
        ),
        inputs=tuple(torch.from_numpy(b.astype(np.float32)) for b in blocks),
        present=torch.from_numpy(np.stack((np.ones(rows, bool), told_apart, np.ones(rows, bool)), 1)),
        valid=torch.ones(rows, len(days), dtype=torch.bool),
        outcome=torch.tensor([int(r in ("Fail", "Withdrawn")) for r in info["final_result"]]),
        steps=torch.from_numpy(following),
        group=torch.from_numpy(students),
        domain=torch.tensor([presentations.index(p) for p in info["code_presentation"]]),
        names=tuple("/".join(key) for key in keys),
        outcomes=("passed", "failed or withdrew"),
        domains=tuple(presentations),
    )


def still_registered(folder: Path, samples: Samples, day: int) -> NDArray[np.bool_]:
    """Which enrolments had not unregistered by a day: those whose outcome was still open. Never an input."""
    columns = ("code_module", "code_presentation", "id_student", "date_unregistration")
    rows = read_columns(folder, "studentRegistration.csv", columns)
    keys = zip(rows["code_module"], rows["code_presentation"], rows["id_student"], strict=True)
    left = numbers(rows, "date_unregistration")
    gone = {"/".join(key) for key, when in zip(keys, left, strict=True) if when <= day}
    return np.array([name not in gone for name in samples.names])


def _code(values: list[str]) -> NDArray[np.int64]:
    """Numbers from 1 on in alphabetical order; 0 is kept for unknown."""
    names = sorted(set(values) - {"", "?"})
    number = {name: i + 1 for i, name in enumerate(names)}
    return np.array([number.get(v, 0) for v in values], dtype=np.int64)


def _profile(folder: Path, rolls: Enrolments) -> Matrix:
    """Attributes known at registration."""
    registered = read_columns(
        folder,
        "studentRegistration.csv",
        ("code_module", "code_presentation", "id_student", "date_registration"),
    )
    day = np.full(len(rolls.keys), np.nan)
    row_of = rolls.row_of
    at = zip(
        registered["code_module"], registered["code_presentation"], registered["id_student"], strict=True
    )
    for key, when in zip(at, numbers(registered, "date_registration"), strict=True):
        if key in row_of:
            day[row_of[key]] = when
    info = rolls.columns
    numeric = [
        np.log1p(numbers(info, "num_of_prev_attempts")),
        np.log(numbers(info, "studied_credits").clip(1)),
        np.sign(day) * np.log1p(np.abs(day)),
        np.array([float(p.endswith("J")) for p in info["code_presentation"]]),
    ]
    return np.stack([*numeric, *(_code(info[c]).astype(np.float64) for c in CODES)], 1)


WORK = (
    "due", "submitted", "share_submitted", "weight_due", "weighted_score", "mean_score", "least_score",
    "last_score",
    "days_early_mean", "days_early_last", "late", "missed_last", "ahead", "banked", "rank_of_score",
    "days_to_next",
    "passed", "cma_mean", "tma_mean", "trend",
)  # fmt: skip


def assessment_steps(folder: Path, rolls: Enrolments, days: list[int]) -> tuple[Matrix, NDArray[np.int64]]:
    """What each enrolment had handed in by each day (N, T, len(WORK)), and whether it passes the next one
    (N, T).

    The next assessment is the first one, exams apart, due after the day; a pass is a score of 40 or more on a
    submission made after the day. -1 where none follows or it had been handed in before.
    """
    sheet = read_columns(
        folder, "assessments.csv",
        ("code_module", "code_presentation", "id_assessment", "assessment_type", "date", "weight"),
    )  # fmt: skip
    hand_in = read_columns(
        folder,
        "studentAssessment.csv",
        ("id_assessment", "id_student", "date_submitted", "is_banked", "score"),
    )
    due, weight = numbers(sheet, "date"), numbers(sheet, "weight")
    place = {a: i for i, a in enumerate(sheet["id_assessment"])}
    courses = list(zip(sheet["code_module"], sheet["code_presentation"], strict=True))
    row_of = rolls.row_of
    made: list[dict[int, tuple[float, float, bool]]] = [{} for _ in rolls.keys]
    values = zip(
        hand_in["id_assessment"], hand_in["id_student"], numbers(hand_in, "date_submitted"),
        hand_in["is_banked"], numbers(hand_in, "score"), strict=True,
    )  # fmt: skip
    for assessment, student, day, banked, mark in values:
        at = place.get(assessment)
        row = None if at is None else row_of.get((*courses[at], student))
        if at is not None and row is not None:
            made[row][at] = (day, mark, banked in ("True", "1"))
    plan: dict[tuple[str, str], list[int]] = {}
    for i, course in enumerate(courses):
        if sheet["assessment_type"][i] != "Exam" and np.isfinite(due[i]):
            plan.setdefault(course, []).append(i)
    for listed in plan.values():
        listed.sort(key=lambda i: due[i])
    tutor = [kind == "TMA" for kind in sheet["assessment_type"]]
    out = np.full((len(rolls.keys), len(days), len(WORK)), np.nan)
    following = np.full((len(rolls.keys), len(days)), -1, dtype=np.int64)
    for row, course in enumerate(rolls.courses):
        for t, day in enumerate(days):
            plans = plan.get(course, [])
            out[row, t] = _work_by(day, plans, made[row], due, weight, tutor)
            later = [i for i in plans if due[i] > day]
            if (
                later
                and later[0] in made[row]
                and not (made[row][later[0]][0] <= day or made[row][later[0]][2])
            ):
                following[row, t] = int(made[row][later[0]][1] >= PASS_MARK)
            elif later and later[0] not in made[row]:
                following[row, t] = 0
    _rank_in_course(out, WORK.index("weighted_score"), WORK.index("rank_of_score"), rolls.courses)
    return out, following


def _work_by(
    day: int,
    plans: list[int],
    made: dict[int, tuple[float, float, bool]],
    due: Matrix,
    weight: Matrix,
    tutor: list[bool],
) -> list[float]:
    """The columns WORK of one enrolment on one day."""
    past = [i for i in plans if due[i] <= day]
    seen = {i: m for i, m in made.items() if m[2] or m[0] <= day}
    own = [i for i in seen if not seen[i][2] and np.isfinite(due[i])]
    own.sort(key=lambda i: seen[i][0])
    marks = [seen[i][1] for i in own if np.isfinite(seen[i][1])]
    early = [due[i] - seen[i][0] for i in own]
    handed = [i for i in past if i in seen]
    total = sum(weight[i] for i in past)
    score = sum(weight[i] * np.nan_to_num(seen[i][1]) for i in handed)
    nan = float("nan")
    of = {kind: [seen[i][1] for i in own if tutor[i] == kind] for kind in (True, False)}
    return [
        len(past), len(own), len(handed) / len(past) if past else nan, total, score / total if total else nan,
        float(np.mean(marks)) if marks else nan, min(marks, default=nan), marks[-1] if marks else nan,
        float(np.mean(early)) if early else nan, early[-1] if early else nan,
        float(sum(e < 0 for e in early)),
        float(past[-1] not in seen) if past else nan, float(sum(due[i] > day for i in own)),
        float(sum(m[2] for m in seen.values())), nan,
        min((due[i] - day for i in plans if due[i] > day), default=nan),
        float(sum(m >= PASS_MARK for m in marks)),
        float(np.mean(of[False])) if of[False] else nan, float(np.mean(of[True])) if of[True] else nan,
        marks[-1] - marks[0] if len(marks) > 1 else nan,
    ]  # fmt: skip


def _rank_in_course(x: Matrix, source: int, target: int, courses: list[tuple[str, str]]) -> None:
    """Rank 0..1 among the enrolments of the same presentation on the same day: inputs alone, no outcome."""
    number = np.unique(np.array(["/".join(c) for c in courses]), return_inverse=True)[1]
    for course in range(int(number.max()) + 1):
        rows = np.flatnonzero(number == course)
        for t in range(x.shape[1]):
            known = rows[np.isfinite(x[rows, t, source])]
            if len(known):
                x[known, t, target] = stats.rankdata(x[known, t, source]) / len(known)
