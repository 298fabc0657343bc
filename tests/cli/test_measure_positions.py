"""Standing and bending films of patients, from their list to tables and page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run, rows
from numpy.typing import NDArray
from PIL import Image

from spinecore.spine import LEVELS

HEADER = "film,patient,position\n"


@pytest.fixture
def patient(folder: Any) -> Path:
    """Ann stands and bends to both sides, in a folder of her own; her list."""
    folder.add("ann/standing.png", amplitude=25, periods=1.25)
    folder.add("ann/a.png", amplitude=10, lean=60, periods=1.25)
    folder.add("ann/b.png", amplitude=20, lean=-60, periods=1.25)
    table: Path = folder.root / "positions.csv"
    table.write_text(f"{HEADER}ann/standing.png,Ann,standing\nann/a.png,Ann,bending\nann/b.png,Ann,bending\n")
    return table


def tilts_deg(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    across = (corners[:, 1] + corners[:, 3] - corners[:, 0] - corners[:, 2]) / 2
    return np.degrees(np.arctan2(across[:, 1], across[:, 0]))


def test_residual_flexibility_and_type(folder: Any, run: Run, patient: Path) -> None:
    folder.add("ben.png", amplitude=20)  # not listed: measured as always
    out = folder.root / "out"
    options = ("-o", out, "--landmarks", folder.landmarks)
    code, printed = run("measure", folder.films, *options, "--positions", patient)
    assert code == 0, printed
    bent = rows(out, "flexibility.csv")
    assert len(bent) == 6  # three curves on two films
    standing = tilts_deg(folder.corners["ann/standing.png"])
    for row in bent:
        upper, lower = LEVELS.index(row["upper_level"]), LEVELS.index(row["lower_level"])
        right = row["convexity"] == "image-right"
        whole = (standing[lower] - standing[upper]) * (1 if right else -1)
        turn = tilts_deg(folder.corners[row["bending_film"]])
        residual = (turn[lower] - turn[upper]) * (1 if right else -1)
        assert float(row["cobb_deg"]) == pytest.approx(whole, abs=0.01)
        assert float(row["residual_deg"]) == pytest.approx(residual, abs=0.01)
        assert float(row["flexibility_percent"]) == pytest.approx(100 * (1 - residual / whole), abs=0.1)
        assert row["bending_side"] == ("image-right" if row["bending_film"] == "ann/a.png" else "image-left")
        assert row["towards_convexity"] == ("yes" if row["bending_side"] == row["convexity"] else "no")
    (found,) = rows(out, "patients.csv")
    assert (found["patient"], found["standing_film"]) == ("Ann", "ann/standing.png")
    assert found["bending_films"] == "ann/a.png;ann/b.png"
    assert (found["major_region"], found["lenke_type"], found["possible_types"]) == ("MT", "1", "1;2;3;4")
    assert "T2-T5 and T10-L2" in found["needs"]
    page = (out / "index.html").read_text()
    assert "2 bending films are left out of median and severity" in page
    assert "a lateral film" in page
    assert run("measure", folder.films, *options)[0] == 0  # and no tables of a list that is not given
    assert not (out / "patients.csv").exists()
    assert not (out / "flexibility.csv").exists()


def test_the_list_may_come_from_a_spreadsheet(folder: Any, run: Run, patient: Path) -> None:
    plain = folder.root / "plain"
    options = ("--landmarks", folder.landmarks, "--positions", patient)
    assert run("measure", folder.films, "-o", plain, *options)[0] == 0
    text = patient.read_text().replace(HEADER, "Film,Patient ,Position\n").replace(",", ";")
    patient.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b";;\r\n")
    code, printed = run("measure", folder.films, "-o", folder.root / "out", *options)
    assert code == 0, printed
    for name in ("patients.csv", "flexibility.csv"):
        assert (folder.root / "out" / name).read_bytes() == (plain / name).read_bytes()


def test_a_bending_film_that_failed_is_named(folder: Any, run: Run, patient: Path) -> None:
    (folder.films / "ann" / "a.png").write_bytes(b"no picture")
    out = folder.root / "out"
    code, _ = run("measure", folder.films, "-o", out, "--landmarks", folder.landmarks, "--positions", patient)
    assert code == 3
    reasons = {row["bending_film"]: row["reason"] for row in rows(out, "flexibility.csv")}
    assert reasons["ann/a.png"].startswith("ann/a.png: ")
    assert reasons["ann/b.png"] == ""


def test_two_films_that_lean_one_way_are_asked_about_unless_named(
    folder: Any, run: Run, patient: Path
) -> None:
    folder.add("ann/b.png", amplitude=20, lean=60, periods=1.25)
    out = folder.root / "out"
    options = ("-o", out, "--landmarks", folder.landmarks, "--positions", patient)
    assert run("measure", folder.films, *options)[0] == 0
    assert "all lean to image-right" in rows(out, "patients.csv")[0]["reason"]
    patient.write_text(patient.read_text().replace("b.png,Ann,bending", "b.png,Ann,Image left"))
    assert run("measure", folder.films, *options)[0] == 0
    assert rows(out, "patients.csv")[0]["reason"] == ""
    sides = {row["bending_film"]: row["bending_side"] for row in rows(out, "flexibility.csv")}
    assert sides == {"ann/a.png": "image-right", "ann/b.png": "image-left"}


def test_without_standing_film_and_with_masks_the_reason_is_said(
    folder: Any, run: Run, patient: Path
) -> None:
    out = folder.root / "out"
    patient.write_text(f"{HEADER}ann/a.png,Ann,bending\nann/gone.png,Ann,standing\n")
    options = ("-o", out, "--landmarks", folder.landmarks, "--positions", patient)
    code, printed = run("measure", folder.films, *options)
    assert code == 0
    assert "films that are not in this run: ann/gone.png" in printed
    assert rows(out, "patients.csv")[0]["reason"] == "no standing film in this run"
    masks = folder.root / "masks" / "ann"
    masks.mkdir(parents=True)
    patient.write_text(f"{HEADER}ann/a.png,Ann,bending\nann/standing.png,Ann,standing\n")
    for name in ("a", "b", "standing"):
        column = np.zeros((640, 240), np.uint8)
        column[20:620, 90:150] = 255
        Image.fromarray(column).save(masks / f"{name}.png")
    given = ("-o", folder.root / "by_mask", "--masks", masks.parent, "--positions", patient)
    assert run("measure", folder.films, *given)[0] == 0
    assert "vertebrae are needed" in rows(folder.root / "by_mask", "flexibility.csv")[0]["reason"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("film,patient\na.png,Ann\n", "column position is missing"),
        (HEADER, "lists no film"),
        (f"{HEADER}ann/a.png,,standing\n", "line 2: patient is empty"),
        (f"{HEADER}ann/a.png,Ann,left bending\n", "'left-bending' is unknown"),
        (f"{HEADER}ann/a.png,Ann,left bending\n", "does not say which of its sides is the patient's"),
        (f"{HEADER}ann/a.png,Ann,sitting\n", "standing, bending, image-left, image-right"),
        (f"{HEADER}ann/a.png,Ann,standing\nann/a.png,Ann,bending\n", "listed more than once"),
        (f"{HEADER}ann/a.png,Ann,standing\nann/b.png,Ann,standing\n", "give each visit a name of its own"),
        (f"{HEADER}other.png,Ann,standing\n", "lists none of the films of this run"),
    ],
)
def test_a_wrong_list_ends_the_run_before_the_first_film(
    folder: Any, run: Run, patient: Path, text: str, words: str
) -> None:
    patient.write_text(text)
    out = folder.root / "out"
    code, printed = run(
        "measure", folder.films, "-o", out, "--landmarks", folder.landmarks, "--positions", patient
    )
    assert code == 2
    assert words in " ".join(printed.split())
    assert not (out / "films.csv").exists()
