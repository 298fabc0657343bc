"""`spinecore screen` from files to page with the shipped weights: scores, findings, failures, resume."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

from spinecore.cli.app import app
from spinecore.io.errors import UsageError
from spinecore.measure.model_reader import load_model_reader
from spinecore.plugins.scoligait import SPEC
from spinecore.plugins.scoligait.picture import walker_svg
from spinecore.plugins.scoligait.recordings import write_poses, write_simulated
from spinecore.plugins.scoligait.simulator import draw_camera, draw_walker, simulate
from spinecore.weights import load_weights, read_card

WALKERS = 8


def screen(*arguments: object) -> int:
    return CliRunner().invoke(app, ["screen", *map(str, arguments)]).exit_code


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Eight simulated walkers of rising severity, a broken file and one without a trunk."""
    folder = tmp_path_factory.mktemp("screen")
    write_simulated(folder / "walks", WALKERS)
    (folder / "walks" / "broken.json").write_text("{")
    draw = np.random.default_rng(3)
    walk = simulate(draw_walker(draw, 0.2), draw_camera(draw), draw)
    walk.confidence[:, 5:7] = 0.0
    write_poses(folder / "walks" / "<b>legs<i>.csv", walk)
    assert screen(folder / "walks", "-o", folder / "out") == 3
    yield folder
    shutil.rmtree(folder)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_scores_rise_with_severity(run: Path) -> None:
    """Walkers that the weights have not seen; the names say their order."""
    found = {r["subject"]: float(r["score"]) for r in rows(run / "out" / "screening.csv")}
    assert sorted(found) == [f"walker-{c}" for c in "abcdefgh"]
    assert spearmanr([found[k] for k in sorted(found)], range(WALKERS)).statistic > 0.6
    for r in rows(run / "out" / "screening.csv"):
        assert 0 <= float(r["low"]) <= float(r["score"]) <= float(r["high"]) <= 1
        assert int(r["positive"]) == (float(r["score"]) >= 0.5)
        assert int(r["clips"]) == 2
    assert len(rows(run / "out" / "clips.csv")) == 2 * WALKERS


def test_failures_are_kept_and_named(run: Path) -> None:
    record = json.loads((run / "out" / "run.json").read_text())
    assert record["recordings"] == {"planned": 18, "screened": 16, "failed": 2, "reused": 0}
    assert record["weights_sha256"]
    reasons = [json.loads(f.read_text()) for f in sorted((run / "out" / "json").glob("*.json"))]
    told = {r["recording"]: r["reason"] for r in reasons if r["reason"]}
    assert "not readable JSON" in told["broken.json"]
    assert "left_shoulder, right_shoulder are not in any of 96 frames" in told["<b>legs<i>.csv"]
    assert "legs" in told["<b>legs<i>.csv"]


class Words(HTMLParser):
    """Text, links and pictures of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src") and v]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_shows_every_subject_once(run: Path) -> None:
    page = Words()
    page.feed((run / "out" / "index.html").read_text(encoding="utf-8"))
    text = " ".join(" ".join(page.text).split())
    assert text.count("A screening aid, not a diagnosis.") == 1
    assert "These weights know simulated walkers only." in text
    assert page.tags.count("article") == WALKERS
    assert page.tags.count("svg") == WALKERS
    assert "<b>legs<i>.csv" in text  # a name is text, not markup
    for link in page.links:
        assert (run / "out" / link).is_file(), link
    first = text.index("walker-")
    best = max(rows(run / "out" / "screening.csv"), key=lambda r: float(r["score"]))
    assert text[first:].startswith(best["subject"])
    assert "far" in (run / "out" / "index.html").read_text()


def test_resume_keeps_what_is_done_and_notices_changes(run: Path) -> None:
    before = (run / "out" / "screening.csv").read_text()
    (run / "walks" / "walker-a_trial1.csv").write_bytes((run / "walks" / "walker-a_trial2.csv").read_bytes())
    try:
        assert screen(run / "walks", "-o", run / "out", "--resume") == 3
        record = json.loads((run / "out" / "run.json").read_text())
        assert record["recordings"]["reused"] == 15
        after = (run / "out" / "screening.csv").read_text()
        assert after != before
        kept = set(before.splitlines()) & set(after.splitlines())
        assert len(kept) == WALKERS  # the header and everybody but walker-a
        assert not any(line.startswith("walker-a") for line in kept)
    finally:
        write_simulated(run / "walks", WALKERS)


def test_wrong_requests_say_why(tmp_path: Path) -> None:
    runner = CliRunner()
    missing = runner.invoke(app, ["screen", str(tmp_path / "none"), "-o", str(tmp_path / "out")])
    assert "no such file or folder" in str(missing.exception)
    empty = runner.invoke(app, ["screen", str(tmp_path), "-o", str(tmp_path / "out")])
    assert "no recordings in" in str(empty.exception)
    other = runner.invoke(app, ["screen", str(tmp_path), "-o", str(tmp_path / "out"), "--model", "r2mf_net"])
    assert "model of task 'film'" in str(other.exception)
    nothing = runner.invoke(app, ["screen", "-o", str(tmp_path / "out")])
    assert "--simulate" in str(nothing.exception)
    with pytest.raises(UsageError, match=r"reads no films \(task gait\)"):
        load_model_reader("scoligait", None, "cpu")


def test_shipped_weights_say_what_they_are() -> None:
    path = SPEC.weights_path()
    assert path is not None
    assert path.stat().st_size <= 8 * 2**20
    card = read_card(path)
    assert card["source"]["dataset"] == "simulated"
    load_weights(SPEC, path)
    assert "simulated" in (path.parent / "CARD.md").read_text(encoding="utf-8")


def test_the_walker_is_drawn_with_missing_joints() -> None:
    pose: list[list[float | None]] = [[0.1 * i, 0.1 * i] for i in range(17)]
    pose[9] = [None, None]
    values = {"shoulder_tilt": 3.0, "hip_tilt": None, "trunk_lean": -2.0}
    svg = walker_svg(pose, values, {"shoulder_tilt": 4.0})
    assert "shoulders 3.0°" in svg
    assert "left lower" in svg
    assert "hips" not in svg
    assert "trunk 2.0° right" in svg
    assert "nan" not in svg.lower()


def test_the_page_renders_without_overflow(run: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    probe = (
        "<script>onload=()=>document.title=[document.documentElement.scrollWidth,innerWidth,"
        "[...document.images].filter(i=>i.complete&&!i.naturalWidth).length,"
        "[...document.querySelectorAll('table')].filter(t=>t.offsetWidth>t.parentElement.clientWidth+1).length"
        "].join()</script>"
    )
    page = (run / "out" / "index.html").read_text(encoding="utf-8").replace("</body>", probe + "</body>")
    (run / "out" / "probe.html").write_text(page, encoding="utf-8")
    for width in (500, 1000, 1280):
        dom = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--window-size={width},1000",
                "--virtual-time-budget=4000",
                "--dump-dom",
                (run / "out" / "probe.html").as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        whole, window, broken, wide = map(int, dom.split("<title>")[1].split("</title>")[0].split(","))
        assert whole <= window
        assert broken == 0
        assert wide == 0
