"""How trained networks bear a modality that is removed, noised, or that belongs to somebody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..baselines import Baseline
from ..network import DSRSDNet
from ..samples import Samples
from ..training import score
from .protocol import figures
from .tables import Rows

EXCHANGED = (0.0, 0.25, 0.5, 1.0)
"""Shares of the samples that get the modality of another one."""
NOISE = (0.0, 0.5, 1.0, 2.0)
"""Standard deviations of normal noise, in those of each numeric column."""


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


def noised(samples: Samples, modality: int, level: float, seed: int) -> Samples:
    """Numeric columns of a modality with normal noise of `level` of their own standard deviations."""
    columns = samples.modalities[modality].numeric
    x = samples.inputs[modality].clone()
    numbers = x[..., :columns]
    seen = samples.present[:, modality]
    rows = numbers[seen][samples.valid[seen]] if samples.modalities[modality].stepwise else numbers[seen]
    spread = torch.from_numpy(np.nan_to_num(np.nanstd(rows.double().numpy(), axis=0))).to(x.dtype)
    draw = torch.Generator().manual_seed(seed)
    x[..., :columns] = numbers + level * spread * torch.randn(numbers.shape, generator=draw)
    return replace(samples, inputs=(*samples.inputs[:modality], x, *samples.inputs[modality + 1 :]))


def robustness(model: DSRSDNet | Baseline, test: Samples, seed: int) -> Rows:
    """Figures of a trained network on people it was not trained on, undisturbed and disturbed.

    Rows: modality, disturbance ("exchanged", "noise" or "removed"), its level, figures. A modality without
    numeric columns is not noised.
    """
    rows: Rows = []
    for m, modality in enumerate(test.modalities):
        cases = [("exchanged", level, disturbed(test, m, level, seed)) for level in EXCHANGED]
        if modality.kind != "text" and modality.numeric:
            cases += [("noise", level, noised(test, m, level, seed)) for level in NOISE]
        for what, level, case in [*cases, ("removed", 1.0, test.without(m))]:
            found = figures(test, score(model, case))
            rows.append({"modality": modality.name, "disturbance": what, "level": level, **found})
    return rows


def draw_robustness(path: Path, rows: Rows) -> None:
    """The first figure against the level; panels: modality across, exchanged and noise down; x: removed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = next(k for k in rows[0] if k not in ("method", "modality", "disturbance", "level"))
    modalities = list(dict.fromkeys(row["modality"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    kinds = {"exchanged": "share from another sample; x: removed", "noise": "noise, standard deviations"}
    size = (3.6 * len(modalities), 5.6)
    figure, axes = plt.subplots(2, len(modalities), figsize=size, sharey=True, squeeze=False)
    for line, (kind, label) in zip(axes, kinds.items(), strict=True):
        for axis, modality in zip(line, modalities, strict=True):
            for k, method in enumerate(methods):
                own = [r for r in rows if (r["method"], r["modality"]) == (method, modality)]
                curve = [(r["level"], r[shown]) for r in own if r["disturbance"] == kind]
                if curve:
                    axis.plot(*zip(*curve, strict=True), color=f"C{k}", label=method, marker=".")
                if kind == "exchanged":
                    gone = [r[shown] for r in own if r["disturbance"] == "removed"]
                    axis.scatter([1.1] * len(gone), gone, color=f"C{k}", marker="x")
            axis.set_title(modality, fontsize=10)
            axis.set_xlabel(label, fontsize=8)
            axis.grid(alpha=0.25)
        line[0].set_ylabel(shown)
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
