"""The tables of a run, each streamed scan by scan and written atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from spinecore.io.atomic import write_csv
from spinecore.segment.result import ScanResult
from spinecore.segment.scan import NAMES
from spinecore.spine.lumbar.measures import Size

SCAN_COLUMNS = (
    "scan",
    "slices",
    "height",
    "width",
    "spacing_slice_mm",
    "spacing_row_mm",
    "spacing_column_mm",
    "status",
    "reason",
    "quality_flags",
    "measured_slice",
    "levels",
    "level_confidence",
    "level_doubts",
    "seconds",
)
_SIZE_COLUMNS = ("height_front", "height_middle", "height_back", "length", "area", "partial")
DISC_COLUMNS = ("scan", "number_from_below", "level", "unit", *_SIZE_COLUMNS, "canal_width")
BODY_COLUMNS = ("scan", "number_from_below", "level", "unit", *_SIZE_COLUMNS)
AGREEMENT_COLUMNS = (
    "scan",
    *(f"{figure}_{name}" for name in NAMES.values() for figure in ("dice", "hd95", "missed")),
)
Row = tuple[object, ...]


def write_tables(out: Path, results: Callable[[], Iterable[ScanResult]]) -> None:
    """Write scans.csv, discs.csv and vertebrae.csv, with references agreement.csv; ``results`` is walked
    once a table.
    """
    tables: tuple[tuple[str, tuple[str, ...], Callable[[ScanResult], Iterator[Row]]], ...] = (
        ("scans.csv", SCAN_COLUMNS, scan_rows),
        ("discs.csv", DISC_COLUMNS, disc_rows),
        ("vertebrae.csv", BODY_COLUMNS, body_rows),
    )
    for name, columns, rows_of in tables:
        write_csv(out / name, columns, (row for result in results() for row in rows_of(result)))
    if any(result.agreement for result in results()):
        rows = (row for result in results() for row in agreement_rows(result))
        write_csv(out / "agreement.csv", AGREEMENT_COLUMNS, rows)
    else:  # that of an earlier run would speak of other masks
        (out / "agreement.csv").unlink(missing_ok=True)


def scan_rows(result: ScanResult) -> Iterator[Row]:
    """One row; what is not known is empty."""
    spacing = ("", "", "") if result.spacing is None else tuple(f"{mm:.4f}" for mm in result.spacing)
    known = [body.level for body in result.bodies if body.level]
    yield (
        result.scan,
        result.slices or "",
        result.height or "",
        result.width or "",
        *spacing,
        result.status,
        " ".join(result.reason.split()),
        ";".join(result.flags),
        result.measured_slice if result.measured else "",
        f"{known[0]}-{known[-1]}" if known else "",
        f"{result.level_confidence:.3f}" if result.measured else "",
        "; ".join(result.level_doubts),
        f"{result.seconds:.3f}",
    )


def agreement_rows(result: ScanResult) -> Iterator[Row]:
    """Dice, HD95 in pixels and 1 for missed or invented, by structure; empty where neither mask shows it."""
    if result.agreement:
        found = [result.agreement[column] for column in AGREEMENT_COLUMNS[1:]]
        yield (result.scan, *("" if value is None else f"{value:g}" for value in found))


def disc_rows(result: ScanResult) -> Iterator[Row]:
    """One row a disc, from the top down."""
    for row, size in _rows(result, result.discs):
        yield (*row, "" if size.canal is None else f"{size.canal:.3f}")


def body_rows(result: ScanResult) -> Iterator[Row]:
    """One row a vertebral body, from the top down."""
    for row, _ in _rows(result, result.bodies):
        yield row


def _rows(result: ScanResult, sizes: tuple[Size, ...]) -> Iterator[tuple[Row, Size]]:
    for number, size in zip(range(len(sizes), 0, -1), sizes, strict=True):
        lengths = (size.front, size.middle, size.back, size.length, size.area)
        values = (*(f"{value:.3f}" for value in lengths), int(size.partial))
        yield (result.scan, number, size.level, result.unit, *values), size
