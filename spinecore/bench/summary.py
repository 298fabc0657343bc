"""From measured rows to ratios, geometric means and targets met or not. Pure functions over plain types."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from spinecore.bench.case import OURS, PEER

Row = Mapping[str, Any]


class Best(NamedTuple):
    """The fastest of some variants."""

    name: str
    seconds: float


class Line(NamedTuple):
    """One row of the table.

    ``ratio`` is the best peer's time over ours, ``of_limit`` the least possible time over ours (above 1 where
    an algorithm needs fewer operations than the limit counts), ``met`` whether the target of every shape is
    reached; None where there is nothing to compare or no target.
    """

    shape: tuple[int, ...]
    ours: Best | None
    peer: Best | None
    families: dict[str, Best]
    ratio: float | None
    of_limit: float | None
    met: bool | None
    reasons: dict[str, str]


class Section(NamedTuple):
    """A case with its lines and their mean; ``means`` is the mean ratio to each family of peers."""

    operator: str
    case: str
    axes: str
    limit: str
    against: str
    every: float | None
    mean: float | None
    lines: list[Line]
    geometric_mean: float | None
    mean_met: bool | None
    means: dict[str, float]


def geometric_mean(values: Sequence[float]) -> float | None:
    """The geometric mean; None of nothing."""
    if not values:
        return None
    return math.exp(sum(math.log(value) for value in values) / len(values))


def best(row: Row, kind: str) -> Best | None:
    """The fastest variant of a kind that ran and returned right values."""
    ran = [Best(v["name"], v["seconds"]) for v in row["variants"] if v["kind"] == kind and "seconds" in v]
    return min(ran, key=lambda entry: entry.seconds, default=None)


def families(row: Row) -> dict[str, Best]:
    """The fastest variant of every family, in the order in which they are listed."""
    found: dict[str, Best] = {}
    for variant in row["variants"]:
        if "seconds" not in variant:
            continue
        entry = Best(variant["name"], variant["seconds"])
        known = found.get(variant["family"])
        if known is None or entry.seconds < known.seconds:
            found[variant["family"]] = entry
    return found


def line_of(row: Row, every: float | None) -> Line:
    """One measured row, compared."""
    mine, peer = best(row, OURS), best(row, PEER)
    ratio = peer.seconds / mine.seconds if mine and peer else None
    least = row.get("limit", {}).get("seconds")
    return Line(
        shape=tuple(row["shape"]),
        ours=mine,
        peer=peer,
        families=families(row),
        ratio=ratio,
        of_limit=least / mine.seconds if mine and least else None,
        met=None if ratio is None or every is None else ratio >= every,
        reasons={v["name"]: v["reason"] for v in row["variants"] if "reason" in v},
    )


def section_of(operator: str, name: str, case: Mapping[str, Any]) -> Section:
    """All rows of a case."""
    every, mean = case["target"]["every"], case["target"]["mean"]
    lines = [line_of(row, every) for row in case["rows"]]
    average = geometric_mean([line.ratio for line in lines if line.ratio is not None])
    complete = all(line.ratio is not None for line in lines)
    return Section(
        operator=operator,
        case=name,
        axes=case["axes"],
        limit=case["limit"],
        against=case["against"],
        every=every,
        mean=mean,
        lines=lines,
        geometric_mean=average,
        mean_met=None if average is None or mean is None else complete and average >= mean,
        means=_means(case["rows"], lines),
    )


def _means(rows: Sequence[Row], lines: Sequence[Line]) -> dict[str, float]:
    peers = {v["family"]: None for row in rows for v in row["variants"] if v["kind"] == PEER}
    found: dict[str, float] = {}
    for family in peers:
        pairs = [(line.families.get(family), line.ours) for line in lines]
        mean = geometric_mean([theirs.seconds / mine.seconds for theirs, mine in pairs if theirs and mine])
        if mean is not None:
            found[family] = mean
    return found


def sections(document: Mapping[str, Any]) -> Iterator[Section]:
    """Every case of a results document, in its order."""
    for operator, entry in document["operators"].items():
        for name, case in entry.items():
            yield section_of(operator, name, case)
