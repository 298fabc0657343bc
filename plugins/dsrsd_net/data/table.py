"""Any table: one CSV, read as its description says."""

from __future__ import annotations

import csv
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..config import ModalityConfig
from ..errors import TableError
from ..samples import Samples
from .description import Column, Description
from .files import open_text

VOCABULARY = 2048
WORDS = 64


def load_table(path: Path, what: Description) -> tuple[Samples, Description]:
    """Samples of a CSV, and the description with the names behind its codes.

    A numeric field that is empty is missing; a modality all of whose fields are empty is absent from the
    sample. A category that training did not know is code 0. With `names` and `classes` given (prediction)
    they are kept.
    """
    table = _Table(path, what)
    what = table.names()
    rows = table.rows_of_samples()
    steps = (
        max(len(r) for r in rows)
        if any(c.kind == "sequence" or c.per_step for c in what.modalities.values())
        else 1
    )
    inputs, configs, present = [], [], []
    for name, column in what.modalities.items():
        values, config, here = table.modality(name, column, rows, steps)
        inputs.append(torch.from_numpy(values))
        configs.append(config)
        present.append(here)
    valid = np.zeros((len(rows), steps), dtype=bool)
    for i, r in enumerate(rows):
        valid[i, : min(len(r), steps)] = True
    first = [r[0] for r in rows]
    people = [table.field(what.person or what.id, i) if what.person or what.id else str(i) for i in first]
    samples = Samples(
        modalities=tuple(configs),
        inputs=tuple(inputs),
        present=torch.from_numpy(np.stack(present, 1)),
        valid=torch.from_numpy(valid),
        outcome=torch.from_numpy(table.outcome(rows)),
        steps=torch.from_numpy(table.following(rows, steps)),
        group=torch.from_numpy(np.unique(np.array(people), return_inverse=True)[1]),
        domain=torch.zeros(len(rows), dtype=torch.long),
        names=tuple(table.field(what.id, i) if what.id else str(i + 1) for i in first),
        outcomes=tuple(what.classes),
    )
    return samples, what


