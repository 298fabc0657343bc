"""What is known about one scan after its segmentation, and its JSON form (schema ``spinecore.scan/1``)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from spinecore.spine.lumbar.measures import Size

SCHEMA = "spinecore.scan/1"
SEGMENTED, FAILED = "segmented", "failed"
DOUBT_OF_UNKNOWN = 1.5


@dataclass(frozen=True)
class ScanResult:
    """One row of scans.csv with all that belongs to it; masks lie beside it, not in the JSON.

    spacing: mm between slices, rows and columns, None where the file does not say; then sizes are in pixels.
    measured_slice: from 0, from the patient's right: where levels and sizes were taken from. certainty: mean
    probability of the pixels of each structure; agreement: figures against a reference mask.
    """

    scan: str
    stem: str
    status: str  # "segmented" | "failed"
    reason: str = ""
    flags: tuple[str, ...] = ()
    slices: int = 0
    height: int = 0
    width: int = 0
    spacing: tuple[float, float, float] | None = None
    measured_slice: int = 0
    body_levels: tuple[str, ...] = ()
    disc_levels: tuple[str, ...] = ()
    level_confidence: float = 0.0
    level_doubts: tuple[str, ...] = ()
    sizes: tuple[Size, ...] = ()
    certainty: dict[str, float] = field(default_factory=dict)
    agreement: dict[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    sha256: str = ""
    resume_key: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    overlay_scale: float = 0.0

    @property
    def film(self) -> str:
        """Name for the progress bar."""
        return self.scan

    @property
    def measured(self) -> bool:
        """Whether the scan has masks."""
        return self.status == SEGMENTED

    @property
    def unit(self) -> str:
        """Of the sizes."""
        return "px" if self.spacing is None else "mm"

    @property
    def discs(self) -> tuple[Size, ...]:
        """Sizes of the discs, from the top down."""
        return tuple(size for size in self.sizes if size.kind == "disc")

    @property
    def bodies(self) -> tuple[Size, ...]:
        """Sizes of the vertebral bodies, from the top down."""
        return tuple(size for size in self.sizes if size.kind == "vertebra")

    @property
    def doubt(self) -> float:
        """Sort key of the report, largest first: unknown levels, doubts about them, uncertain masks."""
        certain = min(self.certainty.values(), default=0.0)
        unknown = DOUBT_OF_UNKNOWN if self.level_confidence == 0 else 1.0 - self.level_confidence
        return unknown + (1.0 - certain)


def to_json(result: ScanResult) -> dict[str, Any]:
    """The JSON record of a scan. Holds no patient identity beyond the scan's own file name."""
    return {"schema": SCHEMA, **dataclasses.asdict(result)}


def from_json(record: dict[str, Any]) -> ScanResult:
    """Inverse of :func:`to_json`; ValueError for another schema, KeyError or TypeError for a torn record."""
    if record.get("schema") != SCHEMA:
        raise ValueError(f"schema {record.get('schema')!r}, expected {SCHEMA!r}")
    values = {part.name: record[part.name] for part in dataclasses.fields(ScanResult)}
    for name in ("flags", "body_levels", "disc_levels", "level_doubts"):
        values[name] = tuple(values[name])
    values["spacing"] = None if values["spacing"] is None else tuple(values["spacing"])
    values["sizes"] = tuple(Size(**{**size, "centre": tuple(size["centre"])}) for size in values["sizes"])
    return ScanResult(**values)
