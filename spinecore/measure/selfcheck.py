"""Phantoms through files and landmarks back to angles: the whole way from a film to a known number."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spinecore.io.atomic import write_csv
from spinecore.io.films import read_film
from spinecore.io.find import find_films
from spinecore.io.landmarks import VERTEBRAE_COLUMNS
from spinecore.measure.film import measure_film
from spinecore.measure.readers import LandmarkReader
from spinecore.spine.phantom import PhantomFilm, phantom_film
from spinecore.spine.selfcheck import LIMIT_DEG

FORMATS = ("png8", "png16", "jpeg", "tiff16", "dicom-monochrome2", "dicom-monochrome1")
PIXEL_TOLERANCE = {
    "png8": 0.004,
    "jpeg": 0.02,
}  # mean absolute difference; 0.02 elsewhere for the percentile range
DEFINITIONS = ("srs_endplate", "aasce_midbody")


@dataclass(frozen=True)
class Outcome:
    """One comparison."""

    film: str
    format: str
    what: str
    truth: float
    measured: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Within the tolerance."""
        return abs(self.measured - self.truth) <= self.tolerance


def check_films(count: int, seed: int) -> list[Outcome]:
    """Write ``count`` phantoms, one format after another, read them back and measure them."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="spinecore-selfcheck-") as name:
        folder = Path(name)
        for index in range(count):
            film = phantom_film(seed + index, height=768, width=320)
            outcomes += _check(folder, film, FORMATS[index % len(FORMATS)])
    return outcomes


def _check(folder: Path, film: PhantomFilm, kind: str) -> list[Outcome]:
    path = write_film(folder / f"{film.name}-{kind}", film.pixels, kind)
    corners = [
        (path.name, level, 1.0, *quad.ravel())
        for level, quad in zip(film.vertebrae.levels, film.vertebrae.corners, strict=True)
    ]
    write_csv(folder / "vertebrae.csv", VERTEBRAE_COLUMNS, corners)
    read = read_film(path)
    [source] = find_films([path])
    result = measure_film(source, read, LandmarkReader(folder / "vertebrae.csv"))
    found = [
        Outcome(
            film.name,
            kind,
            definition,
            film.cobb_deg[definition],
            result.curves[definition][0].cobb_deg,
            LIMIT_DEG,
        )
        for definition in DEFINITIONS
    ]
    spread = float(np.abs(_standard(read.pixels) - _standard(film.pixels)).mean())
    return [*found, Outcome(film.name, kind, "grey values", 0.0, spread, PIXEL_TOLERANCE.get(kind, 0.02))]


def _standard(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey values between the 1 and 99 percentiles, clipped: formats may choose their own range."""
    low, high = np.percentile(pixels, [1.0, 99.0])
    return np.asarray(np.clip((pixels - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def write_film(stem: Path, pixels: NDArray[np.float32], kind: str) -> Path:
    """Write pixels (H, W) in 0..1, bone bright, as one of :data:`FORMATS`; returns the path."""
    deep = (pixels * 65535.0 + 0.5).astype(np.uint16)
    if kind.startswith("dicom"):
        path = stem.with_name(stem.name + ".dcm")
        photometric = kind.partition("-")[2].upper()
        _write_dicom(path, deep if photometric == "MONOCHROME2" else 65535 - deep, photometric)
        return path
    suffix = {"png8": ".png", "png16": ".png", "jpeg": ".jpg", "tiff16": ".tif"}[kind]
    path = stem.with_name(stem.name + suffix)
    image = (
        Image.fromarray(deep)
        if kind.endswith("16")
        else Image.fromarray((pixels * 255 + 0.5).astype(np.uint8))
    )
    image.save(path, quality=92)  # heeded by JPEG alone
    return path


def _write_dicom(path: Path, stored: NDArray[np.uint16], photometric: str) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.Modality = "DX"
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = 0
    data.PixelData = stored.tobytes()
    data.save_as(path, enforce_file_format=True)
