"""Measure many films one after another: a bad one is recorded and passed over, what is done stays done."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from spinecore.io.atomic import file_sha256, write_json
from spinecore.io.errors import FilmError
from spinecore.io.film import Film
from spinecore.io.films import read_film
from spinecore.io.find import FilmSource
from spinecore.io.masks import write_mask
from spinecore.measure.film import measure_film
from spinecore.measure.layout import load_result, output_path, remove_outputs, remove_stale, reusable
from spinecore.measure.options import MeasureOptions, resume_key
from spinecore.measure.readers import Reader
from spinecore.measure.result import FAILED, FilmResult, to_json
from spinecore.measure.tables import write_tables


class Draw(Protocol):
    """Draws the overlay of a measured film; returns its scale and the film's corner on it."""

    def __call__(self, path: Path, film: Film, result: FilmResult) -> tuple[float, tuple[int, int]]:
        """Write the overlay to ``path``."""


@dataclass
class RunSummary:
    """What a run did, for the exit code, run.json and the last line on the terminal."""

    out: Path
    planned: int = 0
    stems: list[str] = field(default_factory=list)  # films done, in order
    measured: int = 0
    failed: int = 0
    reused: int = 0
    removed: int = 0  # films of an earlier run taken out of OUT
    duplicates: int = 0  # films whose file has the content of another of this run
    interrupted: bool = False
    seconds: float = 0.0
    film_seconds: list[float] = field(default_factory=list)  # of the films measured in this run

    def results(self) -> Iterator[FilmResult]:
        """The films done, read back one at a time, so that memory does not grow with the run."""
        for stem in self.stems:
            result = load_result(self.out, stem)
            if result is None:
                raise FilmError(
                    f"{self.out / output_path('json', stem)}: was removed or changed during the run"
                )
            yield result

    @property
    def exit_code(self) -> int:
        """0 all measured, 3 some failed, 130 interrupted."""
        if self.interrupted:
            return 130
        return 3 if self.failed else 0


def run_films(
    sources: Sequence[FilmSource],
    reader: Reader,
    options: MeasureOptions,
    out: Path,
    *,
    resume: bool = False,
    draw: Draw | None = None,
    on_film: Callable[[FilmResult, bool], None] | None = None,
) -> RunSummary:
    """Measure ``sources`` into ``out`` and write the tables.

    ``on_film`` is called with each result and whether it was reused. Ctrl-C ends the run early and keeps what
    is done. A failure to write to ``out`` (OSError) ends the run: it would fail for every film.
    """
    begin = time.perf_counter()
    summary = RunSummary(out, planned=len(sources))
    out.mkdir(parents=True, exist_ok=True)
    contents: set[str] = set()
    try:
        for source in sources:
            result, reused = _one_film(source, reader, options, out, resume, draw)
            summary.duplicates += result.measured and result.film_sha256 in contents
            contents.add(result.film_sha256)
            summary.stems.append(source.stem)
            summary.measured += result.measured
            summary.failed += not result.measured
            summary.reused += reused
            if not reused:
                summary.film_seconds.append(result.seconds)
            if on_film is not None:
                on_film(result, reused)
    except KeyboardInterrupt:
        summary.interrupted = True
    if not resume and not summary.interrupted:
        summary.removed = remove_stale(out, summary.stems)
    write_tables(out, summary.results)
    summary.seconds = time.perf_counter() - begin
    return summary


def _one_film(
    source: FilmSource,
    reader: Reader,
    options: MeasureOptions,
    out: Path,
    resume: bool,
    draw: Draw | None,
) -> tuple[FilmResult, bool]:
    begin = time.perf_counter()
    film: Film | None = None
    digest = key = ""
    try:
        digest = _content_hash(source.path)
        try:
            key = resume_key(options, digest, reader.fingerprint(source))
        except FilmError:
            film = read_film(source.path)  # a file that is no film at all is the better reason
            raise
        if resume and (earlier := reusable(out, source.stem, key)) is not None:
            return _renamed(earlier, source, out), True
        film = read_film(source.path)
        result = measure_film(source, film, reader, options)
    except FilmError as error:
        result = FilmResult(source.film, source.stem, FAILED, reason=error.reason)
    except MemoryError:
        result = FilmResult(source.film, source.stem, FAILED, reason="needs more memory than is free")
    except Exception as error:  # one film must not end the run; its reason names the error
        if os.environ.get("SPINECORE_DEBUG"):
            raise
        reason = f"unexpected {type(error).__name__}: {error}"
        result = FilmResult(source.film, source.stem, FAILED, reason=reason)
    if film is not None and not result.measured:
        result = dataclasses.replace(result, width=film.width, height=film.height, flags=film.flags)
    result = dataclasses.replace(result, film_sha256=digest, resume_key=key)
    result = _write_outputs(result, film, out, draw if options.overlay else None, begin)
    return result, False


def _write_outputs(
    result: FilmResult, film: Film | None, out: Path, draw: Draw | None, begin: float
) -> FilmResult:
    """Mask, overlay, then the JSON record: a film counts as done only when its record stands."""
    stem = result.stem
    remove_outputs(out, stem, ("json",))
    outputs = {"json": output_path("json", stem)}
    if result.measured and result.mask is not None:
        outputs["mask"] = output_path("mask", stem)
        write_mask(out / outputs["mask"], result.mask)
    if result.measured and draw is not None and film is not None:
        outputs["overlay"] = output_path("overlay", stem)
        scale, origin = draw(out / outputs["overlay"], film, result)
        result = dataclasses.replace(result, overlay_scale=scale, overlay_origin=origin)
    remove_outputs(out, stem, [kind for kind in ("mask", "overlay") if kind not in outputs])
    seconds = round(time.perf_counter() - begin, 4)
    result = dataclasses.replace(result, outputs=outputs, seconds=seconds, mask=None)
    write_json(out / outputs["json"], to_json(result))
    return result


def _renamed(earlier: FilmResult, source: FilmSource, out: Path) -> FilmResult:
    """The record under the name the film has now (same content, another extension or root folder)."""
    if earlier.film == source.film:
        return earlier
    result = dataclasses.replace(earlier, film=source.film)
    write_json(out / output_path("json", source.stem), to_json(result))
    return result


def _content_hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise FilmError(f"cannot be opened: {error.strerror}") from None
