from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinecore.io.errors import FilmError, UsageError
from spinecore.io.film import Film
from spinecore.io.find import FilmSource
from spinecore.io.landmarks import VERTEBRAE_COLUMNS
from spinecore.io.masks import write_mask
from spinecore.measure.film import measure_film
from spinecore.measure.options import MeasureOptions
from spinecore.measure.readers import LandmarkReader, MaskReader
from spinecore.spine import DEFINITIONS, aasce_angles, measure_curves
from spinecore.spine.raster import polygon_mask
from spinecore.spine.vertebrae import Vertebrae

SOURCE = FilmSource(Path("a.png"), "a.png", "a")


def film(width: int = 240, height: int = 640) -> Film:
    return Film(Path("a.png"), np.zeros((height, width), dtype=np.float32), flags=("low-contrast",))


def test_landmarks_give_every_definition_and_the_aasce_angles(folder: Any) -> None:
    folder.add("a.png")
    vertebrae = Vertebrae.from_corners(folder.corners["a.png"])
    result = measure_film(SOURCE, film(), LandmarkReader(folder.landmarks))
    assert result.measured
    assert result.flags == ("low-contrast",)
    assert set(result.curves) == set(DEFINITIONS)
    assert result.definitions == ("aasce_midbody",)
    for definition, curves in result.curves.items():
        expected = [curve.cobb_deg for curve in measure_curves(vertebrae, definition)]
        assert [curve.cobb_deg for curve in curves] == pytest.approx(expected)
    assert result.aasce == pytest.approx(tuple(aasce_angles(vertebrae, 640)))
    assert result.mask is not None
    assert np.array_equal(result.mask, polygon_mask(vertebrae.column_polygon(), 640, 240))


@pytest.mark.parametrize("aspect", [0.5, 2.0])
def test_angles_are_those_of_square_pixels(folder: Any, tmp_path: Path, aspect: float) -> None:
    """The same spine on a film whose pixels are twice as high, or as wide."""
    folder.add("a.png")
    levels = [line.split(",")[1] for line in folder.landmarks.read_text().splitlines()[1:]]
    corners = folder.corners["a.png"]
    tables = {}
    for name, scale in (("square", 1.0), ("other", aspect)):
        tables[name] = tmp_path / f"{name}.csv"
        tables[name].write_text(rows(corners / (1.0, scale), levels))
    square = measure_film(SOURCE, film(), LandmarkReader(tables["square"]))
    height = round(640 / aspect)
    squeezed = dataclasses.replace(film(height=height), pixel_aspect=aspect)
    found = measure_film(SOURCE, squeezed, LandmarkReader(tables["other"]))
    assert found.aasce == pytest.approx(square.aasce)
    for definition in DEFINITIONS:
        for curve, expected in zip(found.curves[definition], square.curves[definition], strict=True):
            assert curve.cobb_deg == pytest.approx(expected.cobb_deg)
            assert curve.upper_line * (1.0, aspect) == pytest.approx(expected.upper_line)
    assert found.vertebrae is not None
    assert found.vertebrae.corners == pytest.approx(corners / (1.0, aspect), abs=1e-6)
    tangent = MeasureOptions("centerline_tangent")
    for result in (square, found):
        assert result.mask is not None
        write_mask(tmp_path / f"{len(result.mask)}" / "a.png", result.mask)
    drawn = measure_film(SOURCE, film(), MaskReader(tmp_path / "640", [SOURCE]), tangent)
    coarse = measure_film(SOURCE, squeezed, MaskReader(tmp_path / f"{height}", [SOURCE]), tangent)
    assert coarse.primary_curves[0].cobb_deg == pytest.approx(drawn.primary_curves[0].cobb_deg, abs=1.5)


def test_all_lists_every_definition(folder: Any) -> None:
    folder.add("a.png")
    result = measure_film(SOURCE, film(), LandmarkReader(folder.landmarks), MeasureOptions("all"))
    assert set(result.definitions) == set(DEFINITIONS)
    assert result.primary == "aasce_midbody"


def test_unknown_definition_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="aasce_midbody"):
        MeasureOptions("cobb")


def rows(corners: np.ndarray, levels: list[str]) -> str:
    lines = [",".join(VERTEBRAE_COLUMNS)]
    for level, quad in zip(levels, corners, strict=True):
        lines.append(",".join(["a.png", level, "1", *map(str, quad.ravel())]))
    return "\n".join(lines) + "\n"


def test_names_travel_with_their_corners(folder: Any) -> None:
    folder.add("a.png")
    corners = folder.corners["a.png"]
    levels = list(Vertebrae.from_corners(corners).levels)
    folder.landmarks.write_text(rows(corners[::-1], levels[::-1]))
    result = measure_film(SOURCE, film(), LandmarkReader(folder.landmarks))
    assert result.vertebrae is not None
    assert result.vertebrae.levels == tuple(levels)
    assert np.allclose(result.vertebrae.corners, corners)
    assert "landmarks-repaired" in result.flags


