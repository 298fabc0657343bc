"""Recorded training steps: the gradients and statistics of the plain form, which runs where it must."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spinecore import backends
from spinecore.nn import Conv2d, ConvNorm, RecurrentResidualConv, SCSEGate
from spinecore.nn.taped import Taped


def unit(
    c_in: int, c_out: int, kernel: int, relu: bool = True, dilation: int = 1, stride: int = 1
) -> ConvNorm:
    conv = Conv2d(c_in, c_out, kernel, stride, dilation * (kernel // 2), dilation, bias=False)
    return ConvNorm(conv, nn.BatchNorm2d(c_out), *([nn.ReLU(inplace=True)] if relu else []))


class Net(nn.Module):
    """Every module and function that has a form on a tape, one value used by several."""

    def __init__(self, channels: int = 16, steps: int = 2, shared: bool = True) -> None:
        super().__init__()
        self.stem = unit(3, channels, 5, stride=2)
        self.reduce = unit(channels, channels, 1)
        self.near = unit(channels // 2, channels // 2, 3)
        self.far = unit(channels // 2, channels // 2, 3, dilation=3)
        self.wide = unit(channels, channels + 3, 3, relu=False)
        self.narrow = Conv2d(channels + 3, channels, 1)
        self.recur = RecurrentResidualConv(channels, steps=steps, shared_weights=shared)
        self.gate = SCSEGate(channels, bias=not shared)
        self.again = Conv2d(channels, 5, 3, padding=1)
        self.odd = Conv2d(5, 2, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        step = TAPED.find(self, x)
        return plain(self, x) if step is None else step(x)  # type: ignore[return-value]


def plain(net: Net, x: Tensor) -> tuple[Tensor, None, Tensor]:
    x = net.stem(x)
    a, b = net.reduce(x).chunk(2, 1)
    joined = torch.cat([net.far(b), net.near(a)], 1)
    y = net.recur(F.relu(joined + x))
    low = net.gate(F.max_pool2d(y, 2))
    wide = net.narrow(net.wide(low))
    up = F.interpolate(wide, size=y.shape[-2:], mode="bilinear", align_corners=False)
    gated = torch.sigmoid(up) * y
    return (
        net.odd(net.again(gated)),
        None,
        F.interpolate(F.avg_pool2d(gated.detach() + y, 2), scale_factor=2.0, mode="bilinear"),
    )


TAPED = Taped(plain)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    backends.reset_usage()
    yield
    torch.set_num_threads(threads)


def make(seed: int = 0, **options: int) -> Net:
    torch.manual_seed(seed)
    net = Net(**options).train()
    for p in net.parameters():
        p.data.add_(torch.randn_like(p) * 0.05)
    return net


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


SHAPE = (2, 3, 18, 22)


def loss_of(outputs: tuple[Tensor, Tensor | None, Tensor]) -> Tensor:
    first, nothing, third = outputs
    assert nothing is None
    weights = torch.linspace(-1, 2, first.numel(), dtype=first.dtype).view_as(first)
    return (first * weights).mean() + third.square().mean()


def gradients(net: nn.Module, x: Tensor) -> list[Tensor]:
    net.zero_grad(set_to_none=True)
    loss_of(net(x)).backward()
    return [p.grad for p in net.parameters() if p.grad is not None]


def runs() -> int:
    return backends.usage().get("taped Net", {}).get("cpu", 0)


def taped(net: Net, x: Tensor) -> Net:
    """`net` with x's shape recorded, and its statistics as they were."""
    state = copy.deepcopy(net.state_dict())
    for _ in range(2):
        net(x)
        gc.collect()
    net.load_state_dict(state)
    backends.reset_usage()
    return net


