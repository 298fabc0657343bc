"""Phantom films: parametric spines with exact angles, drawn as radiographs. numpy only."""

from __future__ import annotations

from spinecore.spine.phantom.film import PhantomFilm, phantom_film, phantom_patient, render
from spinecore.spine.phantom.patients import (
    CURVE_KINDS,
    POSITIONS,
    PhantomPatient,
    random_patient,
    random_spine,
)
from spinecore.spine.phantom.shape import SpineShape, balanced, from_cobb

__all__ = [
    "CURVE_KINDS",
    "POSITIONS",
    "PhantomFilm",
    "PhantomPatient",
    "SpineShape",
    "balanced",
    "from_cobb",
    "phantom_film",
    "phantom_patient",
    "random_patient",
    "random_spine",
    "render",
]
