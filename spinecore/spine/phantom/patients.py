"""Clinically varied spines: single thoracic, double, triple, thoracolumbar or lumbar, and straight ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spinecore.spine.phantom.shape import SpineShape, balanced, from_cobb

CURVE_KINDS = ("straight", "thoracic", "double", "triple", "thoracolumbar")
_KIND_SHARES = (0.15, 0.25, 0.25, 0.15, 0.20)

POSITIONS = ("coronal", "left_bending", "right_bending")
"""Left and right are those of the image: in `right_bending` the trunk leans to image right."""


@dataclass(frozen=True, eq=False)
class PhantomPatient:
    """One patient: the standing spine and how much each curve gives way when bending towards its convexity.

    flexibilities: one share in 0..1 for each curve between successive turning levels of ``standing``.
    stiffening: share by which the other curves grow.
    """

    standing: SpineShape
    flexibilities: tuple[float, ...]
    stiffening: float = 0.15

    def shape(self, position: str) -> SpineShape:
        """The spine in one of `POSITIONS`; the end vertebrae stay the same."""
        if position not in POSITIONS:
            raise ValueError(f"unknown position {position!r}; choose one of {', '.join(POSITIONS)}")
        if position == "coronal":
            return self.standing
        side = 1.0 if position == "right_bending" else -1.0
        tilts = [0.0]
        steps = np.diff(self.standing.turning_tilts_deg)
        for step, share in zip(steps, self.flexibilities, strict=True):
            towards_convexity = step * side > 0
            tilts.append(tilts[-1] + step * (1 - share if towards_convexity else 1 + self.stiffening))
        bent = replace(self.standing, turning_tilts_deg=tuple(float(tilt) for tilt in tilts))
        return balanced(bent, lean=side * 0.2)


def random_spine(rng: np.random.Generator, kind: str | None = None) -> SpineShape:
    """A balanced standing spine; major curve up to 9 degrees when straight, else about 10 to 70."""
    if kind is None:
        kind = str(rng.choice(CURVE_KINDS, p=_KIND_SHARES))
    if kind not in CURVE_KINDS:
        raise ValueError(f"unknown kind {kind!r}; choose one of {', '.join(CURVE_KINDS)}")
    levels, cobb = _curves_of(kind, rng)
    # Films are shown with the patient's left at image right, so the common right thoracic curve and the
    # common left thoracolumbar one both begin with an upper curve convex to image right.
    common = rng.random() < 0.75
    shape = from_cobb(levels, cobb, "image-right" if common else "image-left")
    shape = replace(
        shape,
        wedging=float(rng.uniform(0.1, 0.45)),
        width_scale=float(rng.uniform(0.85, 1.12)),
        height_scale=float(rng.uniform(0.92, 1.08)),
    )
    return balanced(shape, lean=float(rng.normal(0.0, 0.03)))


def random_patient(rng: np.random.Generator, kind: str | None = None) -> PhantomPatient:
    """A spine and flexibilities of 15 to 80 % by curve, stiffer the larger the curve."""
    standing = random_spine(rng, kind)
    steps = np.abs(np.diff(standing.turning_tilts_deg))
    shares = np.clip(rng.normal(0.7 - 0.006 * steps, 0.1), 0.15, 0.8)
    return PhantomPatient(standing, tuple(float(share) for share in shares), float(rng.uniform(0.05, 0.25)))


def _curves_of(kind: str, rng: np.random.Generator) -> tuple[list[int], list[float]]:
    """Turning levels from T1 to L5 and the Cobb angle of each curve between them, top to bottom."""
    major = float(np.clip(10 + rng.gamma(2.2, 13.0), 10, 70))
    ends = int(rng.integers(3, 6)), int(rng.integers(10, 13))
    if kind == "straight":
        middle = int(rng.integers(5, 11))
        return [0, middle, 16], [float(angle) for angle in rng.uniform(0, 9, size=2)]
    if kind == "thoracic":
        return [0, *ends, 16], [major * rng.uniform(0.2, 0.5), major, major * rng.uniform(0.3, 0.6)]
    if kind == "double":
        second = major * rng.uniform(0.7, 1.0)
        lowest = int(rng.integers(14, 16))
        return [0, *ends, lowest, 16], [
            major * rng.uniform(0.2, 0.5),
            major,
            second,
            second * rng.uniform(0.1, 0.3),
        ]
    if kind == "triple":
        upper = int(rng.integers(4, 6))
        return [0, upper, ends[1] - 1, 15, 16], [
            major * rng.uniform(0.6, 0.9),
            major,
            major * rng.uniform(0.6, 0.9),
            2.0,
        ]
    top = int(rng.integers(7, 10))
    bottom = int(rng.integers(13, 16))
    first = int(rng.integers(2, 4))
    counter = major * rng.uniform(0.3, 0.6)
    return [0, first, top, bottom, 16], [
        counter * rng.uniform(0.1, 0.4),
        counter,
        major,
        major * rng.uniform(0.1, 0.3),
    ]
