"""Shipped weights on films and phantoms not trained on. The limits are this project's first bar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import spinecore
from spinecore.metrics import dice
from spinecore.plugins.r2mf_net import SPEC
from spinecore.plugins.r2mf_net.reader import R2MFReader
from spinecore.plugins.r2mf_net.trainer import PHANTOM_SEED, validation_figures
from spinecore.spine import aasce_angles
from spinecore.spine.phantom import phantom_patient
from spinecore.training.run import annotated_films
from spinecore.weights import read_card, resolve_weights


@pytest.fixture(scope="module")
def reader() -> R2MFReader:
    return R2MFReader(spinecore.create_model("r2mf_net", weights="shipped"))


def test_held_out_films(reader: R2MFReader, aasce_folder: Path) -> None:
    films = annotated_films(aasce_folder)
    card = read_card(resolve_weights(SPEC, "shipped"))
    assert [films.names[i] for i in films.validation] == card["validation_films"]
    assert len(films.validation) >= 80
    figures = validation_figures(reader, films, [films.pixels(int(i)) for i in films.validation])
    assert figures["dice"] >= 0.88
    assert figures["cobb_mae"] <= 4.5
    assert figures["within_5"] >= 68
    assert figures["smape"] <= 12.5
    assert figures["cobb_mae"] == pytest.approx(card["validation"]["cobb_mae_deg"], abs=0.1)


def test_phantoms_of_unseen_patients_in_three_positions(reader: R2MFReader) -> None:
    errors, overlaps = [], []
    for seed in range(4):
        assert seed < PHANTOM_SEED
        for film in phantom_patient(seed).values():
            (found,) = reader.read([film.pixels])
            height = float(film.pixels.shape[0])
            errors.append(aasce_angles(found.vertebrae, height)[0] - aasce_angles(film.vertebrae, height)[0])
            assert found.mask is not None
            overlaps.append(dice(found.mask, film.mask))
    assert np.abs(errors).mean() <= 2.0
    assert np.mean(overlaps) >= 0.95
    assert not np.isnan(errors).any()
