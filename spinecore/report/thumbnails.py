"""Small pictures for the contact sheet, as data URIs, so that the page needs no other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageDraw

from spinecore.measure.result import FilmResult
from spinecore.report import theme
from spinecore.report.overlay import LINE_REACH, extended

THUMB_HEIGHT = 400
LARGE_THUMB_HEIGHT = 1000  # on a page of a few films
THUMB_QUALITY = 74


def thumbnail_uri(out: Path, result: FilmResult, height: int = THUMB_HEIGHT) -> str:
    """JPEG data URI of the overlay's film, its lines redrawn to be seen small; "" without an overlay."""
    relative = result.outputs.get("overlay")
    if not result.measured or relative is None:
        return ""
    scale = result.overlay_scale
    film_size = (round(result.width * scale), round(result.height * scale))
    with Image.open(out / relative) as overlay:
        film = overlay.convert("RGB").crop((0, 0, *film_size))
    factor = min(height / film.height, 1.5 * height / film.width, 1.0)
    size = (max(1, round(film.width * factor)), max(1, round(film.height * factor)))
    thumb = film.resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(thumb)
    for number, curve in reversed(list(enumerate(result.primary_curves))):
        for line in (curve.upper_line, curve.lower_line):
            ends = extended(line, LINE_REACH[min(number, len(LINE_REACH) - 1)]) * scale * factor
            draw.line(
                [tuple(point) for point in ends], fill=theme.curve_colour(number), width=max(3, height // 200)
            )
    buffer = io.BytesIO()
    thumb.save(buffer, format="JPEG", quality=THUMB_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
