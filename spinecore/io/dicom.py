"""DICOM radiographs: modality LUT, VOI LUT or window, then MONOCHROME1 inversion (order of PS3.4 N.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinecore.io.errors import FilmError
from spinecore.io.film import Film, robust_range, scale_unit

# Radiographs, scanned films, and files that do not say what they are.
FILM_MODALITIES = ("", "CR", "DX", "RF", "RG", "XA", "SC", "OT")
LATERAL_VIEWS = ("LL", "RL", "LAT", "LATERAL")
# Terms of PS3.16 annex L for parts without a thoracic or lumbar spine; others are many, and often free text.
OTHER_PARTS = (
    "ANKLE", "ARM", "BRAIN", "BREAST", "CALCANEUS", "CLAVICLE", "ELBOW", "EXTREMITY", "FACE", "FEMUR",
    "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HUMERUS", "JAW", "KNEE", "LEG", "PATELLA", "RADIUS",
    "SCAPULA", "SHOULDER", "SKULL", "TIBIA", "TIBIAFIBULA", "TOE", "ULNA", "WRIST", "ZYGOMA",
)  # fmt: skip
# Of the middle of a film; a narrow window may make a part black or white, but not nearly all of it. Ours.
MOST_SATURATED = 0.6


def read_dicom(path: Path) -> Film:
    """Read one DICOM film; identity tags are never read. Raises :class:`FilmError` with reason and remedy."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return _film(path, pydicom.dcmread(path))
    except FilmError:
        raise
    except InvalidDicomError:
        raise FilmError("not a DICOM file (no DICM preamble)") from None
    except MemoryError:
        raise FilmError("needs more memory than is free to decode") from None
    except Exception as error:
        # pydicom parses an element when it is first asked for and raises whatever its bytes provoke.
        raise FilmError(f"the DICOM file is damaged or cut short: {error}; export the film again") from error


def _film(path: Path, dataset: Any) -> Film:
    """The film in a parsed dataset."""
    photometric = _require_plain_film(dataset)
    stored = _decode(dataset)
    flags: list[str] = []
    pixels = _display_values(dataset, stored, photometric == "MONOCHROME1", flags)
    shape = str(dataset.get("PresentationLUTShape", "") or "")
    if (photometric, shape) in (("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")):
        flags.append("presentation-lut-conflict")
    if str(dataset.get("BodyPartExamined", "") or "").strip().upper() in OTHER_PARTS:
        flags.append("body-part-other")
    spacing, source = _spacing(dataset)
    aspect = _pixel_aspect(dataset)
    if aspect != 1.0:
        flags.append("non-square-pixels")
    return Film(
        path,
        pixels,
        spacing_mm=spacing,
        spacing_source=source,
        pixel_aspect=aspect,
        view=str(dataset.get("ViewPosition", "") or "") or None,
        image_right_is=_image_right(dataset),
        flags=tuple(flags),
    )


def _require_plain_film(dataset: Any) -> str:
    modality = str(dataset.get("Modality", "") or "").strip().upper()
    if "PixelData" not in dataset:
        kind = modality or "unknown modality"
        raise FilmError(f"the DICOM object ({kind}) holds no pixel data; export the image itself")
    if modality not in FILM_MODALITIES:
        raise FilmError(
            f"Modality is {modality}, no radiograph; give frontal X-ray films"
            + (" (`spinecore segment` takes lumbar MRI)" if modality == "MR" else "")
        )
    if lateral := _lateral(dataset):
        raise FilmError(f"a lateral film ({lateral}); angles are measured on frontal films (AP or PA)")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise FilmError(f"multi-frame DICOM with {frames} frames; export the film as a single frame")
    photometric = str(dataset.get("PhotometricInterpretation", "") or "missing")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise FilmError(f"photometric interpretation is {photometric}; expected MONOCHROME1 or MONOCHROME2")
    return photometric


def _lateral(dataset: Any) -> str | None:
    """What says that the film is lateral. LLD and RLD are frontal films of a patient who lies on the side."""
    view = str(dataset.get("ViewPosition", "") or "").strip().upper()
    if view in LATERAL_VIEWS:
        return f"ViewPosition {view}"
    orientation = dataset.get("PatientOrientation")
    row = str(orientation[0]).strip().upper() if orientation else ""
    return f"PatientOrientation {row} along the rows" if row[:1] in ("A", "P") and row else None


def _decode(dataset: Any) -> NDArray[Any]:
    from pydicom.uid import UID

    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    try:
        stored: NDArray[Any] = np.asarray(dataset.pixel_array)
        return stored
    except MemoryError:
        raise
    except Exception as error:
        # The decoders raise whatever the codec raises; every one becomes a reason.
        if isinstance(syntax, UID) and syntax.is_transfer_syntax and syntax.is_compressed:
            raise FilmError(
                f"compressed DICOM, transfer syntax {syntax.name} ({syntax}), could not be decoded here; "
                "install the extra: pip install 'spinecore-torch[dicom]', or export it uncompressed"
            ) from error
        raise FilmError(f"pixel data cannot be decoded: {error}; export the film again") from error


