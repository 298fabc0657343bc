from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from spinecore.plugins.atm_net import SPEC
from spinecore.plugins.atm_net.config import ATMConfig
from spinecore.plugins.atm_net.contrast import ClassEnhancement, contrastive_loss
from spinecore.plugins.atm_net.example import SMALL
from spinecore.plugins.atm_net.fusion import HolisticFusion
from spinecore.plugins.atm_net.loss import dice_focal, present_structures
from spinecore.plugins.atm_net.network import ATMNet
from spinecore.plugins.atm_net.prompts import described, generic, vocabulary
from spinecore.plugins.atm_net.segmenter import Segmenter, build_reader
from spinecore.plugins.atm_net.text import LONGEST, tokens
from spinecore.spine.lumbar.column import CANAL, DISCS, VERTEBRAE
from spinecore.spine.phantom.lumbar import lumbar_phantom
from spinecore.testing import check_plugin


def test_plugin_contract() -> None:
    check_plugin(SPEC, backend="aot_eager")


def small(text: str = "prompts", seed: int = 0) -> ATMNet:
    torch.manual_seed(seed)
    return ATMNet(dataclasses.replace(SMALL, text=text)).eval()


@pytest.mark.parametrize("text", ["prompts", "one_hot", "none"])
@pytest.mark.parametrize("size", [(64, 64), (33, 47), (1, 1)])
def test_logits_have_the_size_of_the_slice(text: str, size: tuple[int, int]) -> None:
    with torch.no_grad():
        out = small(text)(torch.randn(2, 1, *size))
    assert out.logits.shape == (2, 4, *size)
    assert torch.isfinite(out.logits).all()
    assert out.u.shape == out.t.shape == (2, 0 if text == "none" else 3, 8)


def test_what_the_network_cannot_take_is_named() -> None:
    network = small()
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\)"):
        network(torch.randn(2, 3, 8, 8))
    with pytest.raises(ValueError, match="prompts have shape"):
        network(torch.randn(2, 1, 8, 8), torch.zeros(1, 4, LONGEST, dtype=torch.long))
    for fields, word in (
        ({"widths": (8, 8)}, "five numbers"),
        ({"text": "words"}, "use one of"),
        ({"text_width": 30}, "must divide"),
        ({"temperature": 0.0}, "number > 0"),
    ):
        with pytest.raises(ValueError, match=word):
            ATMConfig(**fields)


def test_prompts_change_the_answer_and_without_them_the_generic_ones_are_taken() -> None:
    network = small()
    # The gate starts nearly shut: open it, as training may.
    for fuse in network.fusion:
        nn.init.constant_(fuse.gate.bias, 2.0)
    x = torch.randn(1, 1, 64, 64)
    mask = np.zeros((64, 64), np.uint8)
    mask[5:30, 5:20], mask[32:35, 5:20] = VERTEBRAE, DISCS
    with torch.no_grad():
        plain = network(x).logits
        same = network(x, tokens(generic())[None]).logits
        told = network(x, tokens(described(mask))[None]).logits
    assert torch.equal(plain, same)
    assert not torch.allclose(plain, told)


def test_generic_prompts_hold_nothing_of_a_label_and_described_ones_what_the_mask_shows() -> None:
    one, other = lumbar_phantom(1, 160, 128, vertebrae=5), lumbar_phantom(2, 160, 128, vertebrae=7)
    assert generic() == generic()
    assert described(one.mask) != described(other.mask)
    empty = described(np.zeros((32, 32), np.uint8))
    assert "no vertebrae" in empty[0]
    assert "no canal" in empty[0]
    shown = described(one.mask)
    assert "five discs" in shown[0]
    words = set(vocabulary())
    for prompt in (*generic(), *empty, *shown, *described(other.mask)):
        assert set(prompt.split()) <= words
        assert len(prompt.split()) <= LONGEST
    with pytest.raises(ValueError, match="outside the vocabulary"):
        tokens(["a tumour of the liver"])


