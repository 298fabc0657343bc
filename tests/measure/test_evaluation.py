from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinecore.io.aasce import corners_to_landmarks, load_aasce, split_by_series
from spinecore.io.errors import FilmError, UsageError
from spinecore.io.find import find_films
from spinecore.measure.evaluation import evaluate_run, evaluation_json, figures
from spinecore.measure.options import MeasureOptions
from spinecore.measure.readers import LandmarkReader
from spinecore.measure.run import run_films
from spinecore.spine import aasce_angles, measure_curves
from spinecore.spine.vertebrae import Vertebrae

HEIGHT, WIDTH = 640, 240
NAMES = tuple(f"x-01-Jan-2017-{number} A AP.png" for number in range(20))


@pytest.fixture
def reference(folder: Any) -> Path:
    """Twenty films in the AASCE format, with amplitudes that make their angles differ."""
    for number, name in enumerate(NAMES):
        folder.add(name, amplitude=3.0 + 2.0 * number)
    data: Path = folder.root / "reference"
    data.mkdir()
    (data / "images").symlink_to(folder.films, target_is_directory=True)
    write_reference(folder, data)
    return data


def write_reference(folder: Any, data: Path) -> None:
    corners = [folder.corners[name] for name in NAMES]
    (data / "filenames.csv").write_text("\n".join(NAMES) + "\n")
    rows = [",".join(map(repr, corners_to_landmarks(quads, WIDTH, HEIGHT).tolist())) for quads in corners]
    (data / "landmarks.csv").write_text("\n".join(rows) + "\n")
    angles = [aasce_angles(Vertebrae.from_corners(quads), HEIGHT) for quads in corners]
    (data / "angles.csv").write_text(
        "\n".join(",".join(f"{angle:.3f}" for angle in row) for row in angles) + "\n"
    )


def measure(folder: Any) -> Path:
    out: Path = folder.root / "out"
    run_films(find_films([folder.films]), LandmarkReader(folder.landmarks), MeasureOptions(), out)
    return out


def test_the_reference_itself_scores_perfectly(folder: Any, reference: Path) -> None:
    evaluation = evaluate_run(measure(folder), load_aasce(reference), "all")
    figure = figures(evaluation.films)
    assert figure["films"] == 20
    assert figure["missed"] == 0
    assert figure["dice"] == pytest.approx(1.0, abs=1e-3)
    assert figure["hd95_px"] == pytest.approx(0.0, abs=1.0)
    assert figure["major_mae_deg"] == pytest.approx(0.0, abs=1e-3)
    assert figure["corner_error_percent_mean"] == pytest.approx(0.0, abs=1e-6)
    assert figure["within_5_deg_percent"] == 100.0
    assert figure["icc_a1"]["value"] == pytest.approx(1.0)


def test_a_known_shift_gives_the_known_corner_error_and_no_angle_error(folder: Any, reference: Path) -> None:
    clean = {name: corners.copy() for name, corners in folder.corners.items()}
    folder.corners = {name: corners + np.array([0.0, 6.5]) for name, corners in clean.items()}
    folder._write_landmarks()
    evaluation = evaluate_run(measure(folder), load_aasce(reference), "all")
    figure = figures(evaluation.films)
    heights = Vertebrae.from_corners(clean[NAMES[0]]).heights.mean()
    assert figure["corner_error_percent_mean"] == pytest.approx(100 * 6.5 / heights, rel=1e-6)
    assert figure["tilt_mae_deg"] == pytest.approx(0.0, abs=1e-6)
    assert figure["major_mae_deg"] == pytest.approx(0.0, abs=1e-3)
    assert 0.9 < figure["dice"] < 1.0


def test_failed_and_absent_films_count_as_missed(folder: Any, reference: Path) -> None:
    (folder.films / NAMES[3]).rename(folder.root / "kept.png")
    out = folder.root / "out"
    sources = [source for source in find_films([folder.films]) if source.film != NAMES[7]]
    run_films(sources, LandmarkReader(folder.landmarks), MeasureOptions(), out)
    (folder.root / "kept.png").rename(folder.films / NAMES[3])
    evaluation = evaluate_run(out, load_aasce(reference), "all")
    figure = figures(evaluation.films)
    assert figure["missed"] == 2
    assert figure["dice"] == pytest.approx(18 / 20, abs=2e-3)
    assert figure["within_5_deg_percent"] == pytest.approx(90.0)
    assert figure["smape_percent"] == pytest.approx(10.0, abs=0.01)
    assert figure["hd95_missed"] == 2
    assert {film.name for film in evaluation.films if film.missed} == {NAMES[3], NAMES[7]}


