"""Who reads a film: a model, human landmarks or human masks. All three end in the same FilmReading."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from spinecore.io.atomic import file_sha256
from spinecore.io.errors import FilmError
from spinecore.io.film import Film
from spinecore.io.film_table import FilmTable
from spinecore.io.find import FilmSource
from spinecore.io.landmarks import MarkedFilm, read_landmarks
from spinecore.io.masks import MaskFolder, read_mask
from spinecore.spine.levels import LEVELS
from spinecore.spine.order import repair_order
from spinecore.spine.raster import polygon_mask
from spinecore.spine.reading import FilmReading
from spinecore.spine.vertebrae import Vertebrae


@dataclass(frozen=True)
class ReaderInfo:
    """What run.json says about the reader."""

    kind: str  # "model" | "landmarks" | "masks"
    name: str
    device: str = "cpu"
    weights: str | None = None
    weights_sha256: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Reader(Protocol):
    """Reads one film. ``fingerprint`` changes whenever the reading of this film could change."""

    info: ReaderInfo

    def fingerprint(self, source: FilmSource) -> str:
        """Identity of what this film is read from."""

    def read(self, source: FilmSource, film: Film) -> FilmReading:
        """Vertebrae and mask in the film's pixels."""


class LandmarkReader:
    """Corners from a CSV, sorted and repaired by the same rule as everywhere.

    ``run`` holds all films of the run: only with them can an entry without folders be told to mean one film.
    """

    def __init__(self, path: Path, run: Sequence[FilmSource] = ()) -> None:
        self._table: FilmTable[MarkedFilm] = read_landmarks(path, [source.film for source in run])
        self.info = ReaderInfo("landmarks", path.name, details={"films": len(self._table)})

    def fingerprint(self, source: FilmSource) -> str:
        """Hash of the film's own rows, so that other films' corrections don't count."""
        marked = self._table.find(source.film)
        digest = hashlib.sha256(marked.corners.tobytes() + marked.confidence.tobytes())
        digest.update(repr((marked.levels, marked.fractions)).encode())
        return f"landmarks:{digest.hexdigest()}"

    def read(self, source: FilmSource, film: Film) -> FilmReading:
        """Corners in pixels; FilmError when they are absent or crossed beyond repair."""
        marked = self._table.find(source.film)
        corners, order = repair_order(marked.corners_px(film.width, film.height))
        if order.unrepaired:
            raise FilmError("the landmarks are crossed beyond repair; mark this film again")
        flags = ["landmarks-repaired"] if not order.ok else []
        if order.odd_gap:
            flags.append("top-level-suspect")
        outside = (corners < -1.0) | (corners > [film.width + 1.0, film.height + 1.0])
        if outside.any():
            flags.append("landmarks-outside-film")
        levels = marked.levels
        if levels is not None:  # names given in the file travel with their corners
            levels = tuple(levels[old] for old in order.permutation)
            known = [LEVELS.index(level) for level in levels if level in LEVELS]
            if known != sorted(known):
                flags.append("levels-suspect")
        confidence = marked.confidence[list(order.permutation)]
        vertebrae = Vertebrae.from_corners(corners, levels, confidence)
        mask = polygon_mask(vertebrae.column_polygon(), film.height, film.width)
        return FilmReading(vertebrae, mask, tuple(flags))


class MaskReader:
    """Spine masks from a folder; they give a centre line and no vertebra. ``run``: as for landmarks."""

    def __init__(self, folder: Path, run: Sequence[FilmSource] = ()) -> None:
        self._masks = MaskFolder(folder, run)
        self.info = ReaderInfo("masks", folder.name)

    def fingerprint(self, source: FilmSource) -> str:
        """Hash of the mask file."""
        return f"masks:{file_sha256(self._masks.find(source))}"

    def read(self, source: FilmSource, film: Film) -> FilmReading:
        """The mask; FilmError when it is absent, empty or of another size."""
        mask = read_mask(self._masks.find(source))
        if mask.shape != film.pixels.shape:
            raise FilmError(
                f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels, "
                f"the film {film.width} x {film.height}; masks must have the size of the film"
            )
        if not mask.any():
            raise FilmError("the mask is empty: no spine is marked")
        return FilmReading(Vertebrae.from_corners([[[0, 0]] * 4]).subset([]), mask)
