"""Geometry of the spine: vertebrae, curves, Cobb angles, translation, flexibility, phantoms. numpy only."""

from __future__ import annotations

from spinecore.spine.aasce import aasce_angles
from spinecore.spine.curve_type import CurveType, curve_type
from spinecore.spine.curves import (
    DEFINITIONS,
    SEVERITY_CUT_OFFS_DEG,
    Alternative,
    Curve,
    cobb_between,
    measure_curves,
    reversal_within_deg,
    severity_of,
)
from spinecore.spine.flexibility import Flexibility, flexibility
from spinecore.spine.levels import LEVELS, region_of
from spinecore.spine.mask_curves import measure_centerline
from spinecore.spine.order import OrderReport, check_order, is_crossed, repair_order
from spinecore.spine.raster import polygon_mask
from spinecore.spine.reading import FilmReading
from spinecore.spine.translation import (
    ApicalTranslation,
    CoronalBalance,
    TrunkShift,
    apical_translation,
    coronal_balance,
    trunk_shift,
)
from spinecore.spine.vertebrae import Vertebrae

__all__ = [
    "DEFINITIONS",
    "LEVELS",
    "SEVERITY_CUT_OFFS_DEG",
    "Alternative",
    "ApicalTranslation",
    "CoronalBalance",
    "Curve",
    "CurveType",
    "FilmReading",
    "Flexibility",
    "OrderReport",
    "TrunkShift",
    "Vertebrae",
    "aasce_angles",
    "apical_translation",
    "check_order",
    "cobb_between",
    "coronal_balance",
    "curve_type",
    "flexibility",
    "is_crossed",
    "measure_centerline",
    "measure_curves",
    "polygon_mask",
    "region_of",
    "repair_order",
    "reversal_within_deg",
    "severity_of",
    "trunk_shift",
]
