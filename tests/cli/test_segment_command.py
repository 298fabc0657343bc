from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run
from PIL import Image

from spinecore.plugins.atm_net.config import ATMConfig
from spinecore.plugins.atm_net.example import SMALL
from spinecore.plugins.atm_net.network import ATMNet
from spinecore.spine.phantom.lumbar import lumbar_phantom


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    folder = tmp_path / "slices"
    folder.mkdir()
    for seed in (1, 2):
        pixels = lumbar_phantom(seed, 96, 80, vertebrae=5).pixels
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"s{seed}.png")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small network that has learnt nothing: enough for everything but the masks' content."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = ATMNet(SMALL)
    with torch.no_grad():
        network.classes.channels_of_classes.bias += torch.tensor([0.0, 0.3, 0.3, 0.3])
    path = tmp_path / "small.safetensors"
    fields = {name: getattr(SMALL, name) for name in ATMConfig.__dataclass_fields__}
    metadata = {"model": "atm_net", "config": json.dumps(fields)}
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path, metadata=metadata)
    return path


def test_everything_promised_is_written(slices: Path, weights: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    (slices / "broken.png").write_bytes(b"nothing")
    code, printed = run("segment", slices, "-o", out, "--weights", weights, "--device", "cpu")
    assert code == 3, printed
    for name in ("scans.csv", "discs.csv", "vertebrae.csv", "index.html", "run.json", "masks/s1.png"):
        assert (out / name).is_file(), name
    record = json.loads((out / "run.json").read_text())
    assert record["schema"] == "spinecore.run/1"
    assert record["scans"] == {"planned": 3, "segmented": 2, "failed": 1, "reused": 0, "slices": 2}
    assert record["reader"]["prompts"] == "generic"
    assert len(record["reader"]["weights_sha256"]) == 64
    assert "failed" in printed
    assert "broken.png" in printed
    code, printed = run("segment", slices, "-o", out, "--weights", weights, "--resume")
    assert json.loads((out / "run.json").read_text())["scans"]["reused"] == 2
    assert "kept from before" in printed


def test_predicted_prompts_run_and_are_no_resume_of_generic_ones(
    slices: Path, weights: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "out"
    assert run("segment", slices, "-o", out, "--weights", weights)[0] == 0
    assert (
        run("segment", slices, "-o", out, "--weights", weights, "--prompts", "predicted", "--resume")[0] == 0
    )
    record = json.loads((out / "run.json").read_text())
    assert record["scans"]["reused"] == 0
    assert record["reader"]["prompts"] == "predicted"


def test_the_demonstration_needs_no_data_and_names_every_level(tmp_path: Path, run: Run) -> None:
    code, printed = run("demo", "--mri", "-o", tmp_path / "out")
    assert code == 0, printed
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["scans"]["segmented"] == 3
    assert record["agreement"]["dice"] > 0.8
    assert "Demonstration" in (tmp_path / "out" / "index.html").read_text()
    with (tmp_path / "out" / "scans.csv").open(newline="") as stream:
        levels = [row["levels"] for row in csv.DictReader(stream)]
    # Nine vertebrae are drawn; the network may miss the one at the upper edge.
    assert len(levels) == 3
    assert set(levels) <= {"T9-L5", "T10-L5"}


def test_wrong_usage_is_one_line_with_a_remedy(slices: Path, weights: Path, tmp_path: Path, run: Run) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    for arguments, word in (
        ((slices, "-o", slices, "--weights", weights), "another folder"),
        ((slices / "s1.png", "-o", slices, "--weights", weights), "another folder"),
        ((empty, "-o", out), "no scans in"),
        ((tmp_path / "absent", "-o", out), "no such file"),
        ((slices, "-o", out, "--model", "r2mf_net"), "segments no MRI"),
        ((slices, "-o", out, "--model", "nothing"), "no model named"),
        ((slices, "-o", out, "--weights", weights, "--prompts", "oracle"), "--prompts"),
        ((slices, "-o", out, "--weights", tmp_path / "absent"), "no such weights"),
        ((slices, "-o", out, "--weights", weights, "--reference", tmp_path / "absent"), "no such folder"),
    ):
        code, printed = run("segment", *arguments)
        assert code == 2, (arguments, printed)
        assert word in " ".join(printed.split()), (arguments, printed)
        assert "Traceback" not in printed
