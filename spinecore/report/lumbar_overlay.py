"""The overlay of a lumbar scan: the slice as it is, the same with its structures, and sizes by level."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from spinecore.io.atomic import write_atomic
from spinecore.io.volume import Volume
from spinecore.report import theme
from spinecore.report.flags import flag_words
from spinecore.segment.result import ScanResult
from spinecore.segment.scan import Segmentation
from spinecore.spine.lumbar.measures import Size

HEIGHT, WIDTH = 1000, 900  # each slice is fitted into this box
PANEL = 290
FOOTER = 58
ROW = 42  # least distance between two lines of the panel
FILL = 0.30


def write_lumbar_overlay(path: Path, volume: Volume, found: Segmentation, result: ScanResult) -> float:
    """Draw and write the overlay PNG; returns overlay pixels per slice pixel down."""
    image, scale = render_lumbar_overlay(volume, found, result)

    def write(stream: IO[bytes]) -> None:
        image.save(stream, format="PNG", compress_level=3)

    write_atomic(path, write)
    return scale


def render_lumbar_overlay(
    volume: Volume, found: Segmentation, result: ScanResult
) -> tuple[Image.Image, float]:
    """The overlay as an RGB image, and its scale down; pixels that are not square are drawn so."""
    pixels, mask = volume.pixels[found.measured], found.masks[found.measured]
    down, across = volume.in_plane
    height, width = pixels.shape
    unit = min(HEIGHT / (height * down), WIDTH / (width * across))
    scale = (unit * down, unit * across)
    size = max(1, round(width * scale[1])), max(1, round(height * scale[0]))
    plain = _grey(pixels, size)
    drawn = _with_structures(plain, mask, size)
    _names(ImageDraw.Draw(drawn), result, scale)
    canvas = Image.new("RGB", (2 * size[0] + PANEL, size[1] + FOOTER), theme.PANEL)
    canvas.paste(plain, (0, 0))
    canvas.paste(drawn, (size[0], 0))
    draw = ImageDraw.Draw(canvas)
    _panel(draw, result, scale[0], 2 * size[0], size[1])
    _footer(draw, result, size[1], canvas.width)
    return canvas, scale[0]


def _grey(pixels: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    low, high = (float(v) for v in np.percentile(pixels, [0.5, 99.5]))
    bright = np.clip((pixels - low) / max(high - low, 1e-6), 0, 1) ** 0.7
    grey = Image.fromarray((bright * 255 + 0.5).astype(np.uint8))
    return grey.resize(size, Image.Resampling.BICUBIC).convert("RGB")


def _with_structures(plain: Image.Image, mask: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Each structure tinted, with a firm outline."""
    large = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    values = np.asarray(plain, dtype=np.float32).copy()
    for index, colour in enumerate(theme.STRUCTURE_COLOURS, 1):
        soft = ndimage.uniform_filter((large == index).astype(np.float32), 5)  # pixel stairs made round
        inside = soft > 0.5
        edge = inside & ~ndimage.binary_erosion(inside, iterations=2)
        for where, share in ((inside, FILL), (edge, 0.55)):
            values[where] = values[where] * (1 - share) + np.array(colour, np.float32) * share
    return Image.fromarray(values.astype(np.uint8))


def _names(draw: ImageDraw.ImageDraw, result: ScanResult, scale: tuple[float, float]) -> None:
    for number, body in zip(range(len(result.bodies), 0, -1), result.bodies, strict=True):
        x, y = (body.centre[1] + 0.5) * scale[1], (body.centre[0] + 0.5) * scale[0]
        text, colour = (body.level, theme.TEXT) if body.level else (f"{number}?", theme.WARN)
        halo: dict[str, Any] = {"stroke_width": 3, "stroke_fill": theme.HALO}
        draw.text((x, y), text, font=theme.font(24), fill=colour, anchor="mm", **halo)


def _panel(draw: ImageDraw.ImageDraw, result: ScanResult, scale: float, left: int, height: int) -> None:
    """One line a disc, at its own height where there is room."""
    draw.line([(left, 0), (left, height)], fill=theme.PANEL_EDGE, width=1)
    heights = [(disc.centre[0] + 0.5) * scale for disc in result.discs]
    for disc, own, at in zip(result.discs, heights, spread(heights, ROW, 24.0, height - 30.0), strict=True):
        draw.line([(left + 4, own), (left + 16, at)], fill=theme.STRUCTURE_COLOURS[1], width=2)
        draw.text((left + 22, at), disc.level or "disc", font=theme.font(20), fill=theme.TEXT, anchor="lm")
        canal = "no whole canal" if disc.canal is None else f"canal {size_words(disc.canal, result.unit)}"
        lines = ((disc_words(disc, result.unit), -10, theme.TEXT), (canal, 10, theme.STRUCTURE_COLOURS[2]))
        for words, shift, colour in lines:
            draw.text((left + 122, at + shift), words, font=theme.font(15), fill=colour, anchor="lm")


def spread(wanted: list[float], least: float, first: float, last: float) -> list[float]:
    """Places as near as possible to ascending `wanted` ones, `least` apart, within `first` to `last` where
    they all fit.
    """
    places: list[float] = []
    for at in wanted:
        places.append(max(at, first, places[-1] + least if places else first))
    limit = last
    for k in range(len(places) - 1, -1, -1):
        places[k] = min(places[k], limit)
        limit = places[k] - least
    return places


def disc_words(disc: Size, unit: str) -> str:
    """Height of a disc in words."""
    words = f"height {size_words(disc.middle, unit)}"
    return f"{words} (cut off)" if disc.partial else words


def size_words(value: float, unit: str) -> str:
    """A size to a tenth of a millimetre or pixel."""
    return f"{value:.1f} {unit}"


def _footer(draw: ImageDraw.ImageDraw, result: ScanResult, top: int, width: int) -> None:
    draw.line([(0, top), (width, top)], fill=theme.PANEL_EDGE, width=1)
    if result.level_confidence > 0:
        words = f"Levels counted up from the sacrum, confidence {result.level_confidence:.2f}"
    else:
        words = "Levels unknown: " + "; ".join(result.level_doubts)
    draw.text((14, top + 9), words, font=theme.font(15), fill=theme.TEXT)
    where = "" if result.slices == 1 else f"Slice {result.measured_slice + 1} of {result.slices}. "
    unit = "" if result.spacing is not None else "Pixel size not in the file: sizes in pixels. "
    doubts = [*result.level_doubts] if result.level_confidence > 0 else []
    rest = "; ".join([*doubts, *_other_flags(result)])
    colour: Any = theme.WARN if rest else theme.MUTED
    draw.text((14, top + 32), f"{where}{unit}{rest}", font=theme.font(14), fill=colour)


def _other_flags(result: ScanResult) -> list[str]:
    flags = [flag for flag in result.flags if not flag.startswith("levels-")]
    return [flag_words(flags)] if flags else []