def test_names_against_the_order_are_flagged_and_give_no_aasce_angles(folder: Any) -> None:
    folder.add("a.png")
    levels = list(Vertebrae.from_corners(folder.corners["a.png"]).levels)
    folder.landmarks.write_text(rows(folder.corners["a.png"], levels[::-1]))
    result = measure_film(SOURCE, film(), LandmarkReader(folder.landmarks))
    assert "levels-suspect" in result.flags
    assert result.aasce is None


def test_fewer_than_seventeen_are_measured_but_have_no_aasce_angles(folder: Any) -> None:
    folder.add("a.png")
    corners = folder.corners["a.png"][3:12]
    folder.landmarks.write_text(rows(corners, [f"T{n}" for n in range(4, 13)]))
    result = measure_film(SOURCE, film(), LandmarkReader(folder.landmarks))
    assert result.aasce is None
    assert "vertebrae:9" in result.flags
    assert result.primary_curves


def test_corners_outside_the_film_are_flagged(folder: Any) -> None:
    folder.add("a.png")
    result = measure_film(SOURCE, film(width=130), LandmarkReader(folder.landmarks))
    assert "landmarks-outside-film" in result.flags


def test_landmarks_beyond_repair_are_refused(folder: Any) -> None:
    folder.add("a.png")
    corners = folder.corners["a.png"].copy()
    corners[5] = corners[5].mean(axis=0)
    levels = list(Vertebrae.from_corners(corners).levels)
    folder.landmarks.write_text(rows(corners, levels))
    with pytest.raises(FilmError, match="beyond repair"):
        measure_film(SOURCE, film(), LandmarkReader(folder.landmarks))


def masked(folder: Any) -> Path:
    folder.add("a.png", amplitude=30.0)
    polygon = Vertebrae.from_corners(folder.corners["a.png"]).column_polygon()
    write_mask(folder.root / "masks" / "a.png", polygon_mask(polygon, 640, 240))
    return folder.root / "masks"


def test_masks_give_the_centre_line_alone(folder: Any) -> None:
    result = measure_film(SOURCE, film(), MaskReader(masked(folder)), MeasureOptions("centerline_tangent"))
    assert set(result.curves) == {"centerline_tangent"}
    assert result.vertebrae is None
    assert result.aasce is None
    # Tangents of x = A sin(2 pi y / L) turn by 2 atan(2 pi A / L) between the inflections and the ends.
    exact = 2 * np.degrees(np.arctan(2 * np.pi * 30 / 560))
    assert result.primary_curves[0].cobb_deg == pytest.approx(exact, abs=3.0)


def test_masks_cannot_give_endplate_angles(folder: Any) -> None:
    with pytest.raises(FilmError, match="centerline_tangent"):
        measure_film(SOURCE, film(), MaskReader(masked(folder)), MeasureOptions("srs_endplate"))


def test_mask_of_another_size_and_empty_mask_are_refused(folder: Any) -> None:
    reader = MaskReader(masked(folder))
    with pytest.raises(FilmError, match="240 x 640 pixels, the film 240 x 500"):
        measure_film(SOURCE, film(height=500), reader, MeasureOptions("centerline_tangent"))
    write_mask(folder.root / "masks" / "a.png", np.zeros((640, 240), dtype=bool))
    with pytest.raises(FilmError, match="empty"):
        measure_film(SOURCE, film(), reader, MeasureOptions("centerline_tangent"))


@pytest.mark.parametrize(("weak", "doubtful"), [(0, False), (8, False), (9, True), (17, True)])
def test_mostly_weak_vertebrae_may_be_no_spine_at_all(folder: Any, weak: int, doubtful: bool) -> None:
    folder.add("a.png")
    lines = folder.landmarks.read_text().splitlines()
    for row in range(1, 1 + weak):
        film_name, level, _, *more = lines[row].split(",")
        lines[row] = ",".join([film_name, level, "0.1", *more])
    folder.landmarks.write_text("\n".join(lines) + "\n")
    result = measure_film(SOURCE, film(), LandmarkReader(folder.landmarks))
    assert ("spine-doubtful" in result.flags) == doubtful


@pytest.mark.parametrize("definition", [*DEFINITIONS, "all"])
def test_a_single_vertebra_is_no_spine_in_any_definition(folder: Any, definition: str) -> None:
    folder.add("a.png")
    quad = folder.corners["a.png"][5:6]
    folder.landmarks.write_text(rows(quad, ["T6"]))
    with pytest.raises(FilmError, match="1 vertebrae, at least 2"):
        measure_film(SOURCE, film(), LandmarkReader(folder.landmarks), MeasureOptions(definition))


@pytest.mark.parametrize(("periods", "spans"), [(1.25, False), (1.5, True)])
def test_an_angle_across_several_curves_is_flagged(folder: Any, periods: float, spans: bool) -> None:
    """With one and a half periods T1 and L5 lean apart as far as the ends of each of the three curves."""
    folder.add("a.png", amplitude=25, periods=periods)
    found = measure_film(
        FilmSource(folder.films / "a.png", "a.png", "a"), film(), LandmarkReader(folder.landmarks)
    )
    assert ("major-spans-curves" in found.flags) is spans
    assert (found.primary_curves[0].upper_level, found.primary_curves[0].lower_level) == (
        ("T1", "L5") if spans else ("T1", "T7")
    )
