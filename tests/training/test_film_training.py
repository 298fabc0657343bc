from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from spinecore.io.aasce import corners_to_landmarks, series_stem
from spinecore.io.errors import UsageError
from spinecore.plugins.r2mf_net.example import SMALL
from spinecore.spine import aasce_angles
from spinecore.spine.phantom import phantom_film
from spinecore.training.run import annotated_films, train_command
from spinecore.weights import checksum, read_card


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve phantoms of six series in the AASCE layout; the last one has two corners swapped."""
    root = tmp_path_factory.mktemp("films")
    (root / "images").mkdir()
    names, rows, angles = [], [], []
    for i in range(12):
        film = phantom_film(500 + i, height=256, width=112)
        names.append(f"x-{i // 2 + 1:02d}-Jan-2017-{160 + i // 2} {'AB'[i % 2]} AP.png")
        Image.fromarray((film.pixels * 255).astype(np.uint8)).save(root / "images" / names[-1])
        corners = film.vertebrae.corners.copy()
        if i == 11:
            corners[3] = corners[3][[1, 0, 2, 3]]
        height, width = film.pixels.shape
        rows.append(corners_to_landmarks(corners, width, height))
        angles.append(aasce_angles(film.vertebrae, float(height)))
    (root / "filenames.csv").write_text("\n".join(names) + "\n")
    for name, values in (("landmarks", rows), ("angles", angles)):
        np.savetxt(root / f"{name}.csv", np.array(values), delimiter=",", fmt="%.9f")
    return root


OPTIONS = {"steps": 6, "batch": 2, "phantoms": 3, "config": asdict(SMALL), "threads": 1}


def test_series_never_straddle_the_split_and_flawed_films_never_validate(folder: Path) -> None:
    films = annotated_films(folder, validation_fraction=0.4)
    stems = [{series_stem(films.names[i]) for i in part} for part in (films.train, films.validation)]
    assert not stems[0] & stems[1]
    assert all(stems)
    assert 11 not in films.validation


def test_a_run_writes_weights_with_card_log_and_curves_and_resumes_exactly(
    folder: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    train_command("r2mf_net", folder, whole, **OPTIONS)
    weights = whole / "weights.safetensors"
    card = read_card(weights)
    assert card["sha256"] == checksum(weights)
    films = annotated_films(folder)
    assert card["films"] == len(films.train)
    assert card["validation_films"] == [films.names[i] for i in films.validation]
    assert card["phantoms"] == 3
    assert {"cobb_mae", "within_5", "smape", "dice"} <= set(card["validation"])
    assert len(card["constant_predictor"]) == 3
    assert (whole / "curves.png").stat().st_size > 1000
    assert [r["step"] for r in csv.DictReader((whole / "train.csv").open())] == ["6"]
    options = json.loads((whole / "config.json").read_text())
    assert options["schedule"]["steps"] == 6

    parts = tmp_path / "parts"
    train_command("r2mf_net", folder, parts, stop_after=2, **OPTIONS)
    assert not (parts / "weights.safetensors").exists()
    # Threads are remembered, so that the sums are the same whatever this machine would use.
    before = torch.get_num_threads()
    train_command("r2mf_net", folder, parts, **{**OPTIONS, "threads": None})
    assert torch.get_num_threads() == before
    a, b = load_file(weights), load_file(parts / "weights.safetensors")
    assert all(torch.equal(a[k], b[k]) for k in a)

    with pytest.raises(UsageError, match="lr"):
        train_command("r2mf_net", folder, parts, **OPTIONS, lr=0.5)
    train_command("r2mf_net", folder, parts, **OPTIONS, lr=1e-4, fresh=True)
    assert not torch.equal(
        load_file(parts / "weights.safetensors")["fine_mask.weight"], a["fine_mask.weight"]
    )


def test_too_few_films_or_a_missing_folder_say_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fewer than one batch"):
        train_command("r2mf_net", folder, tmp_path / "run", **{**OPTIONS, "batch": 64})
    with pytest.raises(UsageError, match="nowhere"):
        train_command("r2mf_net", tmp_path / "nowhere", tmp_path / "run", **OPTIONS)