def _display_values(
    dataset: Any, stored: NDArray[Any], bone_dark: bool, flags: list[str]
) -> NDArray[np.float32]:
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    for name in ("RescaleSlope", "RescaleIntercept"):
        value = dataset.get(name, 0.0)
        if not isinstance(value, (int, float)) or not np.isfinite(value):
            raise FilmError(f"{name} is {value!r}, not a finite number; export the film again")
    if stored.ndim != 2:
        raise FilmError(f"pixel data has {stored.ndim} dimensions; expected one grey image")
    values = _without_padding(dataset, stored)
    values = np.asarray(apply_modality_lut(values, dataset))
    views = _views(dataset)
    cut = False
    for index in range(views):
        try:
            shown = np.asarray(apply_voi_lut(values, dataset, index=index), dtype=np.float64)
            low, high = float(shown.min()), float(shown.max())
        except Exception:  # noqa: BLE001, S112 - a broken window is no reason to lose the film: it is flagged
            continue
        if not (np.isfinite((low, high)).all() and high > low):
            continue  # broken, or beside the data, which leaves a blank image
        if _saturated(shown, low, high) <= MOST_SATURATED:
            if cut:
                flags.append("window-cuts-film")
            return scale_unit(shown, low, high, invert=bone_dark)
        cut = True
    if views:
        flags.append("window-cuts-film" if cut else "voi-unusable")
    low, high = robust_range(values)
    return scale_unit(values, low, high, invert=bone_dark)


def _views(dataset: Any) -> int:
    """Windows or lookup tables in the file; tables come first, as in ``apply_voi_lut``."""
    keyword = next((name for name in ("VOILUTSequence", "WindowCenter") if name in dataset), None)
    found = None if keyword is None else dataset[keyword].value
    if keyword is None:
        return 0
    return max(len(found), 1) if isinstance(found, Sequence) and not isinstance(found, str) else 1


def _saturated(shown: NDArray[np.float64], low: float, high: float) -> float:
    """Share of black and white pixels in the middle, where the spine is: beside it air may well be black."""
    height, width = shown.shape
    middle = shown[height // 8 : height - height // 8, width // 4 : width - width // 4]
    return float(np.mean((middle <= low) | (middle >= high)))


def _without_padding(dataset: Any, stored: NDArray[Any]) -> NDArray[Any]:
    """Padding outside the collimator may lie far outside the film's values: make it the film's darkest."""
    padding = dataset.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return stored
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((padding, limit if isinstance(limit, int) else padding))
    outside = (stored >= ends[0]) & (stored <= ends[1])
    if not outside.any() or outside.all():
        return stored
    inside = stored[~outside]
    dark = inside.max() if dataset.get("PhotometricInterpretation") == "MONOCHROME1" else inside.min()
    cleaned = stored.copy()
    cleaned[outside] = dark
    return cleaned


def _pair(dataset: Any, keyword: str) -> tuple[float, float] | None:
    value = dataset.get(keyword)
    try:
        rows, columns = (float(part) for part in value)
    except (TypeError, ValueError):
        return None
    return (rows, columns) if rows > 0 and columns > 0 else None


def _pixel_aspect(dataset: Any) -> float:
    """Height of a pixel over its width; 1 where the file says nothing, nonsense, or within a percent of 1."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        if (pair := _pair(dataset, keyword)) is not None:
            aspect = pair[0] / pair[1]
            return aspect if abs(aspect - 1.0) >= 0.01 and 0.2 <= aspect <= 5.0 else 1.0
    return 1.0


def _spacing(dataset: Any) -> tuple[float | None, str]:
    """(mm from row to row in the patient or None, where it comes from)."""
    detector = _pair(dataset, "ImagerPixelSpacing")
    patient = _pair(dataset, "PixelSpacing")
    if patient is not None and patient != detector:
        how = str(dataset.get("PixelSpacingCalibrationType", "") or "calibration not stated")
        return patient[0], f"PixelSpacing ({how})"
    if detector is None:
        return None, "none"
    magnification = dataset.get("EstimatedRadiographicMagnificationFactor")
    if magnification is not None and float(magnification) >= 1.0:
        factor = float(magnification)
        return detector[0] / factor, f"ImagerPixelSpacing / magnification {factor:g}"
    return None, f"ImagerPixelSpacing {detector[0]:g} mm at the detector only, no patient millimetres"


def _image_right(dataset: Any) -> str | None:
    orientation = dataset.get("PatientOrientation")
    row = str(orientation[0]) if orientation else ""
    if row.startswith("L"):
        return "patient-left"
    return "patient-right" if row.startswith("R") else None
