from __future__ import annotations

import base64
import dataclasses
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spinecore.io.films import read_film
from spinecore.io.find import find_films
from spinecore.measure.options import MeasureOptions
from spinecore.measure.readers import LandmarkReader
from spinecore.measure.run import RunSummary, run_films
from spinecore.report import theme
from spinecore.report.overlay import render_overlay, write_overlay
from spinecore.report.page import write_page
from spinecore.report.summary import count_run

RUN = {"subtitle": "films of a test", "footer": "footer of a test"}


def measured(folder: Any) -> RunSummary:
    out = folder.root / "out"
    reader = LandmarkReader(folder.landmarks)
    summary = run_films(find_films([folder.films]), reader, MeasureOptions(), out, draw=write_overlay)
    write_page(out, summary.results, RUN)
    return summary


class Page(HTMLParser):
    """Collects attributes and checks that tags close."""

    VOID = ("meta", "img", "input", "br", "link", "hr")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def html_of(folder: Any) -> str:
    return (folder.root / "out" / "index.html").read_text(encoding="utf-8")


def test_overlay_shows_the_film_untouched_away_from_the_spine(folder: Any) -> None:
    folder.add("a.png")
    summary = measured(folder)
    [result] = summary.results()
    film = read_film(folder.films / "a.png")
    overlay, scale = render_overlay(film, result)
    assert result.overlay_scale == scale
    assert overlay.height > film.height * scale
    assert overlay.width > film.width * scale
    corner = np.asarray(overlay)[:20, :20].astype(int)
    assert np.ptp(corner, axis=2).max() == 0


@pytest.mark.parametrize("level", [8, 128, 250])
def test_lines_stand_out_on_dark_and_bright_films(folder: Any, level: int) -> None:
    folder.add("a.png", amplitude=25)
    [result] = measured(folder).results()
    film = read_film(folder.films / "a.png")
    film.pixels[:] = level / 255
    film.pixels[::7, ::5] += 0.02
    overlay, scale = render_overlay(film, result)
    values = np.asarray(overlay).astype(float)
    for number, curve in enumerate(result.primary_curves):
        x, y = curve.upper_line.mean(axis=0) * scale
        patch = values[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5]
        distance = np.abs(patch - theme.curve_colour(number)).sum(axis=2).min()
        shared = any(np.allclose(curve.upper_line, other.lower_line) for other in result.primary_curves)
        assert distance < 30 or shared