def test_prompts_at_test_time_do_not_change_with_the_annotation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segmenter is given pixels alone; what it tells the network follows from them."""
    given: list[torch.Tensor] = []
    network = small()
    forward = network.forward

    def watch(x: torch.Tensor, prompts: torch.Tensor | None = None) -> object:
        assert prompts is not None
        given.append(prompts.clone())
        return forward(x, prompts)

    monkeypatch.setattr(network, "forward", watch)
    pixels = lumbar_phantom(1, 96, 80, vertebrae=5).pixels
    Segmenter(network, "generic").segment(pixels)
    assert len(given) == 1
    assert torch.equal(given[0][0], tokens(generic()))
    given.clear()
    predicted = Segmenter(network, "predicted")
    first = Segmenter(network, "generic").segment(pixels)
    given.clear()
    predicted.segment(pixels)
    assert len(given) == 2
    assert torch.equal(given[0][0], tokens(generic()))
    assert torch.equal(given[1][0], tokens(described(first)))


def test_probabilities_add_up_whatever_the_scale_of_the_pixels() -> None:
    segmenter = build_reader(small())
    pixels = lumbar_phantom(1, 96, 80, vertebrae=5).pixels
    p = segmenter.probabilities(pixels)
    assert p.shape == (4, 96, 80)
    assert np.allclose(p.sum(0), 1, atol=1e-5)
    assert np.allclose(p, segmenter.probabilities(pixels * 4000 + 17), atol=1e-3)
    with pytest.raises(ValueError, match="use one of"):
        build_reader(small(), prompts="oracle")
    with pytest.raises(TypeError, match="ATMNet"):
        build_reader(nn.Linear(1, 1))


def test_fusion_starts_near_the_backbone_alone_and_reads_its_text() -> None:
    torch.manual_seed(0)
    fuse = HolisticFusion(12, 16, 2)
    features, text = torch.randn(2, 12, 5, 7), torch.randn(2, 4, 16)
    fused, told = fuse(features, text)
    assert fused.shape == features.shape
    assert told.shape == text.shape
    pixels = features.flatten(2).transpose(1, 2)
    change = fuse.to_image(fuse.norm_image(pixels), text)
    gate = torch.sigmoid(torch.tensor(-2.0))
    expected = (pixels + gate * change).transpose(1, 2).reshape_as(features)
    assert torch.allclose(fused, expected, atol=1e-6)
    order = torch.tensor([2, 0, 3, 1])
    permuted, moved = fuse(features, text[:, order])
    assert torch.allclose(permuted, fused, atol=1e-5), "the order of prompts carries no meaning for pixels"
    assert torch.allclose(moved, told[:, order], atol=1e-5)


def test_enhancement_raises_class_channels_by_one_to_two_times() -> None:
    torch.manual_seed(0)
    head = ClassEnhancement(6, 4, 16, 8)
    features, text = torch.randn(2, 6, 4, 5), torch.randn(2, 3, 16)
    logits, u, t = head(features, text)
    plain = head.channels_of_classes(features)
    assert torch.equal(logits[:, 0], plain[:, 0])
    gain = (logits[:, 1:] / plain[:, 1:]).flatten(2)
    assert torch.allclose(gain, gain[..., :1].expand_as(gain), atol=1e-4)
    expected = 1 + torch.sigmoid(head.sharpness * (u * t).sum(-1))
    assert torch.allclose(gain[..., 0], expected, atol=1e-4)
    assert torch.allclose(u.norm(dim=-1), torch.ones(2, 3), atol=1e-5)


def test_contrastive_loss_in_closed_form() -> None:
    everywhere = torch.ones(2, 3, dtype=torch.bool)
    basis = torch.eye(3).expand(2, 3, 3)
    # u = t, orthogonal classes: the right pair e^(1/T) against two others of the other image and own classes.
    for temperature in (0.07, 1.0):
        e = torch.tensor(1 / temperature).exp()
        expected = torch.log((e + 4) / e)  # two other structures in two images
        assert contrastive_loss(basis, basis, everywhere, temperature) == pytest.approx(
            float(expected), abs=1e-5
        )
    same = torch.ones(2, 3, 4) / 2
    assert contrastive_loss(same, same, everywhere, 1.0) == pytest.approx(np.log(5), abs=1e-5)
    absent = torch.zeros(2, 3, dtype=torch.bool)
    assert contrastive_loss(same, same, absent, 1.0) == 0
    # What is absent changes nothing.
    some = everywhere.clone()
    some[0, 1] = False
    changed = basis.clone()
    changed[0, 1] = torch.tensor([0.6, 0.8, 0.0])
    assert contrastive_loss(changed, basis, some, 0.5) == contrastive_loss(basis, basis, some, 0.5)


def test_dice_focal_against_monai() -> None:
    """Soft Dice of the structures over the batch; focal loss with softmax over all classes."""
    from monai.losses import DiceLoss

    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 9, 8, generator=g, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 9, 8), generator=g)
    theirs = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1.0, smooth_dr=1.0
    )(logits, labels[:, None])
    p = logits.softmax(1).gather(1, labels[:, None])
    focal = (-((1 - p) ** 2) * p.log()).mean()
    assert float(dice_focal(logits, labels)) == pytest.approx(float(theirs + focal), abs=1e-5)
    right = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1) * 60.0
    assert float(dice_focal(right, labels)) == pytest.approx(0.0, abs=1e-6)


def test_present_structures() -> None:
    labels = torch.zeros(2, 4, 4, dtype=torch.long)
    labels[0, 0, 0], labels[1, 0, 0], labels[1, 1, 1] = DISCS, VERTEBRAE, CANAL
    assert present_structures(labels, 4).tolist() == [[False, True, False], [True, False, True]]
