"""Spine masks: read from a folder, written as 0 / 255 PNG of the film's size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from spinecore.io.atomic import write_atomic
from spinecore.io.errors import FilmError, UsageError
from spinecore.io.find import FilmSource, film_stem


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a mask as an 8-bit PNG, 0 outside and 255 inside, atomically."""

    def write(stream: IO[bytes]) -> None:
        Image.fromarray(mask.astype(np.uint8) * 255).save(stream, format="PNG", compress_level=4)

    write_atomic(path, write)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask of 0 and 1, or 0 and 255 (grey values from 128 up count as inside).

    Raises :class:`FilmError` for what is no such mask, label maps among them.
    """
    try:
        with Image.open(path) as image:
            values = _single_channel(image, path.name)
    except (UnidentifiedImageError, OSError) as error:
        raise FilmError(f"mask {path.name} cannot be read: {error}") from None
    highest = values.max(initial=0)
    if 1 < highest < 128:  # labels, which a threshold of 128 would take for an empty mask
        raise FilmError(
            f"mask {path.name} holds values {values.min():g}..{highest:g}; "
            "expected 0 and 1, or 0 and 255 (save label > 0)"
        )
    return np.asarray(values > 0 if highest <= 1 else values >= 128)


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


class MaskFolder:
    """Masks of films: each film's mirrored path as PNG or TIFF, named like the masks that a run writes.

    A mask named by the film's name alone, or by a stem that several films share, serves where exactly one
    film of ``run`` (all films to be measured) would use it: two patients' films often have the same name.
    Raises :class:`UsageError` unless ``folder`` is a folder that holds at least one mask.
    """

    def __init__(self, folder: Path, run: Sequence[FilmSource] = ()) -> None:
        require_mask_folder(folder)
        self.folder = folder
        self._users: dict[str, list[str]] = {}
        for source in run:
            if (name := self._name(source)) is not None:
                self._users.setdefault(name, []).append(source.film)

    def find(self, source: FilmSource) -> Path:
        """The mask of a film. Raises :class:`FilmError` without one, or when it could be another film's."""
        name = self._name(source)
        if name in _own_names(source):
            return self.folder / name
        users = self._users.get(name or "", [])
        if name is None or source.film not in users:
            raise FilmError(f"no mask {source.stem}.png in {self.folder.name}/")
        others = [user for user in users if user != source.film]
        if others:
            more = f" or {len(others) - 1} more" if len(others) > 1 else ""
            raise FilmError(
                f"the mask {self.folder.name}/{name} could be that of {source.film} or {others[0]}{more}; "
                f"name this film's {self.folder.name}/{source.stem}.png"
            )
        return self.folder / name

    def _name(self, source: FilmSource) -> str | None:
        name = PurePosixPath(source.film).name
        lent = (source.film, film_stem(source.film), name, film_stem(name))
        names = (*_own_names(source), *(f"{stem}.png" for stem in lent))
        return next((name for name in names if (self.folder / name).is_file()), None)


def _own_names(source: FilmSource) -> tuple[str, str, str]:
    # The stem is unique in the run: a mask named so belongs to one film only.
    return f"{source.stem}.png", f"{source.stem}.tif", f"{source.stem}.tiff"


def require_mask_folder(folder: Path) -> None:
    """Raise :class:`UsageError` unless ``folder`` is a folder that holds at least one mask."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; --masks takes a folder of <film stem>.png")
    if not any(path.suffix.lower() in (".png", ".tif", ".tiff") for path in folder.rglob("*")):
        raise UsageError(f"{folder}: holds no mask; expected <film stem>.png of the film's size")
