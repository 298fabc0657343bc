"""The prepared form of R2MF-Net computes what the plain one does and is never stale."""

from __future__ import annotations

import copy
import dataclasses
import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import spinecore
from spinecore import backends
from spinecore.nn import prepared as preparation
from spinecore.nn.members import members_of
from spinecore.plugins.r2mf_net import network
from spinecore.plugins.r2mf_net.config import R2MFConfig
from spinecore.plugins.r2mf_net.example import SMALL, example_inputs
from spinecore.plugins.r2mf_net.network import R2MFNet, R2MFOutput

MIDDLE = R2MFConfig(
    height=64, width=64, coarse_widths=(8, 16, 32, 32, 36), fine_widths=(32, 48, 48, 64, 64), stem_stride=4
)
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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(config: R2MFConfig = MIDDLE, seed: int = 0) -> R2MFNet:
    """A network in evaluation whose running statistics and affine maps are no identities."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = R2MFNet(config).eval()
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=generator)
        elif value.is_floating_point() and value.dim() <= 2 and "weight" not in name:
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    return model


def draw(config: R2MFConfig = MIDDLE, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch, config.in_channels, config.height, config.width, generator=generator)


def prepared(model: R2MFNet, x: Tensor) -> R2MFOutput:
    """Through the prepared form, which must have been chosen: run once, recorded, and repeated."""
    backends.reset_usage()
    with torch.no_grad():
        out, recorded, repeated = (model(x) for _ in range(3))
    assert backends.usage().get("prepared R2MFNet", {}).get("cpu", 0) == 3
    for again in (recorded, repeated):
        assert_same(again, out, 0.0)
    return out  # type: ignore[no-any-return]


def plain(model: R2MFNet, x: Tensor) -> R2MFOutput:
    """Module by module: gradients are on."""
    backends.reset_usage()
    with torch.enable_grad():
        out: R2MFOutput = model(x)
    assert "prepared R2MFNet" not in backends.usage()
    return out


def assert_same(a: R2MFOutput, b: R2MFOutput, tolerance: float = 1e-4) -> None:
    for one, other in zip(a, b, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.shape == other.shape
            assert one.dtype is other.dtype
            scale = max(1.0, float(other.detach().abs().max()))
            assert float((one - other).detach().abs().max()) <= tolerance * scale


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


def test_a_model_that_is_gone_leaves_nothing() -> None:
    model = make()
    prepared(model, draw())
    kept, there = len(network._PREPARED._kept), weakref.ref(model)
    del model
    gc.collect()
    assert there() is None
    assert len(network._PREPARED._kept) < kept


def test_compiled_and_exported() -> None:
    # One network: every other part is compiled and exported with the plugin's own tests.
    model, x = make(dataclasses.replace(SMALL, fine=False)), example_inputs()[1][0]
    expected = prepared(model, x)
    with torch.no_grad():
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        assert_same(compiled(x), expected)
        exported = torch.export.export(model, (x,))
        assert_same(R2MFOutput(*exported.module()(x)), expected)
