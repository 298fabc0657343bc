"""``read_film``: any supported file to one :class:`Film`, checked before anything is measured on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from spinecore.io.errors import FilmError
from spinecore.io.film import Film
from spinecore.io.find import DICOM_SUFFIXES, FilmSource, find_films, has_dicom_preamble
from spinecore.io.quality import check_quality

__all__ = ["Film", "FilmError", "FilmSource", "find_films", "read_film"]


def read_film(path: str | Path) -> Film:
    """Read a PNG, JPEG, TIFF or DICOM film.

    Returns pixels in 0..1 with bone bright and quality flags. Raises :class:`FilmError` with the reason when
    the film cannot be read or measured.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
    except OSError as error:
        raise FilmError(f"cannot be opened: {error.strerror}") from None
    if size == 0:
        raise FilmError("the file is empty (0 bytes)")
    if file.suffix.lower() in DICOM_SUFFIXES or has_dicom_preamble(file):
        from spinecore.io.dicom import read_dicom

        film = read_dicom(file)
    else:
        from spinecore.io.raster import read_raster

        film = read_raster(file)
    flags = check_quality(film.pixels)
    return dataclasses.replace(film, flags=film.flags + flags)
