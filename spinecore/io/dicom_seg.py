"""Masks as DICOM Segmentation objects, which refer to the series that they belong to."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spinecore.io.errors import FilmError, UsageError
from spinecore.io.volume import Volume, in_source_order

INSTALL = "DICOM SEG needs highdicom: pip install 'spinecore-torch[dicom]'"
_WANTED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)
"""Attributes that every image has, if empty; anonymisers leave some out."""


class Segment(NamedTuple):
    """What a number in a mask stands for: a label, and a concept of SNOMED CT."""

    label: str
    code: str
    meaning: str


def require_highdicom() -> Any:
    """The package. Raises UsageError where it is not installed."""
    try:
        import highdicom
        import highdicom.seg
    except ImportError:
        raise UsageError(INSTALL) from None
    return highdicom


def write_dicom_seg(
    path: Path, mask: NDArray[np.uint8], volume: Volume, segments: Mapping[int, Segment], software: str
) -> None:
    """Write a mask (S, H, W) of `volume`, a DICOM series, as binary segments: those of `segments` it holds.

    Planes are those of the series, so that every viewer lays them over it. Patient and study are the series'.

    Raises:
        FilmError: `volume` is no series with one file a slice, or its files lack what a segmentation
            refers to.

    """
    highdicom = require_highdicom()
    if not volume.files:
        raise FilmError("is no DICOM series with one file a slice: a DICOM SEG has nothing to refer to")
    planes = in_source_order(mask, volume)
    numbers = [number for number in segments if (planes == number).any()]
    if not numbers:
        raise FilmError("its mask is empty: a DICOM SEG holds at least one segment")
    stack = np.stack([planes == number for number in numbers], -1).astype(np.uint8)
    release = version("spinecore-torch")
    try:
        found = highdicom.seg.Segmentation(
            source_images=[_header(file) for file in volume.files],
            pixel_array=stack,
            segmentation_type="BINARY",
            segment_descriptions=_described(highdicom, [segments[n] for n in numbers], software, release),
            series_instance_uid=highdicom.UID(),
            series_number=100,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="spinecore",
            manufacturer_model_name=software,
            software_versions=release,
            device_serial_number="0",
        )
    except (AttributeError, ValueError, TypeError) as error:
        raise FilmError(f"its series cannot be referred to by a DICOM SEG: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".writing-{path.name}")
    found.save_as(partial)
    partial.replace(path)


def _header(file: Path) -> Any:
    import pydicom

    dataset = copy.copy(pydicom.dcmread(file, stop_before_pixels=True))
    for name in _WANTED:
        if name not in dataset:
            setattr(dataset, name, "")
    return dataset


def _described(highdicom: Any, segments: Sequence[Segment], software: str, release: str) -> list[Any]:
    structure = highdicom.sr.CodedConcept("91723000", "SCT", "Anatomical Structure")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=software,
        version=release,
        family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
    )
    return [
        highdicom.seg.SegmentDescription(
            segment_number=n,
            segment_label=segment.label,
            segmented_property_category=structure,
            segmented_property_type=highdicom.sr.CodedConcept(segment.code, "SCT", segment.meaning[:64]),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for n, segment in enumerate(segments, 1)
    ]
