"""The table as a picture: ratios to the best peer beside their targets, and shares of the machine's limit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spinecore.bench.markdown import milliseconds
from spinecore.bench.summary import Section, sections

_MET, _MISSED, _PLAIN, _TARGET = "#2f7d57", "#c0483c", "#6b7d92", "#222222"


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [section for section in sections(document) if any(line.ours for line in section.lines)]
    if not shown:
        return
    rows = [len(section.lines) for section in shown]
    figure = Figure(figsize=(11, 1.2 + 0.24 * sum(rows) + 0.62 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": [n + 1.2 for n in rows]}
    )
    widest = max(line.ratio or 0.0 for section in shown for line in section.lines)
    for axes, section in zip(panels[:, 0], shown, strict=True):
        _panel(axes, section, max(1.4 * widest, 3.0))
    panels[-1, 0].set_xlabel("time of the best peer / ours, one thread (line: target on every shape)")
    machine = document["machine"]
    figure.suptitle(
        f"spinecore {machine['spinecore']} on {machine['cpu']}, {machine['isa']}, torch {machine['torch']}, "
        f"{document['date']}",
        fontsize=10,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _panel(axes: Any, section: Section, right: float) -> None:
    lines = section.lines
    values = [line.ratio or 0.0 for line in lines]
    colours = [_PLAIN if line.met is None else _MET if line.met else _MISSED for line in lines]
    axes.barh(range(len(lines)), values, color=colours, height=0.72)
    axes.set_yticks(range(len(lines)), [",".join(map(str, line.shape)) for line in lines], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, right)
    axes.axvline(1.0, color="#999999", linewidth=0.8)
    if section.every is not None:
        axes.axvline(section.every, color=_TARGET, linewidth=1.2)
    for index, line in enumerate(lines):
        axes.text(values[index] + right * 0.006, index, _words(line), va="center", fontsize=7.5)
    mean = "" if section.geometric_mean is None else f", geometric mean {section.geometric_mean:.2f}"
    axes.set_title(f"{section.operator}: {section.case}{mean}", fontsize=9, loc="left")
    axes.tick_params(axis="x", labelsize=7.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _words(line: Any) -> str:
    if line.ratio is None:
        return "not native"
    share = "" if line.of_limit is None else f", {100 * line.of_limit:.0f} % of the limit"
    return (
        f"{line.ratio:.2f}  ({milliseconds(line.ours.seconds)} ms{share}; "
        f"{line.peer.name} {milliseconds(line.peer.seconds)} ms)"
    )