class _Table:
    """A CSV in memory, read by column."""

    def __init__(self, path: Path, what: Description) -> None:
        self.path, self.what = path, what
        if not path.is_file():
            raise TableError(f"{path}: no such table")
        with open_text(path) as stream:
            reader = csv.DictReader(stream)
            self.header = list(reader.fieldnames or [])
            self.rows = list(reader)
        if not self.rows:
            raise TableError(f"{path}: holds no rows")
        needed = [what.id, what.person, what.time]
        needed += [c for m in what.modalities.values() for c in (*m.numeric, *m.categorical, *m.text)]
        missing = [c for c in needed if c is not None and c not in self.header]
        if missing:
            raise TableError(f"{path}: has no column {missing[0]!r}; it holds {', '.join(self.header)}")

    def field(self, column: str | None, row: int) -> str:
        value = self.rows[row].get(column or "")
        return "" if value is None else value.strip()

    def number(self, column: str, row: int) -> float:
        text = self.field(column, row)
        try:
            return float(text) if text else float("nan")
        except ValueError:
            raise TableError(
                f"{self.path}, line {row + 2}: {column} is {text!r}, not a number; "
                f"repair it or list the column as categorical"
            ) from None

    def names(self) -> Description:
        """The description with category and class names taken from this table where it has none."""
        what = self.what
        if what.names or what.classes:
            return what
        listed = {c for m in what.modalities.values() for c in m.categorical}
        names = {c: sorted({self.field(c, i) for i in range(len(self.rows))} - {""}) for c in sorted(listed)}
        classes = (
            sorted({self.field(what.outcome, i) for i in range(len(self.rows))} - {""})
            if what.outcome
            else []
        )
        if what.outcome and len(classes) < 2:
            raise TableError(
                f"{self.path}: outcome {what.outcome!r} has the values {classes}; two are the least"
            )
        self.what = replace(what, names=names, classes=classes)
        return self.what

    def rows_of_samples(self) -> list[list[int]]:
        """Row numbers of each sample in time order, without those after `until`."""
        what = self.what
        kept = range(len(self.rows))
        if what.time is None or what.id is None:
            return [[i] for i in kept]
        when = [self.number(what.time, i) for i in kept]
        if any(np.isnan(t) for t in when):
            line = next(i for i, t in enumerate(when) if np.isnan(t)) + 2
            raise TableError(f"{self.path}, line {line}: {what.time} is empty; every step needs its time")
        found: dict[str, list[int]] = {}
        for i in kept:
            if what.until is None or when[i] <= what.until:
                found.setdefault(self.field(what.id, i), []).append(i)
        if not found:
            raise TableError(f"{self.path}: no row has {what.time} <= {what.until}")
        return [sorted(rows, key=lambda i: when[i]) for rows in found.values()]

    def modality(
        self, name: str, column: Column, rows: list[list[int]], steps: int
    ) -> tuple[NDArray[np.float32], ModalityConfig, NDArray[np.bool_]]:
        """Values, configuration and presence of one modality."""
        stepwise = column.kind == "sequence" or column.per_step
        if column.kind == "text":
            config = ModalityConfig(name, "text", vocabulary=VOCABULARY, per_step=column.per_step)
            width = WORDS
        else:
            sizes = tuple(len(self.what.names.get(c, [])) + 2 for c in column.categorical)
            config = ModalityConfig(name, column.kind, len(column.numeric), sizes, per_step=column.per_step)
            width = len(column.numeric) + len(sizes)
        values = np.zeros((len(rows), steps, width), dtype=np.float32)
        present = np.zeros(len(rows), dtype=bool)
        codes = {c: {n: k + 1 for k, n in enumerate(self.what.names.get(c, []))} for c in column.categorical}
        for at, numbers in enumerate(rows):
            for t, i in enumerate(numbers[:steps] if stepwise else numbers[:1]):
                if column.kind == "text":
                    tokens = _tokens(" ".join(self.field(c, i) for c in column.text))
                    values[at, t, : len(tokens)] = tokens
                    present[at] |= bool(tokens)
                    continue
                values[at, t, : len(column.numeric)] = [self.number(c, i) for c in column.numeric]
                values[at, t, len(column.numeric) :] = [
                    codes[c].get(self.field(c, i), 0) for c in column.categorical
                ]
                present[at] |= any(self.field(c, i) for c in (*column.numeric, *column.categorical))
        return (values if stepwise else values[:, 0]), config, present

    def outcome(self, rows: list[list[int]]) -> NDArray[np.int64]:
        """Class of each sample, -1 where the field is empty or no such class was trained; the same on all its
        rows.
        """
        number = {n: k for k, n in enumerate(self.what.classes)}
        out = np.full(len(rows), -1, dtype=np.int64)
        if self.what.outcome is None or self.what.outcome not in self.header:
            return out
        for at, numbers in enumerate(rows):
            seen = {self.field(self.what.outcome, i) for i in numbers} - {""}
            if len(seen) > 1:
                raise TableError(
                    f"{self.path}, line {numbers[0] + 2}: a sample has the outcomes {sorted(seen)}; "
                    f"one is meant"
                )
            out[at] = number.get(seen.pop(), -1) if seen else -1
        return out

    def following(self, rows: list[list[int]], steps: int) -> NDArray[np.int64]:
        """The answer of the next step at each step, -1 where there is none."""
        out = np.full((len(rows), steps), -1, dtype=np.int64)
        column = self.what.next_step
        if column is None or column not in self.header:
            return out
        for at, numbers in enumerate(rows):
            for t, i in enumerate(numbers[1:]):
                value = self.number(column, i)
                if not np.isnan(value) and value not in (0.0, 1.0):
                    raise TableError(f"{self.path}, line {i + 2}: {column} is {value:g}; an answer is 0 or 1")
                out[at, t] = -1 if np.isnan(value) else int(value)
        return out


def _tokens(text: str) -> list[int]:
    """Hashed words, at most `WORDS`."""
    return [1 + zlib.crc32(w.encode()) % (VOCABULARY - 1) for w in re.findall(r"\w+", text.lower())][:WORDS]
