"""Sagittal slices from pictures, NIfTI, MHA and DICOM series, and masks back in the geometry they came from.

Inside, slices lie as radiologists read them: front to the left, head up, one behind the other. Volumes are
turned there by exchanging and flipping axes alone, never resampled: a mask goes back voxel by voxel, also to
an oblique volume.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinecore.io.errors import FilmError, UsageError
from spinecore.io.find import (
    DICOM_SUFFIXES,
    RESULT_FOLDERS,
    has_dicom_preamble,
    holds_results,
    relative_name,
    root_labels,
    unique_stems,
)
from spinecore.io.raster import DEEP_MODES
from spinecore.io.volume_header import says_spacing

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
VOLUMES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
SAGITTAL = "PIL"
"""Columns towards the back, rows downwards, slices to the left."""
LEAST = 32
"""Pixels of a slice, each way."""
INSTALL = "needs SimpleITK: pip install 'spinecore-torch[mri]'"


@dataclass(frozen=True)
class Volume:
    """Slices (S, H, W) float32; spacing in mm between slices, rows and columns, None where the file
    does not say.

    origin holds what is needed to write a mask back; None for pictures. files: of a DICOM series, one a
    slice, in the order of origin's last axis.
    """

    pixels: NDArray[np.float32]
    spacing: tuple[float, float, float] | None
    origin: Any = None
    files: tuple[Path, ...] = ()

    @property
    def in_plane(self) -> tuple[float, float]:
        """Millimetres down and across a pixel, or 1 where unknown."""
        return (1.0, 1.0) if self.spacing is None else self.spacing[1:]


@dataclass(frozen=True)
class VolumeSource:
    """A file, or a folder that holds a DICOM series, and the name of its results."""

    path: Path
    name: str
    stem: str


def suffix_of(path: Path) -> str:
    """Its suffix in small letters, two of them for ``.nii.gz``."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def read_volume(path: Path) -> Volume:
    """Read a picture, a volume, or a folder with one DICOM series. Raises FilmError with the reason."""
    if not path.is_dir() and suffix_of(path) in PICTURES:
        return _read_picture(path)
    return _read_image(path)


def _read_picture(path: Path) -> Volume:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            frames = int(getattr(image, "n_frames", 1))
            if frames > 1:
                raise FilmError(f"holds {frames} pictures; give one slice a file, or a volume")
            shown = ImageOps.exif_transpose(image)
            grey = shown if shown.mode in ("L", *DEEP_MODES) else shown.convert("L")
            pixels = np.asarray(grey, dtype=np.float32)
    except FileNotFoundError:
        raise FilmError("is missing") from None
    except UnidentifiedImageError:
        raise FilmError("not a readable picture (damaged, or of another format); export it again") from None
    except FilmError:
        raise
    except (OSError, ValueError, SyntaxError) as e:
        raise FilmError(f"not a readable picture ({e}); export it again") from None
    return Volume(_checked(pixels[None]), None)


def _itk() -> Any:
    try:
        import SimpleITK
    except ImportError:
        raise FilmError(f"reading volumes {INSTALL}") from None
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # type: ignore[no-untyped-call]
    return SimpleITK


def _read_image(path: Path) -> Volume:
    itk = _itk()
    files: Sequence[str] = ()
    if not path.is_dir() and suffix_of(path) in (".nii", ".nii.gz"):
        _check_length(path)
    try:
        if path.is_dir():
            series = itk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
            if len(series) != 1:
                raise FilmError(f"holds {len(series)} DICOM series; give a folder with one")
            files = itk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0])
            image = itk.ReadImage(files, itk.sitkFloat32)
        else:
            image = itk.ReadImage(str(path), itk.sitkFloat32)
    except RuntimeError as e:
        reason = str(e).strip().splitlines()[-1].strip()[-200:]
        raise FilmError(f"not a readable volume ({reason}); export it again") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise FilmError(f"has {image.GetDimension()} dimensions; give one volume of grey values")
    turned = itk.DICOMOrient(image, SAGITTAL)
    columns, rows, slices = turned.GetSpacing()
    sizes = (slices, rows, columns) if says_spacing(Path(files[0]) if files else path) else None
    pixels = itk.GetArrayFromImage(turned)
    if min(pixels.shape[1:]) < LEAST:
        height, width = pixels.shape[1:]
        raise FilmError(
            f"its sagittal slices are {width} x {height} pixels, at least {LEAST} each way are needed: it "
            f"was not acquired sagittally, or its file does not say how it lies"
        )
    whole = tuple(Path(file) for file in files) if len(files) == image.GetSize()[2] else ()
    return Volume(_checked(pixels), sizes, image, whole)


