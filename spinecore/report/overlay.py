"""The overlay of one film: what was found and the very lines each angle was measured between."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from spinecore.io.atomic import write_atomic
from spinecore.io.film import Film
from spinecore.measure.result import FilmResult
from spinecore.report import theme
from spinecore.report.panel import GUTTER, draw_footer, draw_gutter, footer_height
from spinecore.spine.curves import Curve
from spinecore.spine.vertebrae import Vertebrae

FILM_HEIGHT, FILM_WIDTH = 1360, 1400  # the film is fitted into this box
SUPERSAMPLE = 2
LINE_REACH = (
    1.05,
    1.45,
    1.75,
    2.0,
)  # half-length of a curve's lines in body widths; minor ones show beyond the major
Points = NDArray[np.float64]


def write_overlay(path: Path, film: Film, result: FilmResult) -> tuple[float, tuple[int, int]]:
    """Draw and write the overlay PNG; returns overlay pixels per film pixel and the film's corner on it."""
    image, scale = render_overlay(film, result)

    def write(stream: IO[bytes]) -> None:
        image.save(stream, format="PNG", compress_level=3)  # the size of level 6 in half the time

    write_atomic(path, write)
    return scale, (0, 0)


def render_overlay(film: Film, result: FilmResult) -> tuple[Image.Image, float]:
    """The overlay as an RGB image and its scale in overlay pixels per film pixel."""
    scale = min(FILM_HEIGHT / film.height, FILM_WIDTH / film.width)
    size = (max(1, round(film.width * scale)), max(1, round(film.height * scale)))
    picture = display_image(film.pixels, size)
    layer = Image.new("RGBA", (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE))
    _draw_geometry(layer, result, scale * SUPERSAMPLE)
    picture.paste(layer_reduced := layer.reduce(SUPERSAMPLE), (0, 0), layer_reduced)
    if result.vertebrae is not None:
        _level_names(picture, result, scale)
    footer = footer_height(result, size[0] + GUTTER)
    canvas = Image.new("RGB", (size[0] + GUTTER, size[1] + footer), theme.PANEL)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    draw_gutter(draw, result, scale, size)
    draw_footer(draw, result, size[1])
    return canvas, scale


