"""Drawings of a walk: the walker with the asymmetries, as SVG, and the map against the training mean, as
PNG.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .joints import BONES, INDEX, SIDE_OF_BONE
from .kinematics.layout import GROUPS

Point = tuple[float, float]

SCALE = 92.0
"""SVG units a torso."""
WIDTH, HEIGHT = 330, 392
ORIGIN = (135.0, 186.0)
DRAWN_AS = 2.0
"""Tilts, leans and shifts below this many spreads are drawn softly, those above in the warning colour."""


def walker_svg(pose: list[list[float | None]], values: dict[str, Any], z: dict[str, Any]) -> str:
    """The mean pose with the lines of shoulders and hips, the trunk against the vertical, and their
    numbers.
    """
    at = {n: _place(pose[i]) for n, i in INDEX.items()}
    parts = [
        f'<svg class="walker" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Walker and asymmetries">'
    ]
    pelvis = _middle(at["left_hip"], at["right_hip"])
    neck = _middle(at["left_shoulder"], at["right_shoulder"])
    if pelvis is not None:
        x = f"{pelvis[0]:.1f}"
        parts.append(f'<line class="plumb" x1="{x}" y1="26" x2="{x}" y2="{HEIGHT - 16}"/>')
    for (a, b), side in zip(BONES, SIDE_OF_BONE, strict=True):
        p, q = _place(pose[a]), _place(pose[b])
        if p and q:
            parts.append(f'<line class="bone {side}" {_ends(p, q)}/>')
    if neck and at["nose"]:
        parts.append(f'<line class="bone middle" {_ends(neck, at["nose"])}/>')
        parts.append(f'<circle class="head" cx="{at["nose"][0]:.1f}" cy="{at["nose"][1]:.1f}" r="17"/>')
    limbs = [at[n] for n in INDEX if not n.endswith(("eye", "ear", "nose"))]
    parts += [f'<circle class="joint" cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="3.2"/>' for p in limbs if p]
    for line, measure, label in (("shoulder", "shoulder_tilt", "shoulders"), ("hip", "hip_tilt", "hips")):
        p, q = at[f"left_{line}"], at[f"right_{line}"]
        if p and q and values.get(measure) is not None:
            parts += _tilt(p, q, float(values[measure]), z.get(measure), label)
    if pelvis and neck and values.get("trunk_lean") is not None:
        parts.append(f'<line class="mark {_far(z.get("trunk_lean"))}" {_ends(pelvis, neck)}/>')
        kind, lean = _far(z.get("trunk_lean")), float(values["trunk_lean"])
        text = f"trunk {abs(lean):.1f}° {_side(lean)}"
        parts.append(f'<text class="{kind}" x="{ORIGIN[0]:.0f}" y="16" text-anchor="middle">{text}</text>')
    left, right = at["left_shoulder"], at["right_shoulder"]
    sides = ("L", "R") if left and right and left[0] < right[0] else ("R", "L")
    parts.append(f'<text class="side" x="14" y="{HEIGHT - 8}">{sides[0]}</text>')
    parts.append(f'<text class="side" x="{2 * ORIGIN[0] - 24:.0f}" y="{HEIGHT - 8}">{sides[1]}</text></svg>')
    return "".join(parts)


MIDDLE = 'text-anchor="middle"'


def _place(p: list[float | None]) -> Point | None:
    if p[0] is None or p[1] is None:
        return None
    return ORIGIN[0] + SCALE * p[0], ORIGIN[1] + SCALE * p[1]


def _middle(a: Point | None, b: Point | None) -> Point | None:
    return None if a is None or b is None else ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)


def _ends(a: Point, b: Point) -> str:
    return f'x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"'


def _far(z: float | None) -> str:
    return "far" if z is not None and abs(z) > DRAWN_AS else "near"


def _side(value: float) -> str:
    return "left" if value > 0 else "right"


def _tilt(p: Point, q: Point, value: float, z: float | None, label: str) -> list[str]:
    """The line through both joints, drawn out, a level one through its middle, and the angle."""
    middle = np.array([(p[0] + q[0]) / 2, (p[1] + q[1]) / 2])
    along = np.array(p) - np.array(q)
    along = along / max(float(np.linalg.norm(along)), 1e-6) * 62
    a, b = middle - along, middle + along
    kind = _far(z)
    text = f"{label} {abs(value):.1f}°"
    low = f"{_side(value)} lower" if abs(value) >= 0.05 else "level"
    flat = _ends((middle[0] - 62, middle[1]), (middle[0] + 62, middle[1]))
    return [
        f'<line class="level" {flat}/>',
        f'<line class="mark {kind}" {_ends((a[0], a[1]), (b[0], b[1]))}/>',
        f'<text class="{kind}" x="{WIDTH - 4}" y="{middle[1] - 2:.1f}" text-anchor="end">{text}</text>',
        f'<text class="{kind} small" x="{WIDTH - 4}" y="{middle[1] + 12:.1f}" text-anchor="end">{low}</text>',
    ]


def draw_map(path: Path, standard: NDArray[np.float32], rate: float) -> None:
    """Plot a standardised map (T, 238): columns down, time across, in spreads of the training walks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    frames = len(standard)
    image = axes.imshow(
        standard.T,
        aspect="auto",
        cmap="RdBu_r",
        vmin=-3,
        vmax=3,
        extent=(0, frames / rate, standard.shape[1], 0),
        interpolation="nearest",
    )
    begins = [int(np.flatnonzero(where)[0]) for where in GROUPS.values()]
    ends = [*begins[1:], standard.shape[1]]
    for begin in begins[1:]:
        axes.axhline(begin, color="black", linewidth=0.8)
    axes.set_yticks([(a + b) / 2 for a, b in zip(begins, ends, strict=True)])
    axes.set_yticklabels([f"{name}s" for name in GROUPS], rotation=90, va="center", fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("s (correlations: lag, zero in the middle)", fontsize=8)
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("spreads from the training mean", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    figure.savefig(partial, format="png")
    partial.replace(path)