def distance(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Of the whole gradient, relative to its length."""
    pairs = list(zip(found, wanted, strict=True))
    apart = sum(float((a.double() - b.double()).square().sum()) for a, b in pairs)
    return (apart / sum(float(b.double().square().sum()) for _, b in pairs)) ** 0.5


@settings(max_examples=12, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.just(3), st.integers(8, 40), st.integers(8, 40)),
    channels=st.sampled_from([8, 12, 16, 34]),
    steps=st.integers(0, 2),
    shared=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_gradients_and_statistics_are_those_of_float64(
    shape: tuple[int, ...], channels: int, steps: int, shared: bool, last: bool, seed: int
) -> None:
    x = draw(*shape, seed=seed)
    net = make(seed, channels=channels, steps=steps, shared=shared or steps == 0)
    if last:
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)  # type: ignore[call-overload]
    exact, single = copy.deepcopy(net).double(), copy.deepcopy(net)
    net = taped(net, x)
    found = gradients(net, x)
    assert runs() == 1
    wanted = gradients(exact, x.double())
    loss_of(plain(single, x)).backward()
    usual = [p.grad for p in single.parameters() if p.grad is not None]
    assert distance(found, wanted) <= 2 * distance(usual, wanted) + 1e-5
    for (name, a), b in zip(net.named_buffers(), exact.buffers(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5), name


def test_steps_of_an_optimizer_follow_the_plain_form() -> None:
    x = draw(*SHAPE)
    fast, slow = taped(make(), x), make().double()
    for net in (fast, slow):
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-2, momentum=0.9)
        for i in range(5):
            gradients(net, draw(*SHAPE, seed=i).to(next(net.parameters()).dtype))
            optimizer.step()
    assert runs() == 5
    for (name, a), b in zip(fast.state_dict().items(), slow.state_dict().values(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4), name


def test_the_same_bits_at_every_run_and_two_threads(nan_memory: None) -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    once, twice = gradients(net, x), gradients(net, x)
    assert runs() == 2
    torch.set_num_threads(2)
    net = taped(net, x)
    both = gradients(net, x)
    assert runs() == 1
    assert all(map(torch.equal, once, twice))
    assert distance(both, once) <= 1e-5  # PyTorch's parts have other bits for other numbers of threads


def test_gradients_add_up_and_are_nobodys_memory() -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    first = [g.clone() for g in gradients(net, x)]
    kept = [p.grad for p in net.parameters()]
    loss_of(net(x)).backward()
    for grad, p, one in zip(kept, net.parameters(), first, strict=True):
        assert grad is p.grad
        assert torch.allclose(grad, 2 * one, rtol=1e-5, atol=1e-6)  # type: ignore[arg-type]


def test_two_forwards_before_a_backward() -> None:
    x, other = draw(*SHAPE), draw(*SHAPE, seed=1)
    net = taped(make(), x)
    (loss_of(net(x)) + loss_of(net(other))).backward()
    assert runs() == 1
    together = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    apart = [a + b for a, b in zip(gradients(net, x), gradients(net, other), strict=True)]
    assert distance(together, apart) <= 1e-5


def test_a_plain_forward_and_a_recorded_one_before_their_backward() -> None:
    x = draw(*SHAPE)
    net = make()
    for others in range(2):  # of a module's third shape on, the first call is plain
        net(draw(1, 3, 8 + 2 * others, 8))
    gc.collect()
    backends.reset_usage()
    wanted = gradients(copy.deepcopy(net).double(), x.double())
    (loss_of(net(x)) + loss_of(net(x))).backward()
    assert runs() == 1
    found = [p.grad / 2 for p in net.parameters() if p.grad is not None]
    assert distance(found, wanted) <= 1e-5


def test_a_forward_without_backward_does_not_block_the_next() -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    for _ in range(3):
        net(x)
    assert runs() == 3


def test_a_graph_walked_twice() -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    loss = loss_of(net(x))
    statistics = [b.clone() for b in net.buffers()]
    parameters = list(net.parameters())
    once = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    with torch.no_grad():
        net(draw(*SHAPE, seed=1))
    state = [b.clone() for b in net.buffers()]
    again = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert distance([g for g in again if g is not None], [g for g in once if g is not None]) <= 1e-5
    assert all(map(torch.equal, net.buffers(), state))
    assert not all(map(torch.equal, net.buffers(), statistics))


def test_parameters_changed_between_forward_and_backward_are_an_error() -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    loss = loss_of(net(x))
    with torch.no_grad():
        net.narrow.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def _new_memory(net: Net) -> None:
    net.narrow.weight.data = net.narrow.weight.data.clone() + 0.5


def _gaps(net: Net) -> None:
    wide = torch.zeros(*net.narrow.weight.shape, 2)
    wide[..., 0] = net.narrow.weight.data
    net.narrow.weight.data = wide[..., 0]


def _new_values(net: Net) -> None:
    net.load_state_dict({k: v + 0.5 if v.is_floating_point() else v for k, v in net.state_dict().items()})


def _new_parameter(net: Net) -> None:
    net.narrow.weight = nn.Parameter(net.narrow.weight.detach() + 0.5)


def _new_module(net: Net) -> None:
    net.again = Conv2d(16, 5, 3, padding=2, dilation=2)


def _new_momentum(net: Net) -> None:
    net.stem[1].momentum = 0.5


@pytest.mark.parametrize(
    "change", [_new_memory, _gaps, _new_values, _new_parameter, _new_module, _new_momentum]
)
def test_never_stale(change: Callable[[Net], None]) -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    gradients(net, x)
    change(net)
    wanted_net = copy.deepcopy(net)
    for _ in range(3):
        found, wanted = gradients(net, x), gradients(wanted_net.double(), x.double())
        assert distance(found, wanted) <= 1e-4
    for a, b in zip(net.buffers(), wanted_net.buffers(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


def _hook(net: Net) -> None:
    net.near.register_forward_hook(lambda *_: None)


def _frozen_weight(net: Net) -> None:
    net.narrow.weight.requires_grad_(False)


def _frozen_norm(net: Net) -> None:
    net.near[1].eval()


def _other_kind(net: Net) -> None:
    net.near[1] = nn.InstanceNorm2d(8)


def _evaluation(net: Net) -> None:
    net.eval()


@pytest.mark.parametrize("change", [_hook, _frozen_weight, _frozen_norm, _other_kind, _evaluation])
def test_the_plain_form_runs_where_parts_are_not_the_usual_ones(change: Callable[[Net], None]) -> None:
    x = draw(*SHAPE)
    net = make()
    change(net)
    for _ in range(3):
        gradients(net, x)
    assert runs() == 0


def test_the_plain_form_runs_where_somebody_watches() -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    wanted = gradients(copy.deepcopy(net).double(), x.double())
    with torch.no_grad():
        net(x)
    loss_of(net(x.clone().requires_grad_())).backward()
    with torch.autocast("cpu", torch.bfloat16):
        net(x)
    net.zero_grad(set_to_none=True)
    loss_of(checkpoint(net, x, use_reentrant=False)).backward()
    assert distance([p.grad for p in net.parameters() if p.grad is not None], wanted) <= 1e-5
    assert runs() == 0


def test_what_is_not_finite_is_the_plain_forms() -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    bad = x.clone()
    bad[0, 0, 3, 4] = torch.nan
    wanted_net = copy.deepcopy(net)
    found, wanted = gradients(net, bad), gradients(wanted_net, bad)
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a.isnan(), b.isnan())

    net = taped(make(), x)
    outputs = net(x)
    state = [b.clone() for b in net.buffers()]
    torch.autograd.backward(outputs[0], torch.full_like(outputs[0], torch.nan))
    assert all(map(torch.equal, net.buffers(), state))
    assert bool(net.stem[0].weight.grad.isnan().all())


def test_a_backward_done_again_leaves_other_graphs_alone() -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    recorded, plainly = net(x), net(x)
    assert runs() == 1
    torch.autograd.backward(recorded[0], torch.full_like(recorded[0], torch.nan))
    net.zero_grad(set_to_none=True)
    loss_of(plainly).backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)


def test_threads_that_train_one_module() -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    parameters = list(net.parameters())
    wanted = list(torch.autograd.grad(loss_of(net(x)), parameters))

    def right(_: int) -> bool:
        torch.set_num_threads(1)
        return distance(list(torch.autograd.grad(loss_of(net(x)), parameters)), wanted) <= 1e-5

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(right, range(12)))


def test_a_module_is_freed_and_a_copy_is_its_own() -> None:
    x = draw(*SHAPE)
    net = taped(make(), x)
    gradients(net, x)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.narrow.weight.mul_(2)
    assert distance(gradients(twin, x), gradients(net, x)) > 1e-3
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
