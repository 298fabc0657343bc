"""Clicks of OULAD up to each week: from the raw studentVle when it is there, else from the summaries."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..errors import TableError
from .files import find, numbers, open_text, read_columns

Matrix = NDArray[np.float64]
Key = tuple[str, str, str]
SUMMARY = ("total_clicks", "avg_daily_clicks", "std_clicks", "active_days", "interactions")
"""Columns read from clicks_to_week_<w>; those about assessments are made anew with their dates."""


def click_steps(folder: Path, keys: list[Key], weeks: tuple[int, ...]) -> tuple[Matrix, NDArray[np.bool_]]:
    """Logarithms of the summaries, their growth since the step before and ranks in the course (N, T, 15); and
    whose clicks can be told apart.

    Presence must not depend on later clicks, or an early step would know of them: it is told by the summaries
    of the first week asked for alone, which every step may know.
    """
    try:
        raw = find(folder, "studentVle.csv")
    except TableError:
        x, present = _summaries(folder, keys, weeks)
    else:
        x, present = _from_raw(raw, keys, weeks), np.ones(len(keys), dtype=bool)
    logs = np.log1p(x)
    growth = np.diff(logs, axis=1, prepend=0.0)
    return np.concatenate((logs, growth, _ranks(x, keys)), -1), present


def _summaries(folder: Path, keys: list[Key], weeks: tuple[int, ...]) -> tuple[Matrix, NDArray[np.bool_]]:
    """The official-format summaries are keyed by student: several enrolments would share one row, so they
    have none. A student who is not in the first file has clicked nothing by then or is not recorded: absent.
    """
    x = np.zeros((len(keys), len(weeks), len(SUMMARY)))
    enrolments = Counter(student for *_, student in keys)
    row_of = {key[2]: i for i, key in enumerate(keys) if enrolments[key[2]] == 1}
    present = np.zeros(len(keys), dtype=bool)
    for t, week in enumerate(weeks):
        columns = read_columns(folder, f"clicks_to_week_{week}.csv", ("id_student", *SUMMARY))
        values = np.stack([numbers(columns, c) for c in SUMMARY], 1)
        for student, row in zip(columns["id_student"], values, strict=True):
            at = row_of.get(student)
            if at is not None:
                x[at, t] = np.nan_to_num(row)
                present[at] |= t == 0
    return x, present


def _from_raw(path: Path, keys: list[Key], weeks: tuple[int, ...]) -> Matrix:
    """The same five columns from daily rows, 0 without any; streamed, since the file has ten million."""
    row_of = {key: i for i, key in enumerate(keys)}
    x = np.zeros((len(keys), len(weeks), len(SUMMARY)))
    daily: dict[int, dict[int, int]] = {}
    rows_by: Matrix = np.zeros((len(keys), len(weeks)))
    with open_text(path) as stream:
        reader = csv.DictReader(stream)
        for line, row in enumerate(reader, start=2):
            try:
                at = row_of.get((row["code_module"], row["code_presentation"], row["id_student"]))
                day, clicks = int(row["date"]), int(row["sum_click"])
            except (KeyError, TypeError, ValueError) as e:
                raise TableError(f"{path}, line {line}: {e}; take the official studentVle file") from e
            if at is None or day > 7 * weeks[-1]:
                continue
            days = daily.setdefault(at, {})
            days[day] = days.get(day, 0) + clicks
            rows_by[at] += [day <= 7 * week for week in weeks]
    for at, days in daily.items():
        for t, week in enumerate(weeks):
            counts = np.array([n for day, n in days.items() if day <= 7 * week], dtype=np.float64)
            if len(counts):
                spread = float(counts.std(ddof=1)) if len(counts) > 1 else 0.0
                x[at, t] = (counts.sum(), counts.sum() / rows_by[at, t], spread, len(counts), rows_by[at, t])
    return x


def _ranks(x: Matrix, keys: list[Key]) -> Matrix:
    """Rank 0..1 of each column among the enrolments of the same presentation: inputs alone, no outcome."""
    number = np.unique(
        np.array([f"{module}/{presentation}" for module, presentation, _ in keys]), return_inverse=True
    )[1]
    out = np.zeros_like(x)
    for course in range(int(number.max(initial=-1)) + 1):
        rows = np.flatnonzero(number == course)
        out[rows] = stats.rankdata(x[rows], axis=0) / len(rows)
    return out
