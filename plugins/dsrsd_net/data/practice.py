"""Columns of practice: what a student did before each answer, on the item, on the skill and overall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

PRACTICE = (
    "answers", "share_right", "recent_right", "latest_right", "last", "last_2", "last_3", "streak",
    "skill_answers", "skill_right", "skill_wrong", "skill_share", "skill_recent", "skill_last", "skill_gap",
    "item_answers", "item_share", "item_last", "item_gap", "skill_run", "new_skill",
    "item_ease", "skill_ease", "item_known", "ahead_of_peers",
)  # fmt: skip
"""The last four depend on other students; :func:`fill_ease` writes them from training students alone."""
OWN = len(PRACTICE) - 4


def practice_columns(item: Ints, skill: Ints, right: Ints) -> NDArray[np.float32]:
    """(T, len(PRACTICE)): row t uses the answers before t and the item asked at t; the last four are NaN."""
    out = np.full((len(right), len(PRACTICE)), np.nan, dtype=np.float32)
    total = good = run = 0
    recent = latest = 0.65
    past = [0.5, 0.5, 0.5]
    streak = 0.0
    of_skill: dict[int, list[float]] = {}
    of_item: dict[int, list[float]] = {}
    before = -1
    for t, (i, s, r) in enumerate(zip(item.tolist(), skill.tolist(), right.tolist(), strict=True)):
        # answers, right ones, moving average, last answer, when
        a = of_skill.setdefault(s, [0.0, 0.0, 0.65, 0.5, -1.0])
        b = of_item.setdefault(i, [0.0, 0.0, 0.65, 0.5, -1.0])
        run = run + 1 if s == before else 0
        out[t, :OWN] = (
            np.log1p(total), (good + 1.3) / (total + 2), recent, latest, *past, streak,
            np.log1p(a[0]), np.log1p(a[1]), np.log1p(a[0] - a[1]), (a[1] + 1.3) / (a[0] + 2), a[2], a[3],
            np.log1p(t - a[4]) if a[4] >= 0 else 8.0, np.log1p(b[0]), (b[1] + 1.3) / (b[0] + 2), b[3],
            np.log1p(t - b[4]) if b[4] >= 0 else 8.0, np.log1p(run), float(a[0] == 0),
        )  # fmt: skip
        total, good = total + 1, good + r
        recent, latest = 0.9 * recent + 0.1 * r, 0.7 * latest + 0.3 * r
        past = [float(r), past[0], past[1]]
        streak = (
            streak + 1
            if r and streak >= 0
            else (streak - 1 if not r and streak <= 0 else (1.0 if r else -1.0))
        )
        streak = float(np.clip(streak, -6, 6))
        for one in (a, b):
            one[0], one[1], one[2], one[3], one[4] = (
                one[0] + 1,
                one[1] + r,
                0.75 * one[2] + 0.25 * r,
                float(r),
                float(t),
            )
        before = s
    return out


def fill_ease(
    practice: NDArray[np.float32],
    items: Ints,
    skills: Ints,
    target: Ints,
    group: Ints,
    train: Ints,
    *,
    parts: int = 10,
    seed: int = 0,
) -> NDArray[np.float32]:
    """A copy with the columns about other students: shares of right answers on item and skill, smoothed.

    Taken from the windows `train` alone; a training student's own windows see the shares of the other parts
    of the training students, so that no answer is in its own column.

    Args:
        practice: (N, T, len(PRACTICE) + any).
        items: (N, T) item asked.
        skills: (N, T) its skill.
        target: (N, T) answers; -1 does not count.
        group: (N,) student.
        train: indices of the training windows.
        parts: cross-fitting parts of training students.
        seed: of the parts.

    """
    out = practice.copy()
    people = np.unique(group[train])
    part_of = dict(
        zip(people.tolist(), np.random.default_rng(seed).integers(0, parts, len(people)), strict=True)
    )
    part = np.array([part_of.get(g, -1) for g in group.tolist()])
    training = np.zeros(len(group), dtype=bool)
    training[train] = True
    part[~training] = -1
    for p in (-1, *range(parts)):
        rows = np.flatnonzero(part == p)
        source = np.flatnonzero(training & (part != p))
        if len(rows) and len(source):
            _write_ease(out, rows, items, skills, target, source)
    return out


def _write_ease(
    out: NDArray[np.float32], rows: Ints, items: Ints, skills: Ints, target: Ints, source: Ints
) -> None:
    known = target[source] >= 0
    right = target[source][known].astype(np.float64)
    overall = float(right.mean()) if len(right) else 0.5

    def shares(
        codes: Ints, prior: NDArray[np.float64] | float, weight: float
    ) -> tuple[NDArray[np.float64], Ints]:
        size = int(codes.max()) + 1
        seen = codes[source][known]
        seen_count: Ints = np.bincount(seen, minlength=size)
        return (np.bincount(seen, right, minlength=size) + weight * prior) / (seen_count + weight), seen_count

    of_skill, _ = shares(skills, overall, 20.0)
    # An item's prior is its skill's share.
    skill_of = np.zeros(int(items.max()) + 1, dtype=np.int64)
    skill_of[items.ravel()] = skills.ravel()
    of_item, count = shares(items, of_skill[skill_of], 8.0)
    at = OWN
    out[rows, :, at] = _logit(of_item[items[rows]])
    out[rows, :, at + 1] = _logit(of_skill[skills[rows]])
    out[rows, :, at + 2] = np.log1p(count[items[rows]])
    # How much better than their peers the student did so far on average: the past answers' ease is taken off.
    out[rows, :, at + 3] = _ahead(of_item[items[rows]], target[rows])


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(p / (1 - p))


def _ahead(ease: NDArray[np.float64], target: Ints) -> NDArray[np.float64]:
    """Mean of (answer - ease) over the earlier steps of the window, shrunk."""
    off = np.where(target >= 0, target - ease, 0.0)
    count: Ints = np.cumsum(target >= 0, 1) - (target >= 0)
    mean: NDArray[np.float64] = (np.cumsum(off, 1) - off) / (count + 5.0)
    return mean
