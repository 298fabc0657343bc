"""evaluation.png: measured against reference angles, and their Bland-Altman plot."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np

from spinecore.io.atomic import write_atomic
from spinecore.measure.evaluation import Evaluation
from spinecore.metrics import bland_altman


def write_agreement_plot(path: Path, evaluation: Evaluation) -> None:
    """Scatter and Bland-Altman plot of the major angle of all films with a measurement."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    films = [film for film in evaluation.films if np.isfinite(film.angles[0])]
    found = np.array([film.angles[0] for film in films])
    wanted = np.array([film.reference_angles[0] for film in films])
    clean = np.array([film.clean for film in films], dtype=bool)
    figure = Figure(figsize=(11, 5), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    scatter, difference = figure.subplots(1, 2)
    for chosen, colour, label in (
        (clean, "#1f6f8b", "clean reference"),
        (~clean, "#d99a3a", "repaired reference"),
    ):
        if chosen.any():
            scatter.plot(
                wanted[chosen], found[chosen], "o", ms=4, mec="none", alpha=0.75, color=colour, label=label
            )
            middle = (found[chosen] + wanted[chosen]) / 2
            difference.plot(
                middle, found[chosen] - wanted[chosen], "o", ms=4, mec="none", alpha=0.75, color=colour
            )
    top = float(max(found.max(initial=10.0), wanted.max(initial=10.0)) * 1.05)
    line = np.array([0.0, top])
    scatter.fill_between(line, line - 5, line + 5, color="#1f6f8b", alpha=0.10, lw=0, label="within 5\u00b0")
    scatter.plot(line, line, color="#5d6975", lw=1)
    scatter.set(
        xlim=(0, top),
        ylim=(0, top),
        aspect="equal",
        xlabel="reference (degrees)",
        ylabel="measured (degrees)",
    )
    scatter.set_title(f"Major angle, {len(films)} films ({evaluation.part})", fontsize=11)
    scatter.legend(frameon=False, fontsize=8, loc="upper left")
    difference.set(xlabel="mean of both (degrees)", ylabel="measured - reference (degrees)")
    difference.axhline(0, color="#5d6975", lw=0.8)
    if len(films) >= 2:
        limits = bland_altman(found, wanted)
        for value, style in ((limits.bias, "-"), (limits.lower, "--"), (limits.upper, "--")):
            difference.axhline(value, color="#b3362c", lw=1, ls=style)
            difference.annotate(
                f"{value:+.1f}\u00b0",
                (1.0, value),
                xycoords=("axes fraction", "data"),
                fontsize=8,
                xytext=(-4, 3),
                textcoords="offset points",
                ha="right",
                color="#b3362c",
            )
        difference.set_title("Bland-Altman: bias and 95 % limits of agreement", fontsize=11)
    for axes in (scatter, difference):
        axes.spines[["top", "right"]].set_visible(False)

    def write(stream: IO[bytes]) -> None:
        figure.savefig(stream, format="png")

    write_atomic(path, write)
