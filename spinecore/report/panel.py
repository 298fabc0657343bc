"""Round the film of an overlay: angles beside it, explanations below; nothing covers the spine."""

from __future__ import annotations

from PIL import ImageDraw

from spinecore.measure.result import FilmResult
from spinecore.report import theme
from spinecore.report.flags import flag_words
from spinecore.spine.curves import SEVERITY_CUT_OFFS_DEG, Curve

GUTTER = 236
BLOCK = 104  # height of one curve's text
MARGIN = 16
LINE = 21


def draw_gutter(draw: ImageDraw.ImageDraw, result: FilmResult, scale: float, size: tuple[int, int]) -> None:
    """For each curve a bar from its upper to its lower end vertebra, and its angle, right of the film."""
    width, height = size
    draw.line([(width, 0), (width, height)], fill=theme.PANEL_EDGE, width=1)
    spans = [
        (float(curve.upper_line[:, 1].mean()) * scale, float(curve.lower_line[:, 1].mean()) * scale)
        for curve in result.primary_curves
    ]
    for number, top in _label_tops(spans, height):
        curve, (upper, lower) = result.primary_curves[number], spans[number]
        colour = theme.curve_colour(number)
        x = width + 14 + 5 * (number % 2)
        draw.line([(x, upper + 3), (x, lower - 3)], fill=colour, width=4)
        middle = min(max(top + 20, upper), lower)
        draw.line([(x, middle), (width + 32, top + 20)], fill=colour, width=2)
        _curve_text(draw, curve, width + 38, top, colour, major=number == 0)


def _label_tops(spans: list[tuple[float, float]], height: int) -> list[tuple[int, float]]:
    """Tops of the text blocks: beside the middle of each curve, pushed apart where they would overlap."""
    order = sorted(range(len(spans)), key=lambda number: sum(spans[number]))
    tops: list[tuple[int, float]] = []
    least = 6.0
    for place, number in enumerate(order):
        room = height - BLOCK * (len(order) - place)
        top = min(max(sum(spans[number]) / 2 - 36, least), max(room, least))
        tops.append((number, top))
        least = top + BLOCK
    return tops


def _curve_text(
    draw: ImageDraw.ImageDraw, curve: Curve, x: float, top: float, colour: theme.Colour, *, major: bool
) -> None:
    size = 38 if major else 30
    draw.text((x, top), theme.degrees(curve.cobb_deg), font=theme.font(size), fill=colour, stroke_width=0.5)
    lines = []
    if curve.upper_level and curve.lower_level:
        lines.append(f"{curve.upper_level} to {curve.lower_level}, apex {curve.apex_level}")
    lines.append(f"convex to {curve.convexity.replace('-', ' ')}")
    lines.append(
        f"{curve.severity if curve.severity != 'none' else 'below 10'}{'' if not major else ', major curve'}"
    )
    for row, line in enumerate(lines):
        fill = theme.TEXT if row == 0 else theme.MUTED
        draw.text((x, top + size + 8 + row * 19), line, font=theme.font(15), fill=fill)


def footer_lines(result: FilmResult) -> list[tuple[str, theme.Colour]]:
    """Explanations under the film; flags in the warning colour."""
    mild, moderate, severe = SEVERITY_CUT_OFFS_DEG
    cut_offs = f"Mild from {mild:g}\u00b0, moderate from {moderate:g}\u00b0, severe from {severe:g}\u00b0."
    lines = [
        (f"Angle ({result.primary}): {theme.DEFINITION_WORDS[result.primary]}.", theme.TEXT),
        (f"{cut_offs} Left and right are those of the image.", theme.MUTED),
    ]
    if result.flags:
        lines.append((f"Look twice: {flag_words(result.flags)}.", theme.WARN))
    return lines


def wrap(text: str, width: float, size: int) -> list[str]:
    """Words into lines no wider than ``width`` pixels."""
    face = theme.font(size)
    rows: list[str] = []
    for word in text.split():
        if rows and face.getlength(f"{rows[-1]} {word}") <= width:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    return rows


def footer_height(result: FilmResult, width: int) -> int:
    """Pixels the footer needs at this canvas width."""
    rows = sum(len(wrap(text, width - 2 * MARGIN, 15)) for text, _ in footer_lines(result))
    return 2 * MARGIN + LINE * (rows + 1) + 8


def draw_footer(draw: ImageDraw.ImageDraw, result: FilmResult, top: int) -> None:
    """The legend of the outlines, then the explanations."""
    width = int(draw.im.size[0])
    draw.line([(0, top), (width, top)], fill=theme.PANEL_EDGE, width=1)
    y = top + MARGIN
    _legend(draw, y, with_bodies=result.vertebrae is not None)
    y += LINE + 8
    for text, colour in footer_lines(result):
        for row in wrap(text, width - 2 * MARGIN, 15):
            draw.text((MARGIN, y), row, font=theme.font(15), fill=colour)
            y += LINE


def _legend(draw: ImageDraw.ImageDraw, y: float, *, with_bodies: bool) -> None:
    face = theme.font(15)
    x = float(MARGIN)
    entries = [(colour, word) for _, colour, word in theme.CONFIDENCE_COLOURS] if with_bodies else []
    if with_bodies:
        draw.text((x, y), "Vertebra:", font=face, fill=theme.MUTED)
        x += face.getlength("Vertebra:") + 10
    for colour, word in [*entries, (theme.OUTLINE, "spine")]:
        draw.rectangle([x, y + 3, x + 13, y + 14], outline=colour, width=2)
        draw.text((x + 19, y), word, font=face, fill=theme.TEXT)
        x += 19 + face.getlength(word) + 14
