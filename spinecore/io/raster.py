"""PNG, JPEG and TIFF films: 8, 16 and 32 bit, grey or colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from spinecore.io.errors import FilmError
from spinecore.io.film import Film, robust_range, scale_unit

_PHOTOMETRIC = 262  # TIFF tag; 0 = white is zero
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_UNEVEN = 0.02  # share by which resolutions differ that are not meant to be equal
_COLOUR_TOLERANCE = 12.0  # mean channel spread in grey levels below which a colour file is a grey film


def read_raster(path: Path) -> Film:
    """Read a PNG, JPEG or TIFF. Raises :class:`FilmError` with the reason and the remedy."""
    try:
        with Image.open(path) as image:
            return _film(path, image)
    except FilmError:
        raise
    except UnidentifiedImageError:
        kind = path.suffix or path.name
        raise FilmError(
            f"not a PNG, JPEG, TIFF, BMP, WebP, JPEG 2000, PGM or DICOM image although it is named {kind}"
        ) from None
    except Image.DecompressionBombError as error:
        raise FilmError(f"too large to be a radiograph ({error})") from None
    except MemoryError:
        raise FilmError("needs more memory than is free to decode") from None
    except Exception as error:  # Pillow's decoders raise every kind on damaged files; each becomes a reason
        reason = f"cannot be decoded: {error}; the file is damaged or cut short, export it again"
        raise FilmError(reason) from error


def _film(path: Path, image: Image.Image) -> Film:
    flags: list[str] = []
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1:
        raise FilmError(f"holds {frames} pages or frames; export the film alone as a single image")
    white_is_zero = image.format == "TIFF" and _tiff_photometric(image) == 0
    image.load()
    if _uneven(image.info.get("dpi") or image.info.get("aspect")):
        flags.append("resolution-uneven")
    if image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1):
        image = ImageOps.exif_transpose(image)
        flags.append("exif-rotated")
    deep = image.mode in DEEP_MODES
    pixels = _deep(np.asarray(image), white_is_zero) if deep else _shallow(image, flags)
    return Film(path, pixels, flags=tuple(flags))


def _uneven(resolution: tuple[float, float] | None) -> bool:
    """Whether the file says that its pixels are not square. Scanners and programs write it wrongly too often
    to stretch the film by it; who reads the flag can.
    """
    if resolution is None or min(resolution) <= 0:
        return False
    across, down = (float(value) for value in resolution)
    return abs(across - down) > _UNEVEN * max(across, down)


def _tiff_photometric(image: Image.Image) -> int | None:
    tags = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(_PHOTOMETRIC)


def _deep(values: NDArray[Any], white_is_zero: bool) -> NDArray[np.float32]:
    if values.dtype.kind == "f" and not bool(np.isfinite(values).all()):
        raise FilmError("holds NaN or infinite pixels; replace them before measuring")
    low, high = robust_range(values)
    # Pillow undoes white-is-zero for 8-bit TIFF only.
    return scale_unit(values, low, high, invert=white_is_zero)


def _shallow(image: Image.Image, flags: list[str]) -> NDArray[np.float32]:
    if image.mode == "1":
        raise FilmError("is a black-and-white (1 bit) image; a mask is no film, give it with --masks")
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if int(np.asarray(rgba.getchannel("A")).min()) < 255:
            flags.append("transparency-ignored")
        image = rgba.convert("RGB")
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    if image.mode == "RGB":
        small = np.asarray(image.reduce(max(1, min(image.size) // 256)), dtype=np.float32)
        if float(np.mean(small.max(axis=2) - small.min(axis=2))) > _COLOUR_TOLERANCE:
            flags.append("colour-image")
        image = image.convert("L")
    return scale_unit(np.asarray(image), 0.0, 255.0)
