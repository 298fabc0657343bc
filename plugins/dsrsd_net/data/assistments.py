"""ASSISTments answers in student-disjoint folds: what a student answered before, and the text of the skill
asked for.

Files hold groups of lines per student: numbers, [problems], skills, answers (sets named *_pid have the
problems line). At each step everything but the answer itself is known before it: the item asked, all earlier
answers. In assist2009 one answer is repeated for every skill of its problem; of consecutive rows with one
problem the first is kept.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..config import ModalityConfig
from ..errors import TableError
from ..samples import Samples
from .files import find, open_text
from .practice import PRACTICE, practice_columns

VOCABULARY = 512
FOLDS = (1, 2, 3, 4)
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """One student's answers in order: item (the skill where no problems are known), skill, 1 = right."""

    student: int
    fold: int
    item: Ints
    skill: Ints
    right: Ints


def read_fold(path: Path, fold: int, *, problems: bool, drop_repeats: bool) -> list[Answers]:
    """The students of one file."""
    with open_text(path) as stream:
        lines = [line.strip() for line in stream if line.strip()]
    height = 4 if problems else 3
    if len(lines) % height:
        raise TableError(
            f"{path}: {len(lines)} lines are no multiple of {height} a student; copy the file again"
        )
    found = []
    for at in range(0, len(lines), height):
        try:
            rows = [
                np.array([int(v) for v in line.split(",") if v], dtype=np.int64)
                for line in lines[at : at + height]
            ]
        except ValueError as e:
            raise TableError(
                f"{path}, student of line {at + 1}: {e}; every field must be a whole number"
            ) from e
        item, skill, right = rows[1], rows[-2], rows[-1]
        if not len(item) == len(skill) == len(right):
            sizes = f"{len(item)}, {len(skill)} and {len(right)}"
            raise TableError(
                f"{path}, student of line {at + 1}: lists of {sizes} values; they must be of one length"
            )
        if right.size and (right.min() < 0 or right.max() > 1):
            raise TableError(f"{path}, student of line {at + 1}: an answer is neither 0 nor 1")
        if drop_repeats and len(item):
            kept = np.concatenate(([True], item[1:] != item[:-1]))
            item, skill, right = item[kept], skill[kept], right[kept]
        student = int(rows[0][1]) if len(rows[0]) > 1 else at
        found.append(Answers(student, fold, item, skill, right))
    return found


def load_assistments(
    folder: Path, *, steps: int = 100, drop_repeats: bool | None = None, limit: int | None = None
) -> Samples:
    """Windows of answers; the step target is whether the item of the step is answered right; domain is the
    fold.

    Args:
        folder: of one set, named as its files are: <set>_fold1.csv[.gz] to fold 4, skill.json.
        steps: answers in a window. Practice columns look back over the student's whole past, the rest
            over the window.
        drop_repeats: drop consecutive rows of one problem; None: for assist2009.
        limit: students a fold, for a quick look.

    """
    name = folder.name
    problems = name.endswith("_pid")
    drop = "2009" in name if drop_repeats is None else drop_repeats
    people: list[Answers] = []
    for fold in FOLDS:
        path = find(folder, f"{name}_fold{fold}.csv")
        people += read_fold(path, fold, problems=problems, drop_repeats=drop)[:limit]
    people = [p for p in people if len(p.right) > 1]
    if not people:
        raise TableError(f"{folder}: no student has two answers; copy the files again")
    _disjoint(people, folder)
    tokens = skill_tokens(folder / "skill.json")
    windows = [(p, k) for p in people for k in range(0, len(p.right), steps)]
    count = len(windows)
    items = 1 + max(int(p.item.max()) for p in people)
    skills = 1 + max(int(p.skill.max()) for p in people)
    responses = np.zeros((count, steps, 3), dtype=np.float32)
    practice = np.zeros((count, steps, len(PRACTICE) + 2), dtype=np.float32)
    text = np.zeros((count, steps, tokens.shape[1] if tokens is not None else 1), dtype=np.float32)
    target = np.full((count, steps), -1, dtype=np.int64)
    valid = np.zeros((count, steps), dtype=bool)
    ready: dict[int, NDArray[np.float32]] = {}
    for row, (person, begin) in enumerate(windows):
        if begin == 0:
            ready = {id(person): practice_columns(person.item, person.skill, person.right)}
        part = slice(begin, begin + steps)
        item, skill, right = person.item[part], person.skill[part], person.right[part]
        size = len(item)
        valid[row, :size] = True
        target[row, :size] = right
        if begin == 0:
            target[row, 0] = -1  # nothing is known before a student's first answer
        responses[row, :size, 0] = skill
        responses[row, :size, 1] = item
        responses[row, 1:size, 2] = 1 + 2 * skill[:-1] + right[:-1]
        practice[row, :size, : len(PRACTICE)] = ready[id(person)][part]
        practice[row, :size, -2] = skill
        practice[row, :size, -1] = item
        if tokens is not None:
            text[row, :size] = tokens[np.minimum(skill, len(tokens) - 1)]
    modalities = [
        ModalityConfig("responses", "sequence", 0, (skills, items, 2 * skills + 1)),
        ModalityConfig("practice", "vector", len(PRACTICE), (skills, items), per_step=True),
    ]
    inputs = [torch.from_numpy(responses), torch.from_numpy(practice)]
    if tokens is not None:
        modalities.append(ModalityConfig("skill_text", "text", vocabulary=VOCABULARY, per_step=True))
        inputs.append(torch.from_numpy(text))
    number = {id(p): i for i, p in enumerate(people)}
    return Samples(
        modalities=tuple(modalities),
        inputs=tuple(inputs),
        present=torch.ones(count, len(inputs), dtype=torch.bool),
        valid=torch.from_numpy(valid),
        outcome=torch.full((count,), -1),
        steps=torch.from_numpy(target),
        group=torch.tensor([number[id(p)] for p, _ in windows]),
        domain=torch.tensor([p.fold for p, _ in windows]),
        domains=tuple(str(f) for f in range(max(FOLDS) + 1)),
    )


def _disjoint(people: list[Answers], folder: Path) -> None:
    """The folds must not share students."""
    fold_of: dict[int, int] = {}
    for person in people:
        if fold_of.setdefault(person.student, person.fold) != person.fold:
            raise TableError(
                f"{folder}: student {person.student} is in folds {fold_of[person.student]} and "
                f"{person.fold}; "
                f"split the set by student"
            )


def skill_tokens(path: Path) -> NDArray[np.float32] | None:
    """Hashed words of each skill's name (skills, L), 0 = none; None when names are numbers alone."""
    if not path.is_file():
        return None
    try:
        names = {str(k): int(v) for k, v in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as e:
        raise TableError(f"{path}: {e}; it maps each skill's name to its number") from e
    if not any(re.search("[a-zA-Z]", name) for name in names):
        return None
    words = {number: _words(name) for name, number in names.items()}
    out = np.zeros((max(words) + 1, max(len(w) for w in words.values())), dtype=np.float32)
    for number, found in words.items():
        out[number, : len(found)] = [1 + zlib.crc32(w.encode()) % (VOCABULARY - 1) for w in found]
    return out


def _words(name: str) -> list[str]:
    """Words of a name in lower case, a plural s apart."""
    return [w.rstrip("s") or w for w in re.findall("[a-z0-9]+", name.lower())]
