"""Spine masks: read from a folder, written as 0 / 255 PNG of the film's size."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from spinecore.io.atomic import write_atomic
from spinecore.io.errors import FilmError, UsageError
from spinecore.io.find import FilmSource


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a mask as an 8-bit PNG, 0 outside and 255 inside, atomically."""

    def write(stream: IO[bytes]) -> None:
        Image.fromarray(mask.astype(np.uint8) * 255).save(stream, format="PNG", compress_level=4)

    write_atomic(path, write)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask of 0 and 1, or 0 and 255 (grey values from 128 up count as inside)."""
    try:
        with Image.open(path) as image:
            values = _single_channel(image, path.name)
    except (UnidentifiedImageError, OSError) as error:
        raise FilmError(f"mask {path.name} cannot be read: {error}") from None
    return np.asarray(values > 0 if values.max(initial=0) <= 1 else values >= 128)


def _single_channel(image: Image.Image, name: str) -> NDArray[Any]:
    """Grey values; colour files are taken when their channels agree, as many tools export masks."""
    if image.mode in ("L", "I", "I;16", "F"):
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    values = np.asarray(image.convert("RGB"))
    if (values != values[..., :1]).any():
        raise FilmError(f"mask {name} is in colour; expected grey values 0 and 255")
    return np.asarray(values[..., 0])


def mask_file(folder: Path, source: FilmSource) -> Path:
    """The mask of a film: the film's mirrored path as PNG or TIFF. Raises :class:`FilmError` without one."""
    relative = Path(source.film)
    names = (f"{source.stem}.png", relative.with_suffix(".png").as_posix(), f"{relative.as_posix()}.png")
    more = (f"{relative.name}.png", f"{relative.stem}.png", f"{source.stem}.tif", f"{source.stem}.tiff")
    for name in (*names, *more):
        if (folder / name).is_file():
            return folder / name
    raise FilmError(f"no mask {source.stem}.png in {folder.name}/")


def require_mask_folder(folder: Path) -> None:
    """Raise :class:`UsageError` unless ``folder`` is a folder that holds at least one mask."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; --masks takes a folder of <film stem>.png")
    if not any(path.suffix.lower() in (".png", ".tif", ".tiff") for path in folder.rglob("*")):
        raise UsageError(f"{folder}: holds no mask; expected <film stem>.png of the film's size")
