"""Type of a curve after Lenke (J Bone Joint Surg Am 2001;83:1169), as far as coronal films can tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from spinecore.spine.curves import SEVERITY_CUT_OFFS_DEG, Curve

STRUCTURAL_DEG = 25.0
"""A minor curve that keeps this much on the film bent towards its convexity is structural."""

CLOSE_DEG = 5.0
"""Major curves closer than this could change places: the usual error of measuring an angle by hand."""

_TYPES: dict[tuple[str, frozenset[str]], int] = {
    ("MT", frozenset()): 1,
    ("MT", frozenset({"PT"})): 2,
    ("MT", frozenset({"TL/L"})): 3,
    ("MT", frozenset({"PT", "TL/L"})): 4,
    ("TL/L", frozenset({"PT", "MT"})): 4,
    ("TL/L", frozenset()): 5,
    ("TL/L", frozenset({"MT"})): 6,
}
_KYPHOSIS = {"PT": "T2-T5", "MT": "T10-L2", "TL/L": "T10-L2"}
_REGIONS = {"PT": "PT", "MT": "MT", "TL": "TL/L", "L": "TL/L"}


@dataclass(frozen=True)
class CurveType:
    """What is known of a patient's type.

    major: region of the major curve, "MT" or "TL/L"; "" when there is none of at least 10 degrees.
    coronal: types that agree with the films at hand, by angles alone: a single one when they suffice.
    possible: those that a kyphosis of 20 degrees or more, seen from the side, could still make of them.
    needs: the films that would decide, and other reasons for doubt, in words.
    """

    major: str
    coronal: tuple[int, ...]
    possible: tuple[int, ...]
    needs: tuple[str, ...]


def curve_region(curve: Curve) -> str:
    """Lenke's region of a curve by its apex: "PT", "MT", "TL/L", or "" for unnamed levels."""
    return _REGIONS.get(curve.region, "")


def curve_type(curves: Sequence[Curve], residuals_deg: Mapping[int, float]) -> CurveType:
    """Type from the standing ``curves`` and, by their places, the residual angles towards their convexity.

    The major curve is the largest; where that is a proximal thoracic one, the main thoracic by convention.
    Lumbar and sagittal modifiers are not given: they need sacrum, pedicles and a lateral film.
    """
    regional: dict[str, int] = {}
    for place in sorted(range(len(curves)), key=lambda i: -curves[i].cobb_deg):
        if curves[place].cobb_deg >= SEVERITY_CUT_OFFS_DEG[0]:
            regional.setdefault(curve_region(curves[place]), place)
    if "" in regional:
        return CurveType("", (), (), ("names of the levels",))
    if not regional:
        return CurveType("", (), (), ())
    major = next(iter(regional))
    if major == "PT":
        major = "MT"
    if major not in regional:
        return CurveType("", (), (), ("no type is defined for a proximal thoracic curve without a main one",))
    needs: list[str] = []
    structural: dict[str, tuple[bool, ...]] = {}
    for region in _KYPHOSIS:
        if region == major:
            continue
        structural[region] = _structural(curves, residuals_deg, regional.get(region))
        if len(structural[region]) > 1:
            side = curves[regional[region]].convexity
            needs.append(f"a film bent to {side} for the {region} curve")
    coronal = _types(major, structural)
    possible = _types(major, {region: {*known, True} for region, known in structural.items()})
    if extra := sorted({_KYPHOSIS[r] for r, known in structural.items() if not all(known)}, reverse=True):
        needs.append(f"a lateral film (kyphosis {' and '.join(extra)})")
    if len(coronal) == 0:
        needs.append("no type is defined for structural curves in these regions only")
    others = [curves[place].cobb_deg for region, place in regional.items() if region not in (major, "PT")]
    if others and curves[regional[major]].cobb_deg - max(others) < CLOSE_DEG:
        needs.append(f"major and next curve differ by less than {CLOSE_DEG:g} degrees")
    return CurveType(major, coronal, possible, tuple(needs))


def _structural(
    curves: Sequence[Curve], residuals_deg: Mapping[int, float], place: int | None
) -> tuple[bool, ...]:
    """What a minor curve may be by its angles."""
    if place is None:
        return (False,)
    if place in residuals_deg:
        return (residuals_deg[place] >= STRUCTURAL_DEG,)
    return (False,) if curves[place].cobb_deg < STRUCTURAL_DEG else (False, True)


def _types(major: str, structural: Mapping[str, Sequence[bool] | set[bool]]) -> tuple[int, ...]:
    regions = tuple(structural)
    found = set()
    for choice in product(*(structural[region] for region in regions)):
        chosen = frozenset(region for region, yes in zip(regions, choice, strict=True) if yes)
        if (major, chosen) in _TYPES:
            found.add(_TYPES[major, chosen])
    return tuple(sorted(found))
