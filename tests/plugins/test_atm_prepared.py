"""The prepared form of ATM-Net computes what the plain one does and is never stale."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import spinecore
from spinecore import backends
from spinecore.plugins.atm_net.config import ATMConfig
from spinecore.plugins.atm_net.example import SMALL, example_inputs
from spinecore.plugins.atm_net.network import ATMNet, ATMOutput
from spinecore.plugins.atm_net.prompts import described, generic
from spinecore.plugins.atm_net.segmenter import Segmenter
from spinecore.plugins.atm_net.slice_input import to_input
from spinecore.plugins.atm_net.text import tokens
from spinecore.spine.phantom.lumbar import lumbar_phantom


def make(text: str = "prompts", seed: int = 0, config: ATMConfig = SMALL) -> ATMNet:
    """A network in evaluation whose statistics, affine maps and gates are no identities."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = ATMNet(dataclasses.replace(config, text=text)).eval()
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=generator)
        elif value.is_floating_point() and ("gate" in name or value.dim() <= 1):
            value.add_(torch.randn(value.shape, generator=generator) * 0.3)
    return model


def runs(model: ATMNet, x: Tensor, prompts: Tensor | None = None) -> ATMOutput:
    """Through the prepared form, which must have been chosen."""
    backends.reset_usage()
    with torch.no_grad():
        out: ATMOutput = model(x, prompts)
    assert backends.usage().get("prepared ATMNet", {}).get("cpu", 0) == 1
    return out


def plain(model: ATMNet, x: Tensor, prompts: Tensor | None = None) -> ATMOutput:
    """Module by module: gradients are on."""
    backends.reset_usage()
    with torch.enable_grad():
        out: ATMOutput = model(x, prompts)
    assert "prepared ATMNet" not in backends.usage()
    return ATMOutput(*(t.detach() for t in out))


def assert_same(a: ATMOutput, b: ATMOutput) -> None:
    for one, other in zip(a, b, strict=True):
        assert one.shape == other.shape
        scale = max(1.0, float(other.abs().max())) if other.numel() else 1.0
        assert torch.allclose(one, other, rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize("text", ["prompts", "one_hot", "none"])
@pytest.mark.parametrize("size", [(64, 96), (33, 47), (1, 1)], ids=str)
@pytest.mark.parametrize("scse", [True, False])
def test_logits_and_vectors_equal_the_plain_form(text: str, size: tuple[int, int], scse: bool) -> None:
    model = make(text, config=dataclasses.replace(SMALL, scse=scse))
    x = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1))
    fast, slow = runs(model, x), plain(model, x)
    assert fast.u.shape[1:] == slow.u.shape[1:]
    assert_same(fast, slow)


def test_prompts_of_each_image_are_read() -> None:
    model = make()
    x, prompts = example_inputs()[1]
    fast = runs(model, x, prompts)
    assert_same(fast, plain(model, x, prompts))
    told = runs(model, x[1:], prompts[1:])
    assert_same(told, ATMOutput(*(t[1:] for t in fast)))
    assert not torch.allclose(told.logits, runs(model, x[1:]).logits, atol=1e-3)
    assert torch.equal(
        runs(model, x, tokens(generic())[None].expand(2, -1, -1)).logits, runs(model, x).logits
    )


@pytest.mark.parametrize("kind", ["generic", "described"])
def test_masks_of_the_shipped_weights_are_those_of_the_plain_form(kind: str) -> None:
    model = spinecore.create_model("atm_net", weights="shipped").eval()
    phantom = lumbar_phantom(3, 512, 640, vertebrae=6)
    words = generic() if kind == "generic" else described(phantom.mask)
    x, prompts = to_input(phantom.pixels), tokens(words)[None]
    fast, slow = runs(model, x, prompts).logits.softmax(1), plain(model, x, prompts).logits.softmax(1)
    assert float((fast - slow).abs().max()) <= 1e-4
    best = slow.topk(2, 1).values[:, 0] - slow.topk(2, 1).values[:, 1]
    assert torch.equal(fast.argmax(1)[best > 2e-4], slow.argmax(1)[best > 2e-4])


@pytest.mark.parametrize("mode", ["generic", "predicted"])
def test_segmenting_runs_the_prepared_form(mode: str) -> None:
    backends.reset_usage()
    Segmenter(make(), mode).probabilities(lumbar_phantom(1, 96, 64, vertebrae=5).pixels)
    assert backends.usage()["prepared ATMNet"]["cpu"] == (1 if mode == "generic" else 2)


def _words(model: ATMNet) -> None:
    with torch.no_grad():
        model.text.words.weight.mul_(-1.0)


def _attention(model: ATMNet) -> None:
    with torch.no_grad():
        model.fusion[0].to_text.wk.add_(1.0)
        model.fusion[0].gate.bias.fill_(3.0)


def _statistics(model: ATMNet) -> None:
    model.decoder[0][0][1].running_mean.add_(0.5)


def _classes(model: ATMNet) -> None:
    model.classes.channels_of_classes.bias = nn.Parameter(torch.ones(4))


def _load(model: ATMNet) -> None:
    model.load_state_dict(make(seed=9).state_dict())


@pytest.mark.parametrize("change", [_words, _attention, _statistics, _classes, _load])
def test_never_stale(change: Callable[[ATMNet], None]) -> None:
    model, x = make(), example_inputs()[1][0]
    before = runs(model, x)
    change(model)
    after = runs(model, x)
    assert_same(after, plain(model, x))
    assert not torch.equal(before.logits, after.logits)


def test_what_is_not_finite_is_computed_by_the_plain_form() -> None:
    model = make("none")
    x = torch.randn(1, 1, 64, 64)
    x[0, 0, 5, 5] = torch.nan
    with torch.no_grad():
        fast = model(x).logits
    assert torch.equal(fast.isnan(), plain(model, x).logits.isnan())


def test_a_part_that_nobody_knows_runs_as_it_is() -> None:
    class Louder(nn.ReLU):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model, x = make(), example_inputs()[1][0]
    before = runs(model, x)
    model.decoder[1][0][2] = Louder().eval()
    backends.reset_usage()
    with torch.no_grad():
        after = model(x)
    assert "prepared ATMNet" not in backends.usage()
    assert not torch.allclose(before.logits, after.logits)
    assert np.isfinite(after.logits.numpy()).all()


def test_a_model_that_is_gone_leaves_nothing() -> None:
    model = make()
    runs(model, example_inputs()[1][0])
    there = weakref.ref(model)
    del model
    gc.collect()
    assert there() is None
