"""The network: every form and subset of modalities; what is absent or past the end has no effect."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from spinecore.plugins.scoligait import SPEC
from spinecore.plugins.scoligait.config import FUSIONS, MODALITIES, ScoliGaitConfig
from spinecore.plugins.scoligait.example import example_inputs
from spinecore.plugins.scoligait.fitting import batch_loss
from spinecore.plugins.scoligait.network import ScoliGait
from spinecore.plugins.scoligait.pictures import skeleton_maps
from spinecore.plugins.scoligait.pose import mirrored
from spinecore.plugins.scoligait.samples import Clips, clip_arrays
from spinecore.plugins.scoligait.simulator import Camera, Walker, simulate
from spinecore.testing import check_plugin

PARTS = [p for n in (1, 2, 3) for p in combinations(MODALITIES, n)]


def model(**changes: object) -> tuple[ScoliGait, list[Tensor]]:
    config, inputs = example_inputs()
    torch.manual_seed(0)
    return ScoliGait(replace(config, **changes)).eval(), list(inputs)  # type: ignore[arg-type]


def test_conforms_to_the_contract() -> None:
    check_plugin(SPEC, backend="aot_eager")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_form_trains_on_every_subset(fusion: str, part: tuple[str, ...]) -> None:
    net, (_, valid, *inputs) = model(fusion=fusion, modalities=part)
    chosen = [x for m, x in zip(MODALITIES, inputs, strict=True) if m in part]
    out = net.train()(torch.ones(2, len(part), dtype=torch.bool), valid, *chosen)
    assert out.logits.shape == (2, 2)
    out.logits.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_absent_modality_has_no_effect(fusion: str) -> None:
    net, inputs = model(fusion=fusion)
    present = torch.tensor([[True, False, True], [False, True, False]])
    before = net(present, *inputs[1:]).logits
    inputs[3][0] = torch.rand_like(inputs[3][0])
    inputs[2][1] = 100.0
    inputs[4][1] = 3
    torch.testing.assert_close(net(present, *inputs[1:]).logits, before)
    present[0, 1] = True
    assert not torch.allclose(net(present, *inputs[1:]).logits[0], before[0], atol=1e-4)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("part", [MODALITIES, ("video", "text"), ("map",)])
def test_every_modality_answers_for_itself(fusion: str, part: tuple[str, ...]) -> None:
    """With `experts` the answer is the mean of the logarithms of the answers there are, whoever is absent."""
    net, inputs = model(fusion=fusion, modalities=part, experts=1.0, balanced=True)
    valid, chosen = inputs[1], [x for m, x in zip(MODALITIES, inputs[2:], strict=True) if m in part]
    present = torch.ones(2, len(part), dtype=torch.bool)
    present[1, 1:] = False
    out, every = net.answer(present, valid, net.named(chosen))
    torch.testing.assert_close(net(present, valid, *chosen).logits, out.logits)
    answers = torch.stack(every, 1).log_softmax(-1)
    torch.testing.assert_close(out.logits[0], answers[0].mean(0))
    torch.testing.assert_close(out.logits[1], answers[1, :2].mean(0))  # the fused answer and the first's own
    alone = net(present[1:, :], valid[1:], *(x[1:] for x in chosen)).logits
    torch.testing.assert_close(alone, out.logits[1:])
    with torch.no_grad():
        net.gates[0] = -30.0  # the fused answer has no weight left
    found = net(present, valid, *chosen).logits
    torch.testing.assert_close(found[0], answers[0, 1:].mean(0))


@pytest.mark.parametrize("fusion", ["dictionary", "attention"])
def test_balanced_means_weigh_modalities_alike(fusion: str) -> None:
    """An absent modality has no effect, and repeating every token of one changes nothing."""
    net, inputs = model(fusion=fusion, balanced=True)
    present = torch.tensor([[True, False, True], [False, True, False]])
    before = net(present, *inputs[1:]).logits
    inputs[3][0] = torch.rand_like(inputs[3][0])
    inputs[2][1] = 100.0
    torch.testing.assert_close(net(present, *inputs[1:]).logits, before)
    if fusion == "dictionary":  # with attention between the tokens, copies take part of the attention
        with torch.no_grad():
            tokens, keeps = net.tokens(inputs[1], net.named(inputs[2:]))
            twice = [torch.cat([t, t], 1) if i == 0 else t for i, t in enumerate(tokens)]
            both = [torch.cat([k, k], 1) if i == 0 else k for i, k in enumerate(keeps)]
            torch.testing.assert_close(net.fusion(twice, both), net.fusion(tokens, keeps))


def test_the_loss_trains_hidden_modalities_too() -> None:
    """Each answer is trained on every sample that has the modality, whether hidden from the fusion or not."""
    config, inputs = example_inputs()
    config = replace(config, experts=1.0, modality_dropout=1.0)
    torch.manual_seed(0)
    net = ScoliGait(config)
    video = (255 * inputs[3]).byte()
    clips = Clips(
        inputs[2],
        video,
        inputs[4][:, None],
        inputs[1],
        inputs[0],
        torch.tensor([0, 1]),
        torch.tensor([0.0, float("nan")]),
        torch.arange(2),
        torch.arange(2),
    )
    weights = torch.tensor([1.0, 3.0])
    loss, parts = batch_loss(net.eval(), clips, weights, torch.Generator().manual_seed(0))
    loss.backward()
    with torch.no_grad():
        _, every = net.answer(inputs[0], inputs[1], net.named([inputs[2], video, inputs[4]]))
        own = [
            F.cross_entropy(e, clips.outcome, weights, label_smoothing=0.05, reduction="none") for e in every
        ]
    total = sum(float(e.sum()) for e in own[:3]) + float(own[3][0])  # the second has no text
    assert parts["own"] == pytest.approx(total / (3 * 4.0 + 1.0), rel=1e-5)
    assert all(float(e.weight.grad.abs().max()) > 0 for e in net.experts)


def test_bytes_are_pictures() -> None:
    net, inputs = model()
    video = (255 * inputs[3]).byte()
    expected = net(*inputs[:3], video.float() / 255, inputs[4]).logits
    torch.testing.assert_close(net(*inputs[:3], video, inputs[4]).logits, expected, atol=1e-5, rtol=1e-5)


def test_frames_past_the_end_have_no_effect() -> None:
    net, inputs = model()
    before = net(*inputs).logits
    inputs[2][1, 12:] = 7.0
    inputs[3][1, 3:] = 1.0
    torch.testing.assert_close(net(*inputs).logits, before)


def test_text_counts_as_much_as_a_hundred_tokens() -> None:
    """Before training every present modality has the same share of the pooling's attention."""
    net, inputs = model()
    with torch.no_grad():
        net.fusion.pool.wq.zero_()  # equal scores: the bias alone decides
    seen: list[Tensor] = []
    pool = net.fusion.pool.forward

    def spy(x: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
        seen.append(pool(x, mask, bias, need_weights=True)[1])
        return pool(x, mask, bias)

    net.fusion.pool.forward = spy
    net(*inputs)
    weights = seen[0].mean((1, 2))  # (B, N): 8 tokens of the map, 8 of the video, 1 of the text
    shares = torch.stack([weights[:, :8].sum(1), weights[:, 8:16].sum(1), weights[:, 16:].sum(1)], 1)
    torch.testing.assert_close(shares[0], torch.full((3,), 1 / 3))
    torch.testing.assert_close(shares[1], torch.tensor([0.5, 0.5, 0.0]))


def test_aligned_positions_are_one_table_of_clip_times() -> None:
    net, _ = model()
    assert list(net.places) == ["shared"]
    table = net.places["shared"]
    torch.testing.assert_close(net._place("map", 8), table.view(8, 2, -1).mean(1))
    torch.testing.assert_close(net._place("video", 2), table.view(2, 8, -1).mean(1))
    apart, _ = model(aligned=False)
    assert sorted(apart.places) == ["map", "video"]


def test_severity_is_the_mean_of_the_classes() -> None:
    net, inputs = model(outcomes=3)
    out = net(*inputs)
    expected = out.logits.softmax(-1) @ torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(out.severity, expected)


def test_columns_are_standardised_by_what_was_seen() -> None:
    net, _ = model()
    values = 5 + 2 * torch.randn(20, 16, 238, generator=torch.Generator().manual_seed(0))
    values[:, :4, 3] = torch.nan
    valid = torch.ones(20, 16, dtype=torch.bool)
    valid[:, 14:] = False
    values[:, 14:] = 1e6
    net.fit_columns(values, valid)
    standard = net.map.standard(values[:, :14])
    assert standard.mean((0, 1)).abs().max() < 0.05
    assert (standard[:, :4, 3] == 0).all()
    assert (standard[:, 4:].std((0, 1)) - 1).abs().max() < 0.15


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fusion": "sum"}, "fusion is 'sum'"),
        ({"modalities": ("text", "map")}, "in order"),
        ({"heads": 5}, "must divide width"),
        ({"map_patch": 7}, "map_patch must divide"),
        ({"outcomes": 1}, "use 2 or more"),
        ({"class_severity": (0.0,)}, "1 values for 2 classes"),
    ],
)
def test_wrong_configurations_say_why(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ScoliGaitConfig(**changes)  # type: ignore[arg-type]


def test_recorded_pictures_or_none() -> None:
    """A recording without frames has no video for a model that reads frames."""
    walk = simulate(Walker(0.2), Camera(), np.random.default_rng(0), frames=60)
    config = ScoliGaitConfig(pictures="recorded", video_channels=1)
    assert clip_arrays(walk, config)["present"].tolist() == [True, False, True]
    frames = np.tile(np.linspace(0, 1, 60, dtype=np.float32)[:, None, None], (1, 96, 64))
    found = clip_arrays(replace(walk, pictures=frames), config)
    assert found["present"].all()
    assert found["video"].shape == (16, 1, 48, 32)
    shown = found["video"][:, 0, 24, 16] / 255
    slots = ((np.arange(16) + 0.5) * 6).astype(int)
    np.testing.assert_allclose(shown[slots < 60], frames[slots[slots < 60], 0, 0], atol=0.01)
    assert (shown[slots >= 60] == 0).all()


def test_skeleton_pictures_tell_the_sides() -> None:
    """Left bones lie in the first channel, on the picture's right of a walker who comes nearer."""
    walk = simulate(Walker(0.0), Camera(noise=0, dropout=0), np.random.default_rng(0))
    pictures = skeleton_maps(walk, 96, 16, 48, 32)
    assert pictures.shape == (16, 3, 48, 32)
    columns = np.arange(32)
    left, right = ((pictures[:, c] * columns).sum() / pictures[:, c].sum() for c in (0, 1))
    assert left > 18
    assert right < 13
    turned = skeleton_maps(mirrored(walk), 96, 16, 48, 32)
    np.testing.assert_allclose(turned[:, [1, 0, 2], :, ::-1], pictures, atol=1e-5)


def test_cells_are_standardised_one_by_one() -> None:
    """With `map_cells` every frame of every column has its own mean, as curves of normalised time need."""
    net, inputs = model(map_cells=True)
    values = torch.arange(16.0)[None, :, None] + torch.randn(
        50, 16, 238, generator=torch.Generator().manual_seed(0)
    )
    net.fit_columns(values, torch.ones(50, 16, dtype=torch.bool))
    assert net.map.mean.shape == (16, 238)
    assert net.map.standard(values).mean(0).abs().max() < 0.05
    assert torch.isfinite(net(*inputs).logits).all()
