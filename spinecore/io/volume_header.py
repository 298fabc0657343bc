"""Whether a volume's file says how large its voxels are: SimpleITK takes 1 mm where it does not."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

LONGEST_TEXT = 1 << 16
"""Bytes; text headers end long before."""
NIFTI, PIXDIM = 348, 80
"""Bytes of a NIfTI-1 header, and where the three sizes of a voxel start in it."""
GROUPS = "SharedFunctionalGroupsSequence"


def says_spacing(path: Path) -> bool:
    """For NIfTI, MetaImage, NRRD, and one file of a DICOM series; True for what is none of them.

    `path` has been read before: a damaged header is no case.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _nifti(path)
    if name.endswith((".mha", ".mhd")):
        return any(line.startswith((b"ElementSpacing", b"ElementSize")) for line in _lines(path))
    if name.endswith(".nrrd"):
        fields = [
            line.lower() for line in _lines(path) if line.startswith((b"spacings:", b"space directions:"))
        ]
        return any(b"nan" not in field for field in fields)
    return _dicom(path)


def _nifti(path: Path) -> bool:
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as stream:
        header = stream.read(NIFTI)
    for order in "<>":
        if len(header) == NIFTI and struct.unpack(f"{order}i", header[:4])[0] == NIFTI:
            return all(
                math.isfinite(mm) and mm > 0 for mm in struct.unpack_from(f"{order}3f", header, PIXDIM)
            )
    return True


def _lines(path: Path) -> list[bytes]:
    with path.open("rb") as stream:
        text = stream.read(LONGEST_TEXT).replace(b"\r\n", b"\n")
    if path.suffix.lower() == ".nrrd":
        return text.split(b"\n\n", 1)[0].split(b"\n")
    return text.split(b"ElementDataFile", 1)[0].split(b"\n")


def _dicom(path: Path) -> bool:
    """PixelSpacing at the top, or within the functional groups of an enhanced image."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PixelSpacing", GROUPS])
    except InvalidDicomError:
        return True
    return bool(data.get("PixelSpacing")) or GROUPS in data
