"""The results document: one JSON file a day and machine, to which runs add rows or replace them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spinecore.bench.case import Case, Shape
from spinecore.io.atomic import write_json

SCHEMA = "spinecore.bench/1"


class OtherMachine(ValueError):  # noqa: N818 - reads as what it says
    """The file holds results of another machine or of other versions; the message names the difference."""


def new_document(date: str, machine: Mapping[str, Any]) -> dict[str, Any]:
    """A document without rows."""
    return {"schema": SCHEMA, "date": date, "machine": dict(machine), "operators": {}}


def read_document(path: Path, date: str, machine: Mapping[str, Any]) -> dict[str, Any]:
    """The document at ``path`` to go on with, or a new one where there is none.

    Raises:
        OtherMachine: It was measured elsewhere or with other versions: rows must not be mixed.

    """
    if not path.exists():
        return new_document(date, machine)
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document.get("schema") != SCHEMA:
        raise OtherMachine(f"{path}: not of schema {SCHEMA}; move it away")
    known = document["machine"]
    different = sorted(key for key in {*known, *machine} if known.get(key) != machine.get(key))
    if different:
        words = "; ".join(f"{key} was {known.get(key)!r}, is {machine.get(key)!r}" for key in different)
        raise OtherMachine(f"{path}: measured under other conditions ({words}); move it away")
    return document


def add_row(document: dict[str, Any], case: Case, row: Mapping[str, Any]) -> None:
    """Put a row in its place, in the order of the case's shapes; an older one of the same shape goes."""
    entry = document["operators"].setdefault(case.operator, {}).setdefault(case.name, {"rows": []})
    rows = [old for old in entry["rows"] if old["shape"] != row["shape"]] + [dict(row)]
    order = [list(shape) for shape in case.shapes]
    rows.sort(key=lambda each: order.index(each["shape"]) if each["shape"] in order else len(order))
    entry.update(
        axes=case.axes,
        limit=case.work(case.shapes[0]).limit,
        against=case.against,
        target={"every": case.target.every, "mean": case.target.mean},
        rows=rows,
    )


def has_row(document: Mapping[str, Any], case: Case, shape: Shape, rounds: int) -> bool:
    """Whether a row measured with at least ``rounds`` rounds is there."""
    entry = document["operators"].get(case.operator, {}).get(case.name, {"rows": []})
    return any(row["shape"] == list(shape) and row["rounds"] >= rounds for row in entry["rows"])


def sort_operators(document: dict[str, Any], order: Iterable[str]) -> None:
    """The operators in the order given, whatever the order in which they were measured."""
    known = document["operators"]
    document["operators"] = {name: known[name] for name in order if name in known} | known


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write it, atomically; times keep four digits."""
    write_json(path, _rounded(document))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
