"""``index.html`` of a segmentation run: one self-contained page, the most doubtful scans first."""

from __future__ import annotations

import base64
import io
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from PIL import Image

from spinecore.io.atomic import write_atomic
from spinecore.io.errors import FilmError
from spinecore.report import theme
from spinecore.report.flags import flag_words
from spinecore.segment.layout import load_result, record_path
from spinecore.segment.reference import agreement
from spinecore.segment.result import ScanResult
from spinecore.spine.lumbar.levels import UPWARDS

THUMB_HEIGHT, LARGE_THUMB_HEIGHT, FEW = 400, 900, 4
FEWEST_FOR_SUMMARY = 3


def write_lumbar_page(
    out: Path,
    results: Callable[[], Iterable[ScanResult]],
    run: Mapping[str, Any],
    title: str = "Lumbar MRI",
) -> None:
    """Write ``out/index.html``. ``results`` is walked several times; thumbnails are made one by one."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spinecore.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["flag_words"] = flag_words
    environment.filters["url"] = quote
    environment.filters["size"] = _size
    order = [stem for _, _, stem in sorted((-r.doubt, r.scan, r.stem) for r in results() if r.measured)]
    failed = sum(not r.measured for r in results())
    stream = environment.get_template("lumbar.html.j2").generate(
        title=title,
        run=run,
        counts={
            "segmented": len(order),
            "failed": failed,
            "unknown": sum(r.measured and r.level_confidence == 0 for r in results()),
            "slices": sum(r.slices for r in results()),
        },
        agreement=agreement(r.agreement for r in results()),
        levels=level_summary(results()),
        cards=_cards(out, order),
        failures=lambda: (r for r in results() if not r.measured),
        colours=[_css(colour) for colour in theme.STRUCTURE_COLOURS],
        aid_sentence=theme.AID_SENTENCE,
        few=len(order) <= FEW,
    )

    def write(file: IO[bytes]) -> None:
        for chunk in stream:
            file.write(chunk.encode("utf-8"))

    write_atomic(out / "index.html", write)


def _size(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _css(colour: theme.Colour) -> str:
    return "rgb({},{},{})".format(*colour)


def level_summary(results: Iterable[ScanResult]) -> list[dict[str, Any]]:
    """Median and range of disc height, canal width and body height by level, from the top down; scans in
    millimetres and in pixels apart; levels seen in few scans are left out.
    """
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for result in results:
        for size in result.sizes:
            if not size.level or size.partial:
                continue
            kinds = values.setdefault((result.unit, size.level), {"disc": [], "vertebra": [], "canal": []})
            kinds[size.kind].append(size.middle)
            if size.canal is not None:
                kinds["canal"].append(size.canal)
    rows = []
    for unit in ("mm", "px"):
        for upper in reversed(UPWARDS):
            at = UPWARDS.index(upper)
            disc = f"{upper}/{UPWARDS[at - 1] if at else 'S1'}"
            for level in (upper, disc):
                kinds = values.get((unit, level), {})
                found = {kind: _spread(list_) for kind, list_ in kinds.items() if list_}
                if any(f["count"] >= FEWEST_FOR_SUMMARY for f in found.values()):
                    rows.append({"level": level, "unit": unit, **found})
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "count": len(values),
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
    }


def _cards(out: Path, order: list[str]) -> Iterator[dict[str, Any]]:
    """One card a scan, each record read when its turn comes."""
    height = LARGE_THUMB_HEIGHT if len(order) <= FEW else THUMB_HEIGHT
    for place, stem in enumerate(order):
        result = load_result(out, stem)
        if result is None:
            raise FilmError(f"{out / record_path(stem)}: was removed or changed while the page was made")
        known = [body.level for body in result.bodies if body.level]
        yield {
            "place": place,
            "scan": result,
            "thumb": _thumbnail(out, result, height),
            "levels": f"{known[0]} to {known[-1]}" if known else "",
            "lowest": min((d.middle for d in result.discs if not d.partial), default=None),
        }


def _thumbnail(out: Path, result: ScanResult, height: int) -> str:
    """JPEG data URI of the overlay's second slice; "" without an overlay."""
    path = result.outputs.get("overlay")
    if path is None:
        return ""
    with Image.open(out / path) as overlay:
        tall = round(result.height * result.overlay_scale)
        across = 1.0 if result.spacing is None else result.spacing[2] / result.spacing[1]
        wide = round(result.width * result.overlay_scale * across)
        picture = overlay.convert("RGB").crop((wide, 0, 2 * wide, tall))
    factor = min(height / picture.height, 1.0)
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(buffer, format="JPEG", quality=76, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
