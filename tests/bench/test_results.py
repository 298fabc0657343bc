"""The results file: rows are added, replaced and kept, never mixed with another machine's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spinecore.bench.case import Case, Problem, Target, Work
from spinecore.bench.results import (
    OtherMachine,
    add_row,
    has_row,
    new_document,
    read_document,
    sort_operators,
    write_document,
)

MACHINE = {"cpu": "abacus", "torch": "2.13"}


def case(operator: str = "gate", name: str = "forward") -> Case:
    return Case(
        operator=operator,
        name=name,
        axes="N",
        shapes=((4,), (8,), (2,)),
        problem=lambda _shape: Problem({}, list),
        work=lambda shape: Work(flops=float(shape[0])),
        tolerance=1e-4,
        target=Target(2.0, 3.0),
        against="eager",
    )


def row(size: int, seconds: float = 1.0, rounds: int = 7) -> dict[str, Any]:
    return {"shape": [size], "rounds": rounds, "variants": [{"name": "ours", "seconds": seconds}]}


def test_rows_stand_in_the_order_of_the_shapes_and_a_new_one_replaces_the_old() -> None:
    document = new_document("2026-01-02", MACHINE)
    for size in (2, 8, 4):
        add_row(document, case(), row(size))
    add_row(document, case(), row(8, seconds=2.0))
    entry = document["operators"]["gate"]["forward"]
    assert [each["shape"] for each in entry["rows"]] == [[4], [8], [2]]
    assert entry["rows"][1]["variants"][0]["seconds"] == 2.0
    assert entry["target"] == {"every": 2.0, "mean": 3.0}
    assert entry["limit"] == "fma"


def test_operators_of_other_runs_stay(tmp_path: Path) -> None:
    path = tmp_path / "2026-01-02.json"
    for operator in ("zoom", "gate"):
        document = read_document(path, "2026-01-02", MACHINE)
        add_row(document, case(operator), row(4, 0.123456789))
        sort_operators(document, ["gate", "zoom"])
        write_document(path, document)
    known = json.loads(path.read_text())
    assert list(known["operators"]) == ["gate", "zoom"]
    assert known["operators"]["zoom"]["forward"]["rows"][0]["variants"][0]["seconds"] == 0.1235


def test_a_row_is_there_only_with_as_many_rounds() -> None:
    document = new_document("2026-01-02", MACHINE)
    add_row(document, case(), row(4, rounds=3))
    assert has_row(document, case(), (4,), 3)
    assert not has_row(document, case(), (4,), 7)
    assert not has_row(document, case(), (8,), 3)
    assert not has_row(document, case("zoom"), (4,), 3)


def test_other_machines_and_versions_are_refused_with_the_difference(tmp_path: Path) -> None:
    path = tmp_path / "2026-01-02.json"
    write_document(path, new_document("2026-01-02", MACHINE))
    with pytest.raises(OtherMachine, match=r"torch was '2.13', is '2.14'"):
        read_document(path, "2026-01-02", {**MACHINE, "torch": "2.14"})
    path.write_text("{}")
    with pytest.raises(OtherMachine, match="schema"):
        read_document(path, "2026-01-02", MACHINE)


def test_the_quick_shape_has_the_least_work() -> None:
    assert case().quick_shape == (2,)
