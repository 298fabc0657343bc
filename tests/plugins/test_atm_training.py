from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spinecore.metrics import dice
from spinecore.plugins.atm_net.augment import Augmentation, random_view
from spinecore.plugins.atm_net.errors import SliceError
from spinecore.plugins.atm_net.evaluation import figures
from spinecore.plugins.atm_net.prompts import described, generic
from spinecore.plugins.atm_net.segmenter import Segmenter
from spinecore.plugins.atm_net.spider import load_slices, read_mask, split_patients
from spinecore.plugins.atm_net.task import SliceTask
from spinecore.plugins.atm_net.text import tokens
from spinecore.registry import create_model
from spinecore.spine.lumbar.measures import read_lumbar
from spinecore.spine.phantom.lumbar import lumbar_phantom
from spinecore.training.loop import Schedule, train
from spinecore.training.run import limited_threads

GREY = np.array([0, 76, 29, 150], np.uint8)
SMALL = {"widths": (4, 4, 8, 8, 8), "text_width": 8, "heads": 2, "contrast_width": 4}


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    folder = tmp_path / "slices"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for patient in range(5):
        for n in range(2):
            phantom = lumbar_phantom(10 * patient + n, 96, 64, vertebrae=5)
            name = f"{patient}_t2_SPACE_slice{n}.png"
            Image.fromarray((phantom.pixels * 255).astype(np.uint8)).save(folder / "images" / name)
            Image.fromarray(GREY[phantom.mask]).save(folder / "masks" / name)
    return folder


def test_no_patient_is_on_both_sides_and_the_split_stays() -> None:
    patients = [f"{n}" for n in range(31) for _ in range(3)]
    train_, held = split_patients(patients)
    assert not set(train_) & set(held)
    assert set(train_) | set(held) == set(patients)
    assert len(held) == 8
    assert split_patients(list(reversed(patients))) == (train_, held)
    with pytest.raises(SliceError, match="cannot be split"):
        split_patients(["1"])


