"""Files that do not say how large their voxels are: SimpleITK would call each a millimetre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK

from spinecore.io.volume import read_volume, write_mask_volume
from spinecore.io.volume_header import says_spacing
from spinecore.segment.scan import segment_scan
from spinecore.spine.phantom.lumbar import lumbar_phantom

VALUES = np.random.default_rng(0).integers(1, 900, (3, 48, 40)).astype(np.float32)  # slices, rows, columns
META = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    b"TransformMatrix = 0 1 0 0 0 -1 -1 0 0\nDimSize = 40 48 3\n%bElementType = MET_FLOAT\n"
    b"ElementDataFile = LOCAL\n"
)
NRRD = (
    b"NRRD0004\ntype: float\ndimension: 3\nsizes: 40 48 3\nencoding: raw\nendian: little\n"
    b"space: left-posterior-superior\n%b\n"
)
PLACED = b"space directions: (0,0.5,0) (0,0,-0.7) (-3,0,0)\n"


def nifti(path: Path, sizes: tuple[float, float, float]) -> None:
    image = nibabel.Nifti1Image(VALUES.transpose(2, 1, 0), np.eye(4))
    image.set_qform(np.array([[0, 0, 3.0, 0], [-0.5, 0, 0, 0], [0, -0.7, 0, 0], [0, 0, 0, 1.0]]), 1)
    image.set_sform(None, 0)
    nibabel.save(image, path)
    raw, put = path.read_bytes(), np.array(sizes, "<f4").tobytes()
    path.write_bytes(raw[:80] + put + raw[80 + len(put) :])


def test_nifti(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii", (0.5, 0.7, 3.0))
    assert read_volume(tmp_path / "a.nii").spacing == pytest.approx((3.0, 0.7, 0.5))
    nifti(tmp_path / "b.nii", (0.0, 0.0, 0.0))
    volume = read_volume(tmp_path / "b.nii")
    assert volume.spacing is None
    assert np.array_equal(volume.pixels, VALUES) or np.array_equal(volume.pixels, VALUES[::-1])


@pytest.mark.parametrize(
    ("name", "header", "known"),
    [
        ("a.mha", META % b"ElementSpacing = 0.5 0.7 3\n", True),
        ("a.mha", META % b"", False),
        ("a.nrrd", NRRD % PLACED, True),
        (
            "a.nrrd",
            NRRD.replace(b"space: left-posterior-superior\n", b"") % b"spacings: nan nan nan\n",
            False,
        ),
    ],
)
def test_text_headers(name: str, header: bytes, known: bool, tmp_path: Path) -> None:
    # What lies in the file behind the header is no header.
    body = VALUES.copy()
    body.reshape(-1)[:4] = np.frombuffer(b"ElementSpacing = ", np.float32, 4)
    (tmp_path / name).write_bytes(header + np.nan_to_num(body).tobytes())
    assert SimpleITK.ReadImage(str(tmp_path / name)).GetSize() == (40, 48, 3)
    assert says_spacing(tmp_path / name) is known


def test_a_dicom_series_without_pixel_spacing_is_measured_in_pixels(
    write_series: Any, tmp_path: Path
) -> None:
    phantom = lumbar_phantom(3, 256, 208, vertebrae=6)
    planes = [np.round(phantom.pixels * 900) + 1] * 3
    write_series(tmp_path / "s", planes)
    assert read_volume(tmp_path / "s").spacing == pytest.approx((4.0, 0.7, 0.6))
    for file in (tmp_path / "s").iterdir():
        data = pydicom.dcmread(file)
        del data.PixelSpacing
        data.save_as(file)
    volume = read_volume(tmp_path / "s")
    assert volume.spacing is None

    class Known:
        def probabilities(self, pixels: np.ndarray) -> np.ndarray:
            assert pixels.shape == phantom.mask.shape  # not brought to any size
            return np.eye(4, dtype=np.float32)[phantom.mask].transpose(2, 0, 1)

    found = segment_scan(volume, Known())
    heights = {size.level: size.middle for size in found.reading.sizes}
    assert heights["L3"] > 15  # pixels
    write_mask_volume(tmp_path / "m.nii.gz", found.masks, volume)
    assert SimpleITK.ReadImage(str(tmp_path / "m.nii.gz")).GetSize() == volume.origin.GetSize()
