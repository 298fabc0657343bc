from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import spinecore
from spinecore.plugins.r2mf_net import SPEC
from spinecore.plugins.r2mf_net.config import R2MFConfig
from spinecore.plugins.r2mf_net.example import SMALL, example_inputs
from spinecore.plugins.r2mf_net.network import R2MFNet
from spinecore.plugins.r2mf_net.task import save_weights
from spinecore.testing.plugins import check_plugin
from spinecore.weights import WeightsError, checksum, pack_weights, read_card, resolve_weights


def test_conformance() -> None:
    check_plugin(SPEC, backend="aot_eager")


SWITCHES = [
    {"inception": False},
    {"r2_jump": False},
    {"mc_skip": "same"},
    {"mc_skip": "none"},
    {"mc_gate": False},
    {"scse_lite": False},
    {"fine": False},
    {"vertebra_head": False},
    {"shared_recurrence": True},
    {"steps": 0},
    {"steps": (4, 3, 2, 1)},
    {"stem_stride": 1},
    {"detach_coarse": True},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_ablation_trains_and_changes_the_network(switch: dict[str, object]) -> None:
    config = dataclasses.replace(SMALL, **switch)  # type: ignore[arg-type]
    model = R2MFNet(config).train()
    out = model(example_inputs()[1][0])
    h = config.height // config.stem_stride
    assert out.coarse.shape == (2, 1, h, h)
    assert (out.fine is None) == (not config.fine)
    assert (out.vertebrae is None) == (not config.vertebra_head)
    sum(t.float().square().mean() for t in out if t is not None).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    if switch != {"detach_coarse": True}:
        assert set(model.state_dict()) != set(R2MFNet(SMALL).state_dict()) or any(
            a.shape != b.shape
            for a, b in zip(model.state_dict().values(), R2MFNet(SMALL).state_dict().values(), strict=True)
        )


def test_detach_coarse_cuts_the_probability_path_only() -> None:
    def coarse_gradient(detach: bool) -> float:
        torch.manual_seed(0)
        model = R2MFNet(dataclasses.replace(SMALL, detach_coarse=detach, mc_skip="none")).train()
        out = model(example_inputs()[1][0])
        assert out.fine is not None
        out.fine.square().mean().backward()
        grad = model.coarse_mask.weight.grad
        return 0.0 if grad is None else float(grad.abs().sum())

    assert coarse_gradient(False) > 0
    assert coarse_gradient(True) == 0


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"height": 100}, "multiple of"),
        ({"coarse_widths": (4, 8)}, "five"),
        ({"fine_widths": (4, 8, 8, 8, 6)}, "multiples of 4"),
        ({"mc_skip": "some"}, "mc_skip"),
        ({"stem_stride": 3}, "stem_stride"),
        ({"steps": (1, 2)}, "steps"),
    ],
)
def test_configuration_errors_name_the_value(bad: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        R2MFConfig(**bad)  # type: ignore[arg-type]


def test_wrong_channels() -> None:
    with pytest.raises(ValueError, match="film_input"):
        R2MFNet(SMALL)(torch.zeros(1, 3, 64, 64))


def test_save_and_create_model_round_trip(tmp_path: Path) -> None:
    model = R2MFNet(SMALL).eval()
    path = tmp_path / "weights.safetensors"
    save_weights(model, path, {"cobb_mae": 1.0})
    again = spinecore.create_model("r2mf_net", weights=tmp_path).eval()
    x = example_inputs()[1][0]
    with torch.no_grad():
        for a, b in zip(model(x), again(x), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    with pytest.raises(WeightsError, match="steps=2"):
        spinecore.create_model("r2mf_net", weights=path, steps=3)


def test_packed_weights_are_half_as_large_and_give_the_same_output(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = R2MFNet(SMALL).eval()
    save_weights(model, tmp_path / "full.safetensors", {})
    pack_weights(tmp_path / "full.safetensors", tmp_path / "packed.safetensors", {"data": "none"})
    packed = spinecore.create_model("r2mf_net", weights=tmp_path / "packed.safetensors").eval()
    assert next(packed.parameters()).dtype == torch.float32
    assert read_card(tmp_path / "packed.safetensors")["data"] == "none"
    x = example_inputs()[1][0]
    with torch.no_grad():
        for a, b in zip(model(x), packed(x), strict=True):
            assert float((a - b).abs().max()) <= 2e-2 * float(a.abs().max())


def test_a_changed_file_no_longer_matches_its_card(tmp_path: Path) -> None:
    save_weights(R2MFNet(SMALL), tmp_path / "full.safetensors", {})
    pack_weights(tmp_path / "full.safetensors", tmp_path / "packed.safetensors")
    data = bytearray((tmp_path / "packed.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "packed.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match="SHA-256"):
        spinecore.create_model("r2mf_net", weights=tmp_path / "packed.safetensors")


def test_damaged_or_foreign_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        spinecore.create_model("r2mf_net", weights=path)
    save_file({"a": torch.zeros(1)}, path, metadata={"model": "other_net"})
    with pytest.raises(WeightsError, match="other_net"):
        spinecore.create_model("r2mf_net", weights=path)
    with pytest.raises(WeightsError, match="no such"):
        spinecore.create_model("r2mf_net", weights=tmp_path / "absent.safetensors")


def test_shipped_weights_have_a_card_with_their_checksum() -> None:
    path = resolve_weights(SPEC, "shipped")
    card = read_card(path)
    assert card["sha256"] == checksum(path)
    assert path.stat().st_size <= 8 * 2**20
    assert {"data", "licence", "validation", "constant_predictor"} <= set(card)
