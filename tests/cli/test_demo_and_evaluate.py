from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def spinecore(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from spinecore.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "160"},
    )


def test_demo_shows_truth_beside_measurement(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = spinecore("demo", "-o", out, "--corners")
    assert done.returncode == 0, done.stderr
    with (out / "films.csv").open(newline="") as stream:
        films = [row["film"] for row in csv.DictReader(stream)]
    assert films == ["coronal.png", "left_bending.png", "right_bending.png"]
    html = (out / "index.html").read_text(encoding="utf-8")
    assert html.count("truth of the phantom") >= 9
    assert "Standing and bending" in html
    assert "simulated hand" in html
    assert "its training" not in html
    assert "Flexibility" in html


def test_the_page_compares_with_the_truth_of_the_same_definition(tmp_path: Path) -> None:
    """Corners marked without error leave no difference: neither by film nor in the table of positions."""
    import re

    from spinecore.cli import demo
    from spinecore.cli.measure import run_measure
    from spinecore.io.find import find_films
    from spinecore.spine.phantom import phantom_patient

    patient = phantom_patient(5, height=768, width=320, kind=demo.KIND)
    demo._write_films(tmp_path / "films", patient)
    marked = tmp_path / "corners.csv"
    demo._mark_corners(marked, patient, seed=0, noise_px=0.0)
    command = {
        "model": None,
        "weights": None,
        "masks": None,
        "definition": None,
        "positions": None,
        "device": "auto",
    }
    run_measure(
        find_films([tmp_path / "films"]),
        tmp_path / "out",
        {**command, "landmarks": str(marked)},
        resume=False,
        page_text=demo._page_text(patient, by_hand=False),
    )
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "films it has not seen; phantoms of other seeds were part of its training" in html
    table = html[html.index("Standing and bending") :].partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
    assert len(rows) >= 2
    for row in rows:
        assert row[1::2] == row[2::2], row
    for card in html.split('<article class="card"')[1:]:
        angle, truth = re.findall(r"<b>([0-9.]+)°</b>", card)[0], re.findall(r"truth ([0-9.]+)°", card)[0]
        assert float(angle) == pytest.approx(float(truth), abs=0.11)


def test_demo_measures_close_to_the_truth(tmp_path: Path) -> None:
    from spinecore.cli.demo import FILM_HEIGHT, FILM_WIDTH, KIND
    from spinecore.spine.phantom import phantom_patient

    out = tmp_path / "demo"
    assert spinecore("demo", "-o", out, "--corners", "--seed", 3).returncode == 0
    patient = phantom_patient(3, height=FILM_HEIGHT, width=FILM_WIDTH, kind=KIND)
    for position, film in patient.items():
        record = json.loads((out / "json" / f"{position}.json").read_text())
        for definition in ("srs_endplate", "aasce_midbody"):
            found = record["curves"][definition][0]["cobb_deg"]
            # 1.5 pixels on bodies some 90 pixels wide are about 1.4 degrees a line.
            assert found == pytest.approx(film.cobb_deg[definition], abs=6.0)


def test_evaluate_prints_and_writes(tmp_path: Path, aasce_folder: Path) -> None:
    data = aasce_folder
    names = (data / "filenames.csv").read_text().splitlines()
    out = tmp_path / "out"
    films = [data / "images" / name for name in names[:6]]
    done = spinecore("measure", *films, "-o", out, "--landmarks", data / "landmarks.csv")
    assert done.returncode == 0, done.stderr
    done = spinecore("evaluate", out, "--reference", data, "--part", "train")
    assert done.returncode == 0, done.stderr
    assert "major Cobb MAE" in done.stdout
    record = json.loads((out / "evaluation.json").read_text())
    scored = [film for film in record["films"] if not film["missed"]]
    assert len(scored) >= 4
    for film in scored:
        assert film["angles"][0] == pytest.approx(film["reference_angles"][0], abs=0.05)
    assert (out / "evaluation.png").is_file()
