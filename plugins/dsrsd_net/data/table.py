"""Any table: one CSV and a description of its modalities in YAML or JSON."""

from __future__ import annotations

import csv
import json
import re
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..config import ModalityConfig
from ..errors import TableError
from ..samples import Samples
from .files import open_text

VOCABULARY = 2048
WORDS = 64


@dataclass(frozen=True)
class Column:
    """One modality of a table: its kind and columns."""

    kind: str
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    per_step: bool = False


@dataclass(frozen=True)
class Description:
    """What the columns of a table mean, and (once read) the names behind the codes.

    Attributes:
        modalities: by name.
        id: column whose equal values are the steps of one sample; None: a sample a row.
        person: column of the person (or site), all of whose rows go to one side of a split; default `id`.
        time: column that orders the steps of a sample.
        until: rows whose time is later are not read: what was not known yet.
        outcome: column of the final outcome.
        next_step: column of 0 or 1; step t predicts its value at step t + 1.
        names: categories of each categorical column, from training.
        classes: of the outcome, from training.

    """

    modalities: dict[str, Column]
    id: str | None = None
    person: str | None = None
    time: str | None = None
    until: float | None = None
    outcome: str | None = None
    next_step: str | None = None
    names: dict[str, list[str]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "modalities": {n: vars(c) for n, c in self.modalities.items()}}


KEYS = ("id", "person", "time", "until", "outcome", "next_step", "modalities", "names", "classes")


def read_description(path: Path) -> Description:
    """A description from a .yaml, .yml or .json file.

    Raises:
        TableError: naming the file and the key that is wrong, or a modality that holds its own answer.

    """
    if not path.is_file():
        raise TableError(f"{path}: no such file; describe the table's modalities there (docs/dsrsd_net.md shows how)")
    text = path.read_text(encoding="utf-8")
    try:
        raw = json.loads(text) if path.suffix == ".json" else _yaml(text)
    except ValueError as e:
        raise TableError(f"{path}: not readable ({e})") from e
    try:
        return description(raw)
    except TableError as e:
        raise TableError(f"{path}: {e}") from e


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as e:
        raise TableError("YAML needs PyYAML; install spinecore-torch[multimodal] or write the file as .json") from e
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from e


def description(raw: Any) -> Description:
    """A description from the mapping that YAML or JSON holds."""
    if not isinstance(raw, dict) or not isinstance(raw.get("modalities"), dict) or not raw["modalities"]:
        raise TableError("needs a key `modalities` with at least one modality")
    unknown = [k for k in raw if k not in KEYS]
    if unknown:
        raise TableError(f"key {unknown[0]!r} is unknown; use {', '.join(KEYS)}")
    found: dict[str, Column] = {}
    for name, fields in raw["modalities"].items():
        try:
            listed = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
            found[str(name)] = Column(**listed)
        except (TypeError, AttributeError) as e:
            raise TableError(f"modality {name!r}: {e}; use kind, numeric, categorical, text, per_step") from e
    made = Description(found, **{k: v for k, v in raw.items() if k != "modalities"})
    if made.outcome is None and made.next_step is None:
        raise TableError("names neither `outcome` nor `next_step`; one of them is to be predicted")
    if made.next_step is not None and (made.id is None or made.time is None):
        raise TableError("`next_step` needs `id` and `time`, which make the steps")
    if made.until is not None and made.time is None:
        raise TableError("`until` needs `time`")
    for name, column in found.items():
        leak = {made.outcome, made.person, made.id} & {*column.numeric, *column.categorical, *column.text}
        if leak:
            raise TableError(f"modality {name!r}: column {leak.pop()!r} is the outcome or names the person; leave it out")
        if column.kind == "sequence" and made.time is None:
            raise TableError(f"modality {name!r}: a sequence needs `id` and `time`")
    return made


def load_table(path: Path, what: Description) -> tuple[Samples, Description]:
    """Samples of a CSV, and the description with the names behind its codes.

    A numeric field that is empty is missing; a modality all of whose fields are empty is absent from the sample. A
    category that training did not know is code 0. With `names` and `classes` given (prediction) they are kept.
    """
    table = _Table(path, what)
    what = table.names()
    rows = table.rows_of_samples()
    steps = max(len(r) for r in rows) if any(c.kind == "sequence" or c.per_step for c in what.modalities.values()) else 1
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
                f"{self.path}, line {row + 2}: {column} is {text!r}, not a number; repair it or list the column as categorical"
            ) from None

    def names(self) -> Description:
        """The description with category and class names taken from this table where it has none."""
        what = self.what
        if what.names or what.classes:
            return what
        listed = {c for m in what.modalities.values() for c in m.categorical}
        names = {c: sorted({self.field(c, i) for i in range(len(self.rows))} - {""}) for c in sorted(listed)}
        classes = sorted({self.field(what.outcome, i) for i in range(len(self.rows))} - {""}) if what.outcome else []
        if what.outcome and len(classes) < 2:
            raise TableError(f"{self.path}: outcome {what.outcome!r} has the values {classes}; two are the least")
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
                values[at, t, len(column.numeric) :] = [codes[c].get(self.field(c, i), 0) for c in column.categorical]
                present[at] |= any(self.field(c, i) for c in (*column.numeric, *column.categorical))
        return (values if stepwise else values[:, 0]), config, present

    def outcome(self, rows: list[list[int]]) -> NDArray[np.int64]:
        """Class of each sample, -1 where the field is empty or no such class was trained; the same on all its rows."""
        number = {n: k for k, n in enumerate(self.what.classes)}
        out = np.full(len(rows), -1, dtype=np.int64)
        if self.what.outcome is None or self.what.outcome not in self.header:
            return out
        for at, numbers in enumerate(rows):
            seen = {self.field(self.what.outcome, i) for i in numbers} - {""}
            if len(seen) > 1:
                raise TableError(f"{self.path}, line {numbers[0] + 2}: a sample has the outcomes {sorted(seen)}; one is meant")
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
