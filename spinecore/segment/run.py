"""Segment many scans one after another: a bad one is recorded and passed over, what is done stays done."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from spinecore.io.atomic import file_sha256, write_json
from spinecore.io.dicom_seg import write_dicom_seg
from spinecore.io.errors import FilmError
from spinecore.io.volume import Volume, VolumeSource, read_volume
from spinecore.measure.options import package_version
from spinecore.segment.instances import instance_masks
from spinecore.segment.layout import (
    load_result,
    output_path,
    record_path,
    remove_outputs,
    remove_stale,
    reusable,
)
from spinecore.segment.masks import suffix_for, write_masks
from spinecore.segment.reference import Reference
from spinecore.segment.result import FAILED, SCHEMA, ScanResult, to_json
from spinecore.segment.scan import Segmentation, SliceReader, result_of, segment_scan
from spinecore.segment.segments import INSTANCES, STRUCTURES
from spinecore.segment.tables import write_tables


class Draw(Protocol):
    """Draws the overlay of a scan; returns overlay pixels per slice pixel."""

    def __call__(self, path: Path, volume: Volume, found: Segmentation, result: ScanResult) -> float:
        """Write the overlay to ``path``."""


@dataclass
class ScanSummary:
    """What a run did, for the exit code, run.json and the last line on the terminal."""

    out: Path
    planned: int = 0
    stems: list[str] = field(default_factory=list)
    segmented: int = 0
    failed: int = 0
    reused: int = 0
    removed: int = 0
    slices: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    scan_seconds: list[float] = field(default_factory=list)

    def results(self) -> Iterator[ScanResult]:
        """The scans done, read back one at a time, so that memory does not grow with the run."""
        for stem in self.stems:
            result = load_result(self.out, stem)
            if result is None:
                raise FilmError(f"{self.out / record_path(stem)}: was removed or changed during the run")
            yield result

    @property
    def exit_code(self) -> int:
        """0 all segmented, 3 some failed, 130 interrupted."""
        return 130 if self.interrupted else 3 if self.failed else 0


@dataclass(frozen=True)
class ScanReader:
    """A network with its identity, which a resumed run compares."""

    slices: SliceReader
    fingerprint: str
    reference: Reference | None = None
    dicom_seg: str = ""  # the name that DICOM SEGs give the algorithm; without one none are written


def run_scans(
    sources: Sequence[VolumeSource],
    reader: ScanReader,
    out: Path,
    *,
    resume: bool = False,
    draw: Draw | None = None,
    on_scan: Callable[[ScanResult, bool], None] | None = None,
) -> ScanSummary:
    """Segment ``sources`` into ``out`` and write the tables.

    ``on_scan`` is called with each result and whether it was reused. Ctrl-C ends the run early and keeps what
    is done. A failure to write to ``out`` (OSError) ends the run: it would fail for every scan.
    """
    begin = time.perf_counter()
    summary = ScanSummary(out, planned=len(sources))
    out.mkdir(parents=True, exist_ok=True)
    try:
        for source in sources:
            result, reused = _one_scan(source, reader, out, resume, draw)
            summary.stems.append(source.stem)
            summary.segmented += result.measured
            summary.failed += not result.measured
            summary.reused += reused
            summary.slices += result.slices
            if not reused:
                summary.scan_seconds.append(result.seconds)
            if on_scan is not None:
                on_scan(result, reused)
    except KeyboardInterrupt:
        summary.interrupted = True
    if not resume and not summary.interrupted:
        summary.removed = remove_stale(out, summary.stems)
    write_tables(out, summary.results)
    summary.seconds = time.perf_counter() - begin
    return summary


def _one_scan(
    source: VolumeSource, reader: ScanReader, out: Path, resume: bool, draw: Draw | None
) -> tuple[ScanResult, bool]:
    begin = time.perf_counter()
    digest = key = ""
    found: Segmentation | None = None
    volume: Volume | None = None
    try:
        digest = content_sha256(source.path)
        key = _resume_key(digest, reader, source)
        if resume and (earlier := reusable(out, source.stem, key)) is not None:
            return earlier, True
        volume = read_volume(source.path)
        found = segment_scan(volume, reader.slices)
        result = result_of(found, volume, source.name, source.stem)
        if reader.reference is not None:
            result = _compared(result, reader.reference, source, found, volume)
    except FilmError as error:
        result = ScanResult(source.name, source.stem, FAILED, reason=error.reason)
    except MemoryError:
        result = ScanResult(source.name, source.stem, FAILED, reason="needs more memory than is free")
    except Exception as error:  # one scan must not end the run; its reason names the error
        if os.environ.get("SPINECORE_DEBUG"):
            raise
        reason = f"unexpected {type(error).__name__}: {error}"
        result = ScanResult(source.name, source.stem, FAILED, reason=reason)
    result = dataclasses.replace(result, sha256=digest, resume_key=key)
    return _write_outputs(result, volume, found, out, draw, begin, reader.dicom_seg), False


def _compared(
    result: ScanResult, reference: Reference, source: VolumeSource, found: Segmentation, volume: Volume
) -> ScanResult:
    try:
        figures = reference.figures(source, found.masks, volume)
    except FilmError as error:  # the masks stand
        return dataclasses.replace(result, flags=(*result.flags, "no-agreement"), reason=error.reason)
    return dataclasses.replace(result, agreement=figures)


def _write_outputs(
    result: ScanResult,
    volume: Volume | None,
    found: Segmentation | None,
    out: Path,
    draw: Draw | None,
    begin: float,
    dicom_seg: str,
) -> ScanResult:
    """Masks, overlay, then the JSON record: a scan counts as done only when its record stands."""
    stem = result.stem
    remove_outputs(out, stem)
    outputs = {"json": record_path(stem)}
    if result.measured and volume is not None and found is not None:
        suffix = suffix_for(volume)
        outputs["mask"] = output_path("mask", stem, suffix)
        write_masks(out / outputs["mask"], found.masks, volume)
        numbers = None
        if found.reading.levels.known:
            outputs["levels"] = output_path("levels", stem, suffix)
            numbers = instance_masks(found.masks, found.measured, found.reading)
            write_masks(out / outputs["levels"], numbers, volume)
        if dicom_seg and volume.files:
            content = (found.masks, STRUCTURES) if numbers is None else (numbers, INSTANCES)
            path = output_path("mask", stem, ".dcm")
            try:
                write_dicom_seg(out / path, content[0], volume, content[1], dicom_seg)
                outputs["seg"] = path
            except FilmError as error:  # the masks stand
                flags = (*result.flags, "no-dicom-seg")
                result = dataclasses.replace(result, flags=flags, reason=error.reason)
        if draw is not None:
            outputs["overlay"] = output_path("overlay", stem, ".png")
            scale = draw(out / outputs["overlay"], volume, found, result)
            result = dataclasses.replace(result, overlay_scale=scale)
    seconds = round(time.perf_counter() - begin, 4)
    result = dataclasses.replace(result, outputs=outputs, seconds=seconds)
    write_json(out / outputs["json"], to_json(result))
    return result


def content_sha256(path: Path) -> str:
    """Of a file, or of all files of a DICOM folder in the order of their names."""
    try:
        if path.is_file():
            return file_sha256(path)
        digest = hashlib.sha256()
        for file in sorted(p for p in path.iterdir() if p.is_file()):
            digest.update(file_sha256(file).encode())
        return digest.hexdigest()
    except OSError as error:
        raise FilmError(f"cannot be opened: {error.strerror}") from None


def _resume_key(digest: str, reader: ScanReader, source: VolumeSource) -> str:
    compared = "" if reader.reference is None else reader.reference.fingerprint(source)
    parts = [SCHEMA, package_version(), digest, reader.fingerprint, source.name, compared, reader.dicom_seg]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
