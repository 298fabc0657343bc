"""Predictions of a trained model as files: one CSV a sample, one a group, and a page."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from .data.files import open_text
from .data.source import load_like
from .drivers import Drivers, Row, aggregate, explain
from .errors import TableError
from .network import DSRSDNet
from .page import write_page
from .samples import Samples


class SampleReader:
    """Predicts samples read as those of the training set were."""

    def __init__(self, model: DSRSDNet, card: dict[str, Any]) -> None:
        if "source" not in card:
            raise TableError(
                "these weights have no card that says how their table was read; "
                "train them with `spinecore train`"
            )
        self.model, self.card = model, card

    def predict(
        self, out: Path, *, table: Path | None = None, data: Path | None = None, by: str | None = None
    ) -> int:
        """Write predictions.csv, groups.csv and index.html into `out`; returns how many samples were
        predicted.

        Args:
            out: folder.
            table: of the kind the model was trained on, or
            data: the folder of a set.
            by: column of the table to aggregate by; default: the presentation, site or year of a set, if
                it has several.

        """
        samples = load_like(self.card["source"], table=table, data=data)
        if samples.modalities != self.model.config.modalities:
            raise TableError(
                "the modalities differ from those of the training set "
                f"({', '.join(m.name for m in self.model.config.modalities)}); give the same columns"
            )
        drivers = explain(self.model, samples)
        labels = self._labels(samples, table, by)
        rows = aggregate(drivers, labels, samples.group.numpy())
        classes = list(self.card.get("outcomes") or []) if self.model.config.outcomes else ["no", "yes"]
        out.mkdir(parents=True, exist_ok=True)
        _write(out / "predictions.csv", *_prediction_rows(samples, drivers, labels, classes))
        _write(out / "groups.csv", list(Row.__dataclass_fields__), [list(vars(r).values()) for r in rows])
        write_page(out / "index.html", samples, drivers, rows, labels, classes, self.card)
        return len(samples)

    def _labels(self, samples: Samples, table: Path | None, by: str | None) -> list[str]:
        if by is None:
            return [samples.domains[int(d)] if samples.domains else "all" for d in samples.domain]
        if table is None:
            raise TableError(f"--by {by}: only a table has columns to aggregate by")
        with open_text(table) as stream:
            rows = list(csv.DictReader(stream))
        if by not in rows[0]:
            raise TableError(f"{table}: has no column {by!r} to aggregate by; it holds {', '.join(rows[0])}")
        key = self.card["source"]["table"]["id"]
        found: dict[str, str] = {}
        for i, row in enumerate(rows):
            found.setdefault(row[key].strip() if key else str(i + 1), row[by])
        return [found[name] for name in samples.names]


def build_reader(model: DSRSDNet, card: dict[str, Any]) -> SampleReader:
    """The reader of a loaded model and the card beside its weights."""
    return SampleReader(model, card)


def _prediction_rows(
    samples: Samples, drivers: Drivers, labels: list[str], classes: list[str]
) -> tuple[list[str], list[list[Any]]]:
    names = drivers.modalities
    header = ["sample", "group", *(f"p({c})" for c in classes), "explained", "shared", "private"]
    header += [f"gate {n}" for n in names] + [f"drop {n}" for n in names]
    rows = []
    for i in range(len(samples)):
        numbers = [drivers.shared[i], drivers.private[i], *drivers.gates[i], *drivers.drop[i]]
        head: list[Any] = [samples.names[i] if samples.names else i + 1, labels[i]]
        head += [f"{p:.6f}" for p in drivers.probability[i]] + [classes[int(drivers.shown[i])]]
        rows.append(head + ["" if np.isnan(x) else f"{x:.6f}" for x in numbers])
    return header, rows


def _write(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    partial.replace(path)
