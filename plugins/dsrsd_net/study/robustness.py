"""How the methods of a study bear a modality that is removed, or that belongs to somebody else."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..samples import Samples
from ..training import score
from .methods import train_method
from .protocol import Study, check_split, figures

LEVELS = (0.0, 0.25, 0.5, 1.0)


def disturbed(samples: Samples, modality: int, share: float, seed: int) -> Samples:
    """A share of the samples gets this modality, and its presence, from another sample."""
    rng = np.random.default_rng(seed)
    source = np.arange(len(samples))
    chosen = rng.permutation(len(samples))[: round(share * len(samples))]
    source[chosen] = np.roll(chosen, 1)
    inputs, present = list(samples.inputs), samples.present.clone()
    inputs[modality] = samples.inputs[modality][source]
    present[:, modality] = samples.present[source, modality]
    return replace(samples, inputs=tuple(inputs), present=present)


def robustness(study: Study, methods: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Figures of the networks `methods` on the first split of a seed, undisturbed and disturbed.

    Rows: method, modality, disturbance ("removed", or the share that got it from another), figures.
    """
    split = study.splits(seed)[0]
    check_split(study.samples, split)
    rows: list[dict[str, Any]] = []
    for method in methods:
        model, samples = train_method(study, method, split, seed)
        test = samples.take(split.test)
        for m, modality in enumerate(test.modalities):
            cases = [(f"{level:g}", disturbed(test, m, level, seed)) for level in LEVELS]
            for what, case in [*cases, ("removed", test.without(m))]:
                found = figures(test, score(model, case))
                rows.append({"method": method, "modality": modality.name, "disturbance": what, **found})
    return rows


def write_robustness(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write OUT/robustness.csv, and OUT/robustness.png: the first figure against the disturbed share."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with (out / "robustness.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    shown = next(k for k in rows[0] if k not in ("method", "modality", "disturbance"))
    modalities = list(dict.fromkeys(row["modality"] for row in rows))
    figure, axes = plt.subplots(
        1, len(modalities), figsize=(4 * len(modalities), 3.4), sharey=True, squeeze=False
    )
    for axis, modality in zip(axes[0], modalities, strict=True):
        for k, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
            own = [r for r in rows if r["method"] == method and r["modality"] == modality]
            curve = [(float(r["disturbance"]), r[shown]) for r in own if r["disturbance"] != "removed"]
            axis.plot(*zip(*curve, strict=True), color=f"C{k}", label=method)
            removed = [r[shown] for r in own if r["disturbance"] == "removed"]
            axis.scatter([1.1], removed, color=f"C{k}", marker="x")
        axis.set_title(modality)
        axis.set_xlabel("share from another sample; x: removed")
    axes[0][0].set_ylabel(shown)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out / "robustness.png", dpi=120)
    plt.close(figure)