def display_image(pixels: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    """The film for the eye: resized, its 0.5 to 99.8 percentiles spread over the grey scale."""
    grey = Image.fromarray((pixels * 255.0 + 0.5).astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)
    values = np.asarray(grey)
    low, high = (float(value) for value in np.percentile(values[::4, ::4], [0.5, 99.8]))
    span = max(high - low, 16.0)
    table = [min(255, max(0, round((level - low) * 245.0 / span))) for level in range(256)]
    return grey.point(table).convert("RGB")


def _draw_geometry(layer: Image.Image, result: FilmResult, scale: float) -> None:
    if result.mask is not None:
        _outline(layer, result.mask)
    draw = ImageDraw.Draw(layer)
    if result.vertebrae is not None:
        _bodies(draw, result.vertebrae, scale)
    curves = list(enumerate(result.primary_curves))
    for number, curve in reversed(curves):  # the major curve lies on top
        colour = theme.curve_colour(number)
        reach = LINE_REACH[min(number, len(LINE_REACH) - 1)]
        for line in (curve.upper_line, curve.lower_line):
            _halo_line(draw, extended(line, reach) * scale, colour, 3.0 * SUPERSAMPLE)
        if result.vertebrae is not None:
            _apex(draw, result.vertebrae, curve, scale, colour)


def _outline(layer: Image.Image, mask: NDArray[np.bool_]) -> None:
    small = np.asarray(Image.fromarray(mask).resize(layer.size, Image.Resampling.NEAREST))
    width = SUPERSAMPLE + 1
    inner = small.copy()
    for shift in range(1, width + 1):
        inner[shift:] &= small[:-shift]
        inner[:-shift] &= small[shift:]
        inner[:, shift:] &= small[:, :-shift]
        inner[:, :-shift] &= small[:, shift:]
    edge = Image.fromarray(((small & ~inner) * 120).astype(np.uint8))
    layer.paste(Image.new("RGBA", layer.size, (*theme.OUTLINE, 255)), (0, 0), edge)


def _bodies(draw: ImageDraw.ImageDraw, vertebrae: Vertebrae, scale: float) -> None:
    for corners, confidence in zip(vertebrae.corners * scale, vertebrae.confidence, strict=True):
        outline = [tuple(corners[index]) for index in (0, 1, 3, 2, 0)]
        colour = theme.confidence_colour(float(confidence))
        draw.line(outline, fill=(*theme.HALO, 110), width=4 * SUPERSAMPLE - 2, joint="curve")
        draw.line(outline, fill=(*colour, 235), width=2 * SUPERSAMPLE - 1, joint="curve")


def extended(line: Points, reach: float) -> Points:
    """The line through both ends, ``reach`` times its length to each side of its middle."""
    middle, half = line.mean(axis=0), (line[1] - line[0]) * reach
    return np.stack([middle - half, middle + half])


def _halo_line(draw: ImageDraw.ImageDraw, line: Points, colour: theme.Colour, width: float) -> None:
    ends = [tuple(point) for point in line]
    draw.line(ends, fill=(*theme.HALO, 150), width=round(width * 2.1))
    draw.line(ends, fill=(*colour, 255), width=round(width))


def _apex(
    draw: ImageDraw.ImageDraw, vertebrae: Vertebrae, curve: Curve, scale: float, colour: theme.Colour
) -> None:
    """A triangle beside the apical body, on the side of the convexity, pointing at it."""
    if curve.apex_level not in vertebrae.levels:
        return
    index = vertebrae.levels.index(curve.apex_level)
    side = 1 if curve.convexity == "image-right" else 0
    tip = vertebrae.midlines[index, side] * scale
    outwards = vertebrae.midlines[index, side] - vertebrae.midlines[index, 1 - side]
    outwards /= max(float(np.hypot(*outwards)), 1e-9)
    upwards = np.array([-outwards[1], outwards[0]])
    size = 11.0 * SUPERSAMPLE
    tip = tip + outwards * size * 0.7
    points = [
        tip,
        tip + outwards * size * 1.3 + upwards * size * 0.75,
        tip + outwards * size * 1.3 - upwards * size * 0.75,
    ]
    draw.polygon(
        [tuple(p) for p in points], fill=(*colour, 255), outline=(*theme.HALO, 200), width=SUPERSAMPLE
    )


def _level_names(picture: Image.Image, result: FilmResult, scale: float) -> None:
    """Names to the left of the bodies, never on the spine; end vertebrae in the colour of their curve."""
    assert result.vertebrae is not None
    vertebrae = result.vertebrae
    draw = ImageDraw.Draw(picture)
    pitch = float(np.median(np.diff(vertebrae.centers[:, 1]))) * scale if len(vertebrae) > 1 else 40.0
    face = theme.font(int(np.clip(pitch * 0.42, 12, 19)))
    ends: dict[str, tuple[theme.Colour, Points]] = {}
    for number, curve in reversed(list(enumerate(result.primary_curves))):
        ends[curve.upper_level] = (theme.curve_colour(number), curve.upper_line * scale)
        ends[curve.lower_level] = (theme.curve_colour(number), curve.lower_line * scale)
    marked_left = {c.apex_level for c in result.primary_curves if c.convexity == "image-left"}
    middles = vertebrae.corners[:, :, 1].mean(axis=1) * scale
    for index, level in enumerate(vertebrae.levels):
        corners = vertebrae.corners[index] * scale
        x, anchor = float(corners[[0, 2], 0].min()) - 9.0, "rm"
        if level in marked_left:  # the triangle of the apex stands there
            x -= 24.0
        if x < face.getlength(level) + 3.0:
            x, anchor = float(corners[[1, 3], 0].max()) + 9.0, "lm"
        y, colour = float(middles[index]), theme.TEXT
        if level in ends:  # the drawn line passes beside an end vertebra: write above or below it
            colour, line = ends[level]
            least, most = _heights(line, x, face.getlength(level) * (-1 if anchor == "rm" else 1))
            others = np.delete(middles, index)
            lowest = picture.height - face.size / 2
            places = np.clip((least - face.size, most + face.size), face.size / 2, lowest)
            y = float(max(places, key=lambda at: float(np.abs(others - at).min(initial=np.inf))))
        draw.text(
            (x, y), level, font=face, fill=colour, anchor=anchor, stroke_width=2, stroke_fill=theme.HALO
        )


def _heights(line: Points, x: float, length: float) -> tuple[float, float]:
    """The highest and lowest point of the line beside a text that starts at x and runs ``length`` pixels."""
    step = line[1] - line[0]
    slope = float(step[1] / step[0]) if abs(step[0]) > 1e-9 else 0.0
    middle = line.mean(axis=0)
    ends = [float(middle[1] + slope * (at - middle[0])) for at in (x, x + length)]
    return min(ends), max(ends)
