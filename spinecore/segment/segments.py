"""What the numbers of a run's masks are called in DICOM: SNOMED CT (PS3.16, CID 7603 and 7604)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from spinecore.io.dicom_seg import Segment
from spinecore.segment.instances import CANAL_LABEL, FIRST_DISC, POSTERIOR
from spinecore.spine.lumbar.column import CANAL, DISCS, VERTEBRAE
from spinecore.spine.lumbar.levels import UPWARDS

_CANAL = Segment("spinal canal", "61853006", "Spinal canal structure")
STRUCTURES: Mapping[int, Segment] = MappingProxyType(
    {
        VERTEBRAE: Segment("vertebrae", "51282000", "Vertebra"),
        DISCS: Segment("discs", "360499006", "Intervertebral disc"),
        CANAL: _CANAL,
    }
)
_CODES = {  # vertebra, and the disc below it
    "L5": ("49668003", "715056000"),
    "L4": ("11994002", "84020006"),
    "L3": ("36470004", "62551000"),
    "L2": ("14293000", "67459009"),
    "L1": ("66794005", "80064006"),
    "T12": ("23215003", "76206002"),
    "T11": ("12989004", "1537001"),
    "T10": ("7610001", "34959001"),
    "T9": ("82687006", "113209001"),
    "T8": ("11068009", "9188009"),
    "T7": ("62487009", "28693002"),
    "T6": ("45296009", "74401007"),
}


def _instances() -> dict[int, Segment]:
    found = {CANAL_LABEL: _CANAL, POSTERIOR: Segment("posterior elements", "51282000", "Vertebra")}
    for place, name in enumerate(UPWARDS):
        below = UPWARDS[place - 1] if place else "S1"
        vertebra, disc = _CODES[name]
        found[1 + place] = Segment(name, vertebra, f"{name} vertebra")
        found[FIRST_DISC + place] = Segment(f"{name}/{below}", disc, f"{name}/{below} intervertebral disc")
    return found


INSTANCES: Mapping[int, Segment] = MappingProxyType(_instances())