def test_text_keeps_off_the_spine(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageDraw

    folder.add("a.png", amplitude=25)
    [result] = measured(folder).results()
    film = read_film(folder.films / "a.png")
    boxes: list[tuple[float, float, float, float]] = []
    real = ImageDraw.ImageDraw.text

    def note(self: Any, position: Any, text: str, **more: Any) -> None:
        box = self.textbbox(position, text, font=more.get("font"), anchor=more.get("anchor"))
        boxes.append(box)
        real(self, position, text, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    _, scale = render_overlay(film, result)
    assert result.vertebrae is not None
    centers = result.vertebrae.centers * scale
    assert len(boxes) > 17
    for left, top, right, bottom in boxes:
        inside = (
            (centers[:, 0] > left)
            & (centers[:, 0] < right)
            & (centers[:, 1] > top)
            & (centers[:, 1] < bottom)
        )
        assert not inside.any()


@pytest.mark.parametrize("side", [-1, 1])
def test_level_names_do_not_run_into_each_other(
    folder: Any, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    """The line of a steep end vertebra reaches the height of its neighbours' names."""
    from PIL import ImageDraw

    from spinecore.spine.levels import LEVELS

    folder.add("a.png", amplitude=50 * side)
    [result] = measured(folder).results()
    boxes: dict[str, tuple[float, float, float, float]] = {}
    real = ImageDraw.ImageDraw.text

    def note(self: Any, position: Any, text: str, **more: Any) -> None:
        if text in LEVELS:
            boxes[text] = self.textbbox(position, text, font=more.get("font"), anchor=more.get("anchor"))
        real(self, position, text, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    film = read_film(folder.films / "a.png")
    _, scale = render_overlay(film, result)
    assert len(boxes) == 17
    for upper, lower in pairwise(LEVELS):
        first, second = boxes[upper], boxes[lower]
        apart = (
            first[3] <= second[1] or second[3] <= first[1] or first[2] <= second[0] or second[2] <= first[0]
        )
        assert apart, (upper, lower)
    assert min(box[1] for box in boxes.values()) >= 0
    assert max(box[3] for box in boxes.values()) <= film.height * scale


def test_mask_only_film_has_an_overlay_without_levels(folder: Any) -> None:
    from spinecore.io.masks import write_mask
    from spinecore.measure.readers import MaskReader
    from spinecore.spine.raster import polygon_mask
    from spinecore.spine.vertebrae import Vertebrae

    folder.add("a.png", amplitude=25)
    polygon = Vertebrae.from_corners(folder.corners["a.png"]).column_polygon()
    write_mask(folder.root / "masks" / "a.png", polygon_mask(polygon, 640, 240))
    out = folder.root / "out"
    summary = run_films(
        find_films([folder.films]),
        MaskReader(folder.root / "masks"),
        MeasureOptions("centerline_tangent"),
        out,
        draw=write_overlay,
    )
    assert summary.exit_code == 0
    write_page(out, summary.results, RUN)
    assert "levels unknown" in html_of(folder)


def test_page_is_self_contained_and_well_formed(folder: Any) -> None:
    for number in range(8):
        folder.add(f"s/film{number}.png", amplitude=4.0 * number)
    (folder.films / "bad.png").write_bytes(b"")
    measured(folder)
    html = html_of(folder)
    page = Page(html)
    assert not re.search(r"https?://", html)
    sources = [attributes["src"] for tag, attributes in page.tags if "src" in attributes]
    assert len(sources) == 8
    for source in sources:
        assert source is not None
        picture = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        assert picture.format == "JPEG"
        assert picture.height >= 300
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object")]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    for link in links:
        assert link is not None
        assert (folder.root / "out" / link).is_file()


def test_page_says_what_failed_and_that_it_is_an_aid(folder: Any) -> None:
    folder.add("a.png")
    (folder.films / "bad.png").write_bytes(b"")
    measured(folder)
    html = html_of(folder)
    assert "bad.png" in html
    assert "the file is empty (0 bytes)" in html
    assert html.lower().count("a measuring aid, not a diagnosis") == 1
    for definition in theme.DEFINITION_WORDS:
        assert definition in html


def test_doubtful_films_come_first(folder: Any) -> None:
    for name in ("a.png", "b.png", "c.png"):
        folder.add(name)
    folder.corners["b.png"] = folder.corners["b.png"][::-1]
    folder._write_landmarks()
    text = folder.landmarks.read_text().splitlines()
    weak = [line.replace(",1.0,", ",0.3,", 1) if line.startswith("c.png") else line for line in text]
    folder.landmarks.write_text("\n".join(weak) + "\n")
    measured(folder)
    order = re.findall(r'data-name="([^"]+)"', html_of(folder))
    assert order[-1] == "a.png"
    assert set(order) == {"a.png", "b.png", "c.png"}


def test_hostile_names_are_escaped(folder: Any) -> None:
    folder.add("<script>alert(1)<|script>&\"'.png")
    measured(folder)
    html = html_of(folder)
    assert "<script>alert" not in html
    Page(html)


def test_names_with_url_characters_link_to_their_overlay(folder: Any) -> None:
    folder.add("50% #1?.png")
    measured(folder)
    from urllib.parse import unquote

    [link] = [attributes["href"] for tag, attributes in Page(html_of(folder)).tags if tag == "a"]
    assert link is not None
    assert (folder.root / "out" / unquote(link)).is_file()
    assert not set("#?") & set(link)


def test_summary_counts(folder: Any) -> None:
    for number in range(5):
        folder.add(f"film{number}.png", amplitude=8.0 * number)
    (folder.films / "bad.png").write_bytes(b"")
    counts = count_run(measured(folder).results())
    assert (counts.measured, counts.failed, counts.total) == (5, 1, 6)
    assert sum(number for _, number, _ in counts.shares()) == 5
    assert counts.median == sorted(counts.angles)[2]


@pytest.mark.parametrize("flag", ["spine-doubtful", "vertebrae-incomplete"])
def test_angles_of_what_may_be_no_spine_count_in_no_statistics(folder: Any, flag: str) -> None:
    for number in range(3):
        folder.add(f"film{number}.png", amplitude=8.0 * (number + 1))
    first, second, third = measured(folder).results()
    doubted = dataclasses.replace(third, flags=(*third.flags, flag))
    counts = count_run([first, second, doubted])
    assert (counts.measured, counts.doubtful, len(counts.angles)) == (3, 1, 2)
    assert sum(number for _, number, _ in counts.shares()) == 2
    write_page(folder.root / "out", lambda: iter([first, second, doubted]), RUN)
    assert "1 doubtful film is left out" in " ".join(html_of(folder).split())


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on this machine")
    return found


def shot(page: str, target: Path, width: int, fragment: str = "") -> np.ndarray:
    subprocess.run(
        [
            chromium(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={target.parent / 'profile'}",
            f"--screenshot={target}",
            f"--window-size={width},900",
            f"file://{page}{fragment}",
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with Image.open(target) as image:
        return np.asarray(image.convert("L")).astype(float)


def test_page_opens_in_a_browser_and_shows_the_overlay(folder: Any, tmp_path: Path) -> None:
    folder.add("a.png", amplitude=25)
    folder.add("b.png")
    measured(folder)
    page = str(folder.root / "out" / "index.html")
    sheet = shot(page, tmp_path / "sheet.png", 1400)
    opened = shot(page, tmp_path / "opened.png", 1400, "#a.png")
    assert sheet.std() > 20
    # The dialog covers the middle of the page with the dark panel of the overlay.
    assert np.abs(opened - sheet)[200:700, 150:600].mean() > 30