def _check_length(path: Path) -> None:
    """FilmError for a NIfTI file cut short: it would be read with zeros for the rest."""
    opened = gzip.open if suffix_of(path) == ".nii.gz" else open
    try:
        with opened(path, "rb") as stream:
            header = stream.read(348)
            order = "<" if header[:4] == b"\\\x01\x00\x00" else ">"
            if len(header) < 348 or struct.unpack(f"{order}i", header[:4])[0] != 348:
                return  # NIfTI-2 or no NIfTI at all: the reader says so
            dims = struct.unpack(f"{order}8h", header[40:56])
            bits = struct.unpack(f"{order}h", header[72:74])[0]
            start = struct.unpack(f"{order}f", header[108:112])[0]
            wanted = int(start) + bits // 8 * int(np.prod([max(1, n) for n in dims[1 : dims[0] + 1]]))
            length = len(header)
            while block := stream.read(1 << 20):
                length += len(block)
    except (EOFError, OSError, zlib.error) as error:
        raise FilmError(f"not a readable volume ({error}); copy it again") from None
    if length < wanted:
        raise FilmError(f"not a readable volume (cut short: {length} of {wanted} bytes); copy it again")


def _checked(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    if pixels.size == 0 or min(pixels.shape[1:]) < LEAST:
        raise FilmError(f"slices are {pixels.shape[1:]} pixels; at least {LEAST} each way are needed")
    if not np.isfinite(pixels).all():
        raise FilmError("holds values that are no numbers; export it again")
    if float(np.ptp(pixels)) == 0:
        raise FilmError("is blank: every pixel has the same value")
    return pixels


def write_mask_volume(path: Path, mask: NDArray[np.uint8], volume: Volume) -> None:
    """Write a mask (S, H, W) in the geometry of the file that `volume` was read from; the suffix says how."""
    itk = _itk()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".writing-{path.name}")
    itk.WriteImage(_turned_back(itk, mask, volume), str(partial), True)
    partial.replace(path)


def in_source_order(mask: NDArray[np.uint8], volume: Volume) -> NDArray[np.uint8]:
    """A mask (S, H, W) with the axes of the file: last axis first, as SimpleITK gives arrays."""
    itk = _itk()
    turned: NDArray[np.uint8] = itk.GetArrayFromImage(_turned_back(itk, mask, volume))
    return turned


def _turned_back(itk: Any, mask: NDArray[np.uint8], volume: Volume) -> Any:
    image = itk.GetImageFromArray(mask)
    image.CopyInformation(itk.DICOMOrient(volume.origin, SAGITTAL))
    code = itk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(volume.origin.GetDirection())
    back = itk.DICOMOrient(image, code)
    back.CopyInformation(volume.origin)
    return back


def find_volumes(paths: Sequence[Path], exclude: Path | None = None) -> list[VolumeSource]:
    """Pictures and volumes under `paths`, and folders of DICOM files as one series each; sorted by name.

    Names are relative to the given folders, of several with the folder's name before them. Masks and overlays
    of earlier runs are left out. Raises UsageError for a path that does not exist.
    """
    roots: list[Path] = []
    found: dict[Path, tuple[Path, Path]] = {}
    barred = None if exclude is None else exclude.resolve()
    for given in paths:
        if not given.exists():
            raise UsageError(f"{given}: no such file or folder")
        root = given if given.is_dir() else given.parent
        roots.append(root)
        files = sorted(p for p in given.rglob("*") if p.is_file()) if given.is_dir() else [given]
        results = _results_below(given) if given.is_dir() else set()
        for file in files:
            if not results.isdisjoint(file.parents):
                continue
            if (barred is not None and barred in file.resolve().parents) or file.name.startswith("."):
                continue
            if suffix_of(file) in PICTURES + VOLUMES:
                found.setdefault(file.resolve(), (root, file))
            elif _is_dicom(file):
                found.setdefault(file.parent.resolve(), (root, file.parent))
    labels = root_labels(roots)
    names = [_name(place, root, labels[root.resolve()]) for root, place in found.values()]
    places = [place for _, place in found.values()]
    stems = unique_stems(names, _stem)
    sources = [VolumeSource(p, n, s) for p, n, s in zip(places, names, stems, strict=True)]
    return sorted(sources, key=lambda source: source.name)


def _results_below(folder: Path) -> set[Path]:
    """Folders that earlier runs have filled, wherever below ``folder`` they wrote."""
    runs = [record.parent for record in folder.rglob("run.json") if holds_results(record.parent)]
    return {run / name for run in runs for name in RESULT_FOLDERS}


def _name(place: Path, root: Path, label: str) -> str:
    if place == root:  # a given folder that is a series
        return label or place.resolve().name
    return relative_name(place, root, label)


def _is_dicom(file: Path) -> bool:
    """By its suffix; archives export files without one, or with a number that looks like one. The DICOMDIR of
    a disc is a table of contents.
    """
    if file.name.upper() == "DICOMDIR":
        return False
    suffix = suffix_of(file)
    return suffix in DICOM_SUFFIXES or ((suffix == "" or suffix[1:].isdigit()) and has_dicom_preamble(file))


def _stem(name: str) -> str:
    suffix = suffix_of(Path(name))
    return name[: -len(suffix)] if suffix in PICTURES + VOLUMES else name
