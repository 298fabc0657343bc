from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinecore.spine import Curve, curve_type, measure_curves
from spinecore.spine.phantom import from_cobb

LATERAL = "a lateral film (kyphosis T2-T5 and T10-L2)"
SAMPLE = measure_curves(from_cobb((0, 16), (40.0,), "image-right").vertebrae(1000.0, (300.0, 600.0)))[0]
APEX = {"PT": "T3", "MT": "T8", "TL": "T12", "L": "L3"}


def curve(region: str, cobb_deg: float) -> Curve:
    return replace(SAMPLE, cobb_deg=cobb_deg, region=region, apex_level=APEX.get(region, "V3"))


@pytest.mark.parametrize(
    ("standing", "bent", "major", "kind", "possible"),
    [  # standing angles and residuals by region; types as in Lenke's table
        ({"MT": 50}, {}, "MT", (1,), (1, 2, 3, 4)),
        ({"MT": 50, "PT": 30, "L": 35}, {"PT": 10, "L": 12}, "MT", (1,), (1, 2, 3, 4)),
        ({"MT": 50, "PT": 30, "L": 35}, {"PT": 25, "L": 24.9}, "MT", (2,), (2, 4)),
        ({"MT": 60, "L": 50}, {"L": 30}, "MT", (3,), (3, 4)),
        ({"MT": 60, "PT": 40, "TL": 50}, {"PT": 30, "TL": 30}, "MT", (4,), (4,)),
        ({"TL": 45}, {}, "TL/L", (5,), (4, 5, 6)),
        ({"L": 60, "MT": 45}, {"MT": 28}, "TL/L", (6,), (4, 6)),
        ({"L": 60, "MT": 45, "PT": 40}, {"MT": 28, "PT": 26}, "TL/L", (4,), (4,)),
        ({"PT": 45, "MT": 38}, {"PT": 30}, "MT", (2,), (2, 4)),  # proximal largest: the main one is major
        ({"MT": 8}, {}, "", (), ()),
        ({"PT": 30}, {}, "", (), ()),
    ],
)
def test_types(
    standing: dict[str, float],
    bent: dict[str, float],
    major: str,
    kind: tuple[int, ...],
    possible: tuple[int, ...],
) -> None:
    regions = list(standing)
    found = curve_type(
        [curve(region, standing[region]) for region in regions],
        {regions.index(region): residual for region, residual in bent.items()},
    )
    assert (found.major, found.coronal, found.possible) == (major, kind, possible)
    assert (LATERAL in found.needs) == (len(possible) > 1 and kind in ((1,), (5,)))


def test_without_a_bending_film_the_types_it_would_decide_stay_open() -> None:
    found = curve_type([curve("MT", 50.0), curve("L", 30.0)], {})
    assert found.coronal == (1, 3)
    assert "a film bent to image-right for the TL/L curve" in found.needs
    small = curve_type([curve("MT", 50.0), curve("L", 24.0)], {})
    assert small.coronal == (1,)


def test_doubts_are_said() -> None:
    assert curve_type([curve("", 50.0)], {}).needs == ("names of the levels",)
    close = curve_type([curve("MT", 50.0), curve("L", 47.0)], {1: 30.0})
    assert close.needs[-1] == "major and next curve differ by less than 5 degrees"
    # proximal and lumbar structural, main thoracic not: Lenke's table has no such type
    odd = curve_type([curve("L", 60.0), curve("MT", 40.0), curve("PT", 40.0)], {1: 10.0, 2: 30.0})
    assert odd.coronal == ()
    assert odd.needs[-1] == "no type is defined for structural curves in these regions only"


@given(
    st.lists(st.tuples(st.sampled_from(list(APEX)), st.floats(0, 120)), max_size=5),
    st.dictionaries(st.integers(0, 4), st.floats(-40, 120)),
)
def test_what_a_lateral_film_could_add_never_takes_away(
    standing: list[tuple[str, float]], residuals: dict[int, float]
) -> None:
    curves = [curve(*entry) for entry in standing]
    found = curve_type(curves, residuals)
    assert set(found.coronal) <= set(found.possible)
    known = curve_type(curves, {**dict.fromkeys(range(5), 0.0), **residuals})
    assert set(known.coronal) <= set(found.coronal)
    assert len(known.coronal) <= 1