def test_a_killed_run_goes_on_to_the_same_weights(
    slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinecore.training.loop.draw_curves", lambda *_: None)
    schedule = Schedule(steps=3, bf16=False, save_every=2, validate_every=3, log_every=1)
    with limited_threads(1):  # tiny tensors: threads would wait for one another
        at_once = train(SliceTask(slices, config=SMALL, batch=2), schedule, tmp_path / "a")
        train(SliceTask(slices, config=SMALL, batch=2), schedule, tmp_path / "b", stop_after=2)
        resumed = train(SliceTask(slices, config=SMALL, batch=2), schedule, tmp_path / "b")
    assert at_once == resumed
    assert set(at_once) == {"dice", "dice_vertebrae", "dice_discs", "dice_canal"}
    a, b = (create_model("atm_net", weights=tmp_path / run).state_dict() for run in ("a", "b"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_errors_of_the_data_name_file_and_remedy(slices: Path) -> None:
    with pytest.raises(SliceError, match="no PNG slices"):
        load_slices(slices / "images")
    name = "0_t2_SPACE_slice0.png"
    mask = slices / "masks" / name
    kept = mask.read_bytes()
    Image.fromarray(np.full((96, 64), 33, np.uint8)).save(mask)
    with pytest.raises(SliceError, match=r"grey values \[33\]"):
        load_slices(slices)
    Image.fromarray(np.zeros((90, 64), np.uint8)).save(mask)
    with pytest.raises(SliceError, match="one size"):
        load_slices(slices)
    mask.write_bytes(kept[:60])
    with pytest.raises(SliceError, match="not a readable picture"):
        load_slices(slices)
    mask.unlink()
    with pytest.raises(SliceError, match="is missing"):
        load_slices(slices)
    mask.write_bytes(kept)
    with pytest.raises(SliceError, match="fewer than one batch"):
        SliceTask(slices, batch=50)
    with pytest.raises(SliceError, match="configuration"):
        SliceTask(slices, config={"depth": 3})


def test_views_move_image_and_mask_alike_and_are_never_mirrored() -> None:
    phantom = lumbar_phantom(1, 160, 128, vertebrae=7)
    mask = torch.from_numpy(phantom.mask).long()[None]
    image = mask[:, None].float() / 3
    plain = Augmentation(log_gamma=0.0, bias_field=0.0, noise=0.0)
    for seed in range(20):
        x, y = random_view(image, mask, torch.Generator().manual_seed(seed), plain)
        moved = (x[0, 0] * 3).round().long()
        assert float((moved == y[0]).float().mean()) > 0.9
        shown = read_lumbar(y[0].numpy())
        if len(shown.column.discs) >= 3:
            canal = np.argwhere(y[0].numpy() == 3)[:, 1].mean()
            assert canal > np.mean([disc.centre[1] for disc in shown.column.discs]), "the canal is behind"
    same = [random_view(image, mask, torch.Generator().manual_seed(7))[0] for _ in range(2)]
    assert torch.equal(*same)


def test_figures_count_what_was_missed_and_what_was_invented() -> None:
    truth = np.zeros((30, 40), np.uint8)
    truth[5:10, 5:10] = 1
    invented = truth.copy()
    invented[20, 20] = 3
    found = figures([truth, invented], [truth, truth], distances=True)
    assert found["dice_vertebrae"] == 1.0
    assert np.isnan(found["dice_discs"])
    assert found["dice_canal"] == 0.0
    assert found["hd95_canal"] == pytest.approx(50.0)


@pytest.mark.parametrize("mode", ["generic", "predicted"])
def test_prompts_stay_when_the_label_changes(
    mode: str, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same slices with other annotations: figures move, and not one word that the network is told."""
    monkeypatch.setattr("spinecore.plugins.atm_net.task.Segmenter", partial(Segmenter, mode=mode))
    task = SliceTask(slices, config=SMALL, batch=2, every=1)
    model = task.build()
    forward, told = model.forward, []

    def watch(x: torch.Tensor, prompts: torch.Tensor | None = None) -> object:
        told.append(tokens(generic())[None] if prompts is None else prompts.clone())
        return forward(x, prompts)

    monkeypatch.setattr(model, "forward", watch)
    figures_before = task.validate(model)
    before = [*told]
    told.clear()
    original = task.slices.masks
    other = tuple(np.where(np.arange(64) < 32, (mask + 1) % 4, 0).astype(np.uint8) for mask in original)
    assert all(described(a) != described(b) for a, b in zip(original, other, strict=True))
    task.slices = replace(task.slices, masks=other)
    assert task.validate(model) != figures_before
    assert len(before) == len(task.validation) * (2 if mode == "predicted" else 1)
    assert all(torch.equal(a, b) for a, b in zip(before, told, strict=True))


def test_described_prompts_are_for_half_of_the_training_images(slices: Path) -> None:
    task = SliceTask(slices, config=SMALL, batch=2)
    labels = torch.from_numpy(np.stack(task.slices.masks[:8])).long()
    plain = 0
    for seed in range(20):
        prompts = task.prompts(labels, torch.Generator().manual_seed(seed))
        assert prompts is not None
        told = [torch.equal(given, tokens(generic())) for given in prompts]
        for given, mask in zip(prompts, labels, strict=True):
            if not torch.equal(given, tokens(generic())):
                assert torch.equal(given, tokens(described(mask.numpy())))
        plain += sum(told)
    assert 55 <= plain <= 105  # of 160, half of them in the mean
    assert (
        SliceTask(slices, config={**SMALL, "text": "none"}, batch=2).prompts(labels, torch.Generator())
        is None
    )


@pytest.fixture(scope="session")
def spider_folder() -> Path:
    """Folder of the real slices; without SPINECORE_DATA a test is skipped, with it their absence fails."""
    folder = Path(os.environ.get("SPINECORE_DATA", "")) / "spider_t2"
    if not os.environ.get("SPINECORE_DATA") or not folder.is_dir():
        pytest.skip("SPINECORE_DATA names no folder that holds the set spider_t2")
    return folder


def test_the_shipped_network_reads_phantoms_and_names_their_levels() -> None:
    segmenter = Segmenter(create_model("atm_net", weights="shipped"))  # type: ignore[arg-type]
    phantom = lumbar_phantom(21)
    found = segmenter.segment(phantom.pixels)
    assert read_lumbar(found).levels.bodies == tuple(phantom.bodies)
    for index in (1, 2, 3):
        assert dice(found == index, phantom.mask == index) > 0.8


def test_the_shipped_network_on_patients_that_it_has_not_seen(spider_folder: Path) -> None:
    from spinecore.plugins.atm_net.spider import read_grey

    names = sorted(path.name for path in (spider_folder / "images").glob("*.png"))
    _, held = split_patients([name.split("_")[0] for name in names])
    segmenter = Segmenter(create_model("atm_net", weights="shipped"))  # type: ignore[arg-type]
    found, truth = [], []
    for patient in held:
        own = [name for name in names if name.split("_")[0] == patient]
        name = own[len(own) // 2]
        found.append(segmenter.segment(read_grey(spider_folder / "images" / name)))
        truth.append(read_mask(spider_folder / "masks" / name))
    shown = figures(found, truth)
    assert shown["dice"] > 0.86
    named = sum(read_lumbar(mask).levels.known for mask in found)
    assert named >= len(found) - 1
