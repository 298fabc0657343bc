"""The prepared form of R2MF-Net is never stale, and goes with its network."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from r2mf_forms import MIDDLE, assert_same, draw, make, plain, prepared
from torch import nn

from spinecore import backends
from spinecore.nn import prepared as preparation
from spinecore.nn.members import members_of
from spinecore.plugins.r2mf_net import network
from spinecore.plugins.r2mf_net.network import R2MFNet, R2MFOutput

pytestmark = pytest.mark.usefixtures("one_thread")


def _exchange(model: R2MFNet) -> None:
    model.coarse_mask.weight = nn.Parameter(torch.full_like(model.coarse_mask.weight, 0.2))


def _exchange_module(model: R2MFNet) -> None:
    model.coarse_mask = nn.Conv2d(MIDDLE.coarse_widths[0], 1, 1).eval()


def _load(model: R2MFNet) -> None:
    model.load_state_dict(make(seed=5).state_dict())


def _assign(model: R2MFNet) -> None:
    model.load_state_dict(make(seed=6).state_dict(), assign=True)


def _data(model: R2MFNet) -> None:
    model.fine_encoder.levels[0].branch3[0].weight.data.mul_(3.0)


def _exchange_data(model: R2MFNet) -> None:
    weight = model.fine_encoder.levels[0].branch3[0].weight
    weight.data = torch.randn(weight.shape)


def _in_place(model: R2MFNet) -> None:
    with torch.no_grad():
        model.coarse_decoder.jumps[0].recur.w_rec.mul_(-1.0)


def _norm(model: R2MFNet) -> None:
    with torch.no_grad():
        model.coarse_encoder.levels[0].fuse[1].bias.add_(1.0)


def _statistics(model: R2MFNet) -> None:
    model.coarse_encoder.stem[0][1].running_mean.add_(0.3)


def _gate(model: R2MFNet) -> None:
    with torch.no_grad():
        model.fine_encoder.bottleneck.ws.add_(1.0)


def _train_step(model: R2MFNet) -> None:
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    out = model(draw())
    sum(t.square().mean() for t in out if t is not None).backward()
    optimizer.step()
    optimizer.zero_grad()
    model.eval()


def _fused_step(model: R2MFNet) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), 0.05, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


def _average_past_the_counters(model: R2MFNet) -> None:
    other = make(seed=8).state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.data.lerp_(other[name], 0.3)


def _numpy(model: R2MFNet) -> None:
    model.fine_encoder.levels[3].fuse[0].weight.detach().numpy()[...] *= 1.5


def _pruned_rows(model: R2MFNet) -> None:
    model.fine_encoder.levels[3].fuse[0].weight.data[1::2] = 0.0


def _exchange_data_and_back_to_the_address(model: R2MFNet) -> None:
    weight = model.fine_encoder.levels[0].branch3[0].weight
    before = weight.data
    weight.data = before.clone()
    weight.data.neg_()
    before.copy_(weight.data)
    weight.data = before


def _statistics_in_training(model: R2MFNet) -> None:
    model.train()
    with torch.no_grad():
        model(draw())
    model.eval()


@pytest.mark.parametrize(
    "change",
    [
        _exchange,
        _exchange_module,
        _load,
        _assign,
        _data,
        _exchange_data,
        _in_place,
        _norm,
        _statistics,
        _gate,
        _train_step,
        _fused_step,
        _average_past_the_counters,
        _numpy,
        _pruned_rows,
        _exchange_data_and_back_to_the_address,
        _statistics_in_training,
    ],
)
def test_never_stale(change: Callable[[R2MFNet], None]) -> None:
    model, x = make(), draw()
    before = prepared(model, x)
    change(model)
    after = prepared(model, x)
    assert_same(after, plain(model, x))
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))  # type: ignore[arg-type]


def test_a_write_to_each_tensor_alone_past_its_counter_is_seen() -> None:
    model = make()
    members = members_of(model)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            before = preparation._mark(members)
            assert before == preparation._mark(members)
            value.data.mul_(1.01).add_(0.01)
            assert before != preparation._mark(members), name


def test_a_few_elements_written_past_the_counter_need_forget() -> None:
    model, x = make(), draw()
    prepared(model, x)
    model.fine_encoder.levels[3].fuse[0].weight.data.view(-1)[700:710] = 3.0  # between two samples
    preparation.forget(model)
    assert_same(prepared(model, x), plain(model, x))


def test_what_is_frozen_is_looked_at_again_after_forget_and_with_gradients() -> None:
    model, x = make(), draw()
    preparation.freeze(model)
    before = prepared(model, x)
    _data(model)
    assert_same(prepared(model, x), before, 0.0)
    model(x).coarse.sum().backward()
    assert model.coarse_mask.weight.grad is not None
    preparation.forget(model)
    assert_same(prepared(model, x), plain(model, x))


def test_tensors_without_a_counter_are_compared_byte_for_byte() -> None:
    x = draw()
    with torch.inference_mode():
        model = make().requires_grad_(False)
        prepared(model, x)
        model.fine_encoder.levels[3].fuse[0].weight.view(-1)[700:710] = 3.0
        fast = prepared(model, x)
        model.coarse_mask.register_forward_hook(lambda *_: None)  # steps back to the plain form
        assert_same(fast, model(x))


def test_copies_and_other_dtypes_have_their_own() -> None:
    model, x = make(), draw()
    before = prepared(model, x)
    twin = copy.deepcopy(model)
    _data(twin)
    assert_same(prepared(twin, x), plain(twin, x))
    assert_same(prepared(model, x), before, 0.0)
    double = copy.deepcopy(model).double()
    with torch.no_grad():
        backends.reset_usage()
        assert_same(double(x.double()), R2MFOutput(*(t.double() for t in before)))  # type: ignore[union-attr]
        assert "prepared R2MFNet" not in backends.usage()
    assert_same(prepared(double.float(), x), before, 1e-5)
    half = model.to(torch.bfloat16)
    with torch.no_grad():
        assert half(x.bfloat16()).coarse.dtype is torch.bfloat16
    assert_same(prepared(half.float(), x), plain(half, x))


def test_a_model_that_is_gone_leaves_nothing() -> None:
    model = make()
    prepared(model, draw())
    kept, there = len(network._PREPARED._kept), weakref.ref(model)
    del model
    gc.collect()
    assert there() is None
    assert len(network._PREPARED._kept) < kept


def test_another_padding_is_seen() -> None:
    model, x = make(), draw()
    before = prepared(model, x)
    conv = model.coarse_encoder.stem[0][0]
    conv.padding_mode = "replicate"
    conv._reversed_padding_repeated_twice = [2, 2, 2, 2]
    with torch.no_grad():
        after = model(x)
    assert_same(after, plain(model, x))
    assert not torch.equal(after.coarse, before.coarse)
