"""The prepared form of R2MF-Net computes what the plain one does, and steps back where it must."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from r2mf_forms import MIDDLE, assert_same, draw, make, plain, prepared

import spinecore
from spinecore import backends
from spinecore.plugins.r2mf_net.example import SMALL, example_inputs
from spinecore.plugins.r2mf_net.network import R2MFOutput

pytestmark = pytest.mark.usefixtures("one_thread")
SWITCHES: list[dict[str, object]] = [
    {},
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
    {"stem_stride": 2},
    {"detach_coarse": True},
    {"in_channels": 1},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_logits_equal_the_plain_form_for_every_option(switch: dict[str, object]) -> None:
    config = dataclasses.replace(MIDDLE, **switch)  # type: ignore[arg-type]
    model, x = make(config), draw(config)
    if config.inception:
        assert_same(prepared(model, x), plain(model, x))
    else:
        with torch.no_grad():
            assert_same(model(x), plain(model, x))


def test_few_channels() -> None:
    model, x = make(SMALL), draw(SMALL)
    assert_same(prepared(model, x), plain(model, x))


@pytest.mark.parametrize("size", [(512, 256), (512, 192)], ids=str)
def test_shipped_weights_agree_before_the_threshold(size: tuple[int, int]) -> None:
    model = spinecore.create_model("r2mf_net", weights="shipped").eval()
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(1))
    fast, slow = prepared(model, x), plain(model, x)
    assert_same(fast, slow)
    for a, b in zip(fast[:2], slow[:2], strict=True):  # the masks' probabilities, absolutely
        assert float((torch.sigmoid(a) - torch.sigmoid(b)).detach().abs().max()) <= 1e-4


def test_layout_of_the_input_does_not_matter() -> None:
    model, x = make(), draw()
    expected = prepared(model, x)
    wide = torch.cat([x, x], 3)[..., ::2].contiguous()
    strided = torch.stack([x, x], -1)[..., 0]
    assert wide.shape == x.shape
    for other in (x.contiguous(memory_format=torch.channels_last), strided):
        assert_same(prepared(model, other), expected, 0.0)


def test_gradients_in_evaluation() -> None:
    model, x = make(), draw()
    prepared(model, x)
    out = plain(model, x.requires_grad_())
    sum(t.square().mean() for t in out if t is not None).backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) > 0
    assert all(p.grad is not None for p in model.parameters())
    frozen = make().requires_grad_(False)
    plain(frozen, x).coarse.sum().backward()
    backends.reset_usage()
    assert not frozen(x.detach()).coarse.requires_grad
    assert "prepared R2MFNet" in backends.usage()


def test_steps_back_when_something_watches() -> None:
    model, x = make(), draw()
    seen: list[int] = []

    def unprepared() -> bool:
        backends.reset_usage()
        model(x)
        return "prepared R2MFNet" not in backends.usage()

    with torch.no_grad():
        assert not unprepared()
        handle = model.coarse_mask.register_forward_hook(lambda *_: seen.append(1))
        assert unprepared()
        assert seen
        handle.remove()
        model.coarse_encoder.levels[1].fuse[1].train()
        assert unprepared()
        model.eval()
        with torch.autocast("cpu", torch.bfloat16):
            assert unprepared()
        model.coarse_decoder.jumps[0].recur.backend = "reference"
        assert unprepared()
        model.coarse_decoder.jumps[0].recur.backend = None
        assert not unprepared()


def test_what_is_not_finite_is_computed_by_the_plain_form() -> None:
    model, x = make(), draw()
    x[0, 0, 5, 5] = torch.nan
    wanted = plain(model, x)
    for _ in range(3):  # run, recorded, repeated
        with torch.no_grad():
            fast = model(x)
        for a, b in zip(fast, wanted, strict=True):
            assert torch.equal(a.isnan(), b.isnan())
    assert_same(prepared(model, draw()), plain(model, draw()))


def test_shapes_and_modes_that_come_and_go() -> None:
    model = make()
    inputs = [
        draw(batch=n).repeat(1, 1, h // 64, 1) for n, h in [(1, 64), (2, 64), (1, 128), (2, 128), (3, 64)]
    ]
    wanted = [plain(model, x) for x in inputs]
    for _ in range(3):
        for x, other in zip(inputs, wanted, strict=True):
            for mode in (torch.no_grad, torch.inference_mode):
                with mode():
                    assert_same(model(x), other)
                    assert_same(model(x), other)


def test_one_and_two_threads_agree_to_the_bit() -> None:
    model, x = make(), draw()
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(prepared(model, x))
    assert_same(*results, tolerance=0.0)


def test_compiled_and_exported() -> None:
    # One network: every other part is compiled and exported with the plugin's own tests.
    model, x = make(dataclasses.replace(SMALL, fine=False)), example_inputs()[1][0]
    expected = prepared(model, x)
    with torch.no_grad():
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        assert_same(compiled(x), expected)
        exported = torch.export.export(model, (x,))
        assert_same(R2MFOutput(*exported.module()(x)), expected)