def test_constant_is_the_mean_of_the_films_outside_the_part(folder: Any, reference: Path) -> None:
    data = load_aasce(reference)
    evaluation = evaluate_run(measure(folder), data, "validation")
    outside = ~split_by_series(data.names)
    assert evaluation.constant == pytest.approx(tuple(data.angles[outside].mean(axis=0)))
    held_out = figures(evaluation.films, evaluation.constant)
    expected = np.abs(data.angles[~outside, 0] - data.angles[outside, 0].mean()).mean()
    assert held_out["major_mae_deg"] == pytest.approx(expected)
    assert len(evaluation.films) == (~outside).sum()


def test_part_all_takes_the_constant_of_the_card(folder: Any, reference: Path) -> None:
    out = measure(folder)
    assert evaluate_run(out, load_aasce(reference), "all").constant is None
    assert evaluate_run(out, load_aasce(reference), "all", [30, 20, 10]).constant == (30, 20, 10)


def test_flawed_references_are_told_apart(folder: Any, reference: Path) -> None:
    good = folder.corners[NAMES[2]].copy()
    folder.corners[NAMES[2]] = np.roll(good, -1, axis=0)
    broken = folder.corners[NAMES[5]].copy()
    broken[4] = broken[4].mean(axis=0)
    flawed = dict(folder.corners)
    flawed[NAMES[5]] = broken
    original, folder.corners = folder.corners, flawed
    write_reference(folder, reference)
    folder.corners = original
    evaluation = evaluate_run(measure(folder), load_aasce(reference), "all")
    assert evaluation.left_out == (NAMES[5],)
    assert len(evaluation.chosen(clean_only=False)) == 19
    assert len(evaluation.chosen(clean_only=True)) == 18
    [repaired] = [film for film in evaluation.films if not film.clean]
    exact = measure_curves(Vertebrae.from_corners(good))[0].cobb_deg
    assert repaired.reference_angles[0] == pytest.approx(exact, abs=1e-6)


def test_json_is_valid_and_complete(folder: Any, reference: Path) -> None:
    (folder.films / NAMES[0]).write_bytes(b"")
    out = measure(folder)
    (folder.films / NAMES[0]).unlink()
    folder.add(NAMES[0])
    record = evaluation_json(evaluate_run(out, load_aasce(reference), "all"))
    text = json.dumps(record, allow_nan=False)
    assert json.loads(text)["schema"] == "spinecore.evaluation/1"
    assert record["clean"]["run"]["missed"] == 1
    assert len(record["films"]) == 20
    assert record["films"][0]["angles"] == [None, None, None]


def test_plot_is_written(folder: Any, reference: Path) -> None:
    from PIL import Image

    from spinecore.report.agreement import write_agreement_plot

    evaluation = evaluate_run(measure(folder), load_aasce(reference), "all")
    write_agreement_plot(folder.root / "e.png", evaluation)
    with Image.open(folder.root / "e.png") as image:
        assert min(image.size) > 400


def test_wrong_folders_and_parts_are_refused(folder: Any, reference: Path) -> None:
    data = load_aasce(reference)
    with pytest.raises(UsageError, match=r"films\.csv: missing"):
        evaluate_run(folder.root, data, "all")
    out = measure(folder)
    with pytest.raises(UsageError, match="unknown"):
        evaluate_run(out, data, "test")
    (out / "films.csv").write_text("film,width,height,status,reason,quality_flags,seconds\n")
    with pytest.raises(UsageError, match="none of the 20 films"):
        evaluate_run(out, data, "all")


def test_films_of_another_size_are_refused(folder: Any, reference: Path) -> None:
    from PIL import Image

    out = measure(folder)
    with Image.open(folder.films / NAMES[1]) as image:
        image.resize((WIDTH * 2, HEIGHT * 2)).save(folder.films / NAMES[1])
    with pytest.raises(FilmError, match="measured on 240 x 640 pixels"):
        evaluate_run(out, load_aasce(reference), "all")
