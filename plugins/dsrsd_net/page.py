"""The page of a prediction run: which modality drove what, over all, by group and sample by sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .drivers import Drivers, Row
from .samples import Samples

COLOURS = ("#e08a1e", "#2f7fc1", "#7a5bc7", "#2f9e68", "#c0507a", "#5d6b7a")
SHOWN = 200
"""Samples on the page; predictions.csv has all."""
SIZE = "size of the drop-one effect"
FIGURES = ("gate", SIZE, "shared share of the effect")


def write_page(
    path: Path,
    samples: Samples,
    drivers: Drivers,
    rows: list[Row],
    labels: list[str],
    classes: list[str],
    card: dict[str, Any],
) -> None:
    """One self-contained page, atomically."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    own = drivers.probability[np.arange(len(drivers.shown)), drivers.shown]
    order, two = np.argsort(-own), len(classes) == 2
    if len(order) > SHOWN:  # of two classes both ends are certain
        order = np.concatenate((order[: SHOWN // 2], order[-SHOWN // 2 :])) if two else order[:SHOWN]
    groups = list(dict.fromkeys(row.group for row in rows))
    sizes = [row.high for row in rows if row.figure == SIZE]
    text = environment.get_template("drivers.html.j2").render(
        count=len(samples),
        shown=len(order),
        modalities=list(zip(drivers.modalities, _colours(len(drivers.modalities)), strict=True)),
        absent=[int((~samples.present[:, m]).sum()) for m in range(len(drivers.modalities))],
        groups=[(g, [r for f in FIGURES for r in rows if (r.group, r.figure) == (g, f)]) for g in groups],
        size=SIZE,
        of=f"p({classes[1]})" if two else "probability",
        both_ends=two and len(drivers.shown) > SHOWN,
        figures=card.get("figures", {}),
        cards=[_card(samples, drivers, labels, classes, int(i)) for i in order],
        largest=max([*sizes, 0.05]),
    )
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _colours(count: int) -> list[str]:
    return [COLOURS[m % len(COLOURS)] for m in range(count)]


def _card(
    samples: Samples, drivers: Drivers, labels: list[str], classes: list[str], i: int
) -> dict[str, Any]:
    known = int(samples.outcome[i])
    return {
        "name": samples.names[i] if samples.names else str(i + 1),
        "group": labels[i],
        "predicted": classes[int(drivers.probability[i].argmax())],
        "probability": float(drivers.probability[i, drivers.shown[i]]),
        "truth": classes[known] if 0 <= known < len(classes) and samples.outcomes else "",
        "gates": [float(g) for g in drivers.gates[i]],
        "drop": [None if np.isnan(d) else float(d) for d in drivers.drop[i]],
        "shared": float(drivers.shared[i]),
        "private": float(drivers.private[i]),
    }
