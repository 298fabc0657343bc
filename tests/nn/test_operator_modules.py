"""The modules over the operators, against the same thing built from torch.nn."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spinecore import nn as snn
from spinecore.testing import outputs_and_gradients


class PlainRecurrent(nn.Module):
    """R2-unit from nn.Conv2d and nn.BatchNorm2d."""

    def __init__(self, module: snn.RecurrentResidualConv) -> None:
        super().__init__()
        self.residual = module.residual
        self.w_in = nn.Parameter(module.w_in.detach().clone())
        self.w_rec = None if module.w_rec is None else nn.Parameter(module.w_rec.detach().clone())
        self.norms = nn.ModuleList(nn.BatchNorm2d(module.channels) for _ in range(module.steps + 1))

    def forward(self, x: Tensor) -> Tensor:
        recurrent = self.w_in if self.w_rec is None else self.w_rec
        d = F.conv2d(x, self.w_in, padding=1)
        u = F.relu(self.norms[0](d))
        for norm in self.norms[1:]:
            u = F.relu(norm(d + F.conv2d(u, recurrent, padding=1)))
        return x + u if self.residual else u


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_recurrent_residual_conv_trains_and_evaluates_like_torch(shared: bool, residual: bool) -> None:
    torch.manual_seed(0)
    ours = snn.RecurrentResidualConv(4, residual=residual, shared_weights=shared).double()
    plain = PlainRecurrent(ours).double()
    optimisers = [torch.optim.SGD(module.parameters(), lr=0.1) for module in (ours, plain)]
    for step in range(4):
        x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
        results = []
        for module, optimiser in zip((ours, plain), optimisers, strict=True):
            optimiser.zero_grad()
            y = module(x)
            (y - step).square().mean().backward()
            optimiser.step()
            results.append(y.detach())
        torch.testing.assert_close(*results)
    for k, norm in enumerate(plain.norms):
        assert isinstance(norm, nn.BatchNorm2d)
        torch.testing.assert_close(ours.gamma[k], norm.weight)
        torch.testing.assert_close(ours.beta[k], norm.bias)
        torch.testing.assert_close(ours.running_mean[k], norm.running_mean)
        torch.testing.assert_close(ours.running_var[k], norm.running_var)
    ours.eval()
    plain.eval()
    x = torch.randn(3, 4, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(x), plain(x))


def test_recurrent_residual_conv_names_and_shapes_are_the_documented_ones() -> None:
    module = snn.RecurrentResidualConv(6, steps=3)
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert shapes == {
        "w_in": (6, 6, 3, 3),
        "w_rec": (6, 6, 3, 3),
        "gamma": (4, 6),
        "beta": (4, 6),
        "running_mean": (4, 6),
        "running_var": (4, 6),
    }
    shared = snn.RecurrentResidualConv(6, shared_weights=True, shared_norm=True).state_dict()
    assert "w_rec" not in shared
    assert shared["gamma"].shape == (6,)
    assert shared["running_mean"].shape == (3, 6)
    assert (module.gamma == 1).all()
    assert (module.beta == 0).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(steps=st.integers(0, 3), shared_norm=st.booleans(), last=st.booleans())
def test_evaluation_of_a_large_batch_matches_training_once_statistics_have_settled(
    steps: int, shared_norm: bool, last: bool
) -> None:
    torch.manual_seed(steps)
    module = snn.RecurrentResidualConv(3, steps, shared_norm=shared_norm, momentum=1.0).double()
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    trained = module(x.contiguous(memory_format=torch.channels_last) if last else x)
    module.eval()
    count = x.numel() // 3
    module.running_var.mul_((count - 1) / count)
    torch.testing.assert_close(module(x), trained)


def test_an_empty_batch_leaves_the_running_statistics_alone() -> None:
    module = snn.RecurrentResidualConv(3)
    before = copy.deepcopy(module.state_dict())
    module(torch.zeros(0, 3, 4, 4))
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_recurrent_residual_conv_under_autocast_keeps_single_precision_statistics() -> None:
    torch.manual_seed(0)
    module = snn.RecurrentResidualConv(4)
    x = torch.randn(2, 4, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    assert y.dtype is torch.bfloat16
    assert module.running_mean.dtype is torch.float32
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in module.parameters())


def test_modules_compile_whole_and_update_their_statistics() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        snn.Conv3x3(3, 8, activation="relu"), snn.RecurrentResidualConv(8), snn.SCSEGate(8, mode="max")
    )
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 8, 8)
    for _ in range(2):
        torch.testing.assert_close(compiled(x), model(x))
    for a, b in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    model.eval()
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("mode", ["add", "max"])
@pytest.mark.parametrize("bias", [False, True])
def test_scse_gate_matches_the_usual_module(mode: str, bias: bool) -> None:
    torch.manual_seed(1)
    gate = snn.SCSEGate(32, reduction=4, bias=bias, mode=mode).double()
    assert gate.w1.shape == (8, 32)
    squeeze, excite = nn.Linear(32, 8, bias).double(), nn.Linear(8, 32, bias).double()
    spatial = nn.Conv2d(32, 1, 1, bias=bias).double()
    with torch.no_grad():
        for ours, theirs in ((gate.w1, squeeze.weight), (gate.w2, excite.weight), (gate.ws, spatial.weight)):
            theirs.copy_(ours.view_as(theirs))
        for maybe, layer in ((gate.b1, squeeze), (gate.b2, excite), (gate.bs, spatial)):
            if maybe is not None:
                maybe.normal_()
                layer.bias.copy_(maybe)

    def plain(x: Tensor) -> Tensor:
        c = torch.sigmoid(excite(F.relu(squeeze(x.mean((2, 3))))))[:, :, None, None]
        s = torch.sigmoid(spatial(x))
        return x * c + x * s if mode == "add" else x * torch.maximum(c.expand_as(x), s.expand_as(x))

    x = torch.randn(2, 32, 5, 4, dtype=torch.float64)
    for got, wanted in zip(outputs_and_gradients(gate, [x]), outputs_and_gradients(plain, [x]), strict=True):
        torch.testing.assert_close(got, wanted)


def test_scse_gate_defaults_are_the_lite_form() -> None:
    gate = snn.SCSEGate(512)
    assert {name: tuple(p.shape) for name, p in gate.named_parameters()} == {
        "w1": (32, 512),
        "w2": (512, 32),
        "ws": (512,),
    }
    assert snn.SCSEGate(16).hidden == 8


def test_latent_attention_pool_matches_multihead_attention() -> None:
    torch.manual_seed(2)
    pool = snn.LatentAttentionPool(16, latents=5, heads=4).double()
    theirs = nn.MultiheadAttention(16, 4, bias=False, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([pool.wq.T, pool.wk.T, pool.wv.T]))
        theirs.out_proj.weight.copy_(pool.wo.T)
    x = torch.randn(3, 7, 16, dtype=torch.float64)
    mask = torch.rand(3, 7) > 0.3
    mask[:, 0] = True
    y, attention = pool(x, mask, need_weights=True)
    queries = pool.latents.expand(3, -1, -1)
    wanted, weights = theirs(queries, x, x, key_padding_mask=~mask, average_attn_weights=False)
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(attention, weights)


def test_latent_dictionary_pool_averages_answers() -> None:
    torch.manual_seed(3)
    pool = snn.LatentDictionaryPool(8, entries=6, heads=2)
    x = torch.randn(2, 5, 8)
    assert pool(x).shape == (2, 8)
    one_by_one = torch.stack([pool(x[:, i : i + 1]) for i in range(5)]).mean(0)
    torch.testing.assert_close(pool(x), one_by_one)


def test_decorrelation_losses() -> None:
    torch.manual_seed(4)
    a, b = torch.randn(16, 6), torch.randn(16, 3)
    mixed = a @ torch.randn(6, 6)
    loss = snn.CovarianceLoss(covariance_weight=2.0, variance_weight=0.5)
    assert loss(mixed) > loss(a)
    mask = torch.arange(16) < 8
    torch.testing.assert_close(loss(a, mask), loss(a[:8]))
    assert snn.CrossCovarianceLoss()(a, a) > snn.CrossCovarianceLoss()(a, b)
    assert snn.OrthogonalityLoss()(a, a) > snn.OrthogonalityLoss()(a, b) > 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: snn.RecurrentResidualConv(0), "channels=0 must be >= 1"),
        (lambda: snn.RecurrentResidualConv(4, kernel_size=2), "kernel_size=2 odd"),
        (lambda: snn.SCSEGate(4, mode="mean"), "mode is 'mean'"),
        (lambda: snn.SCSEGate(4, reduction=0), "reduction=0"),
        (lambda: snn.Conv3x3(3, 4, activation="gelu"), "activation is 'gelu'"),
        (lambda: snn.LatentAttentionPool(10, heads=3), "heads=3 must divide width=10"),
        (lambda: snn.LatentDictionaryPool(8, entries=0), "rows=0 must be at least 1"),
    ],
)
def test_wrong_options_are_named(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_a_backend_asked_for_is_used_by_the_module() -> None:
    with pytest.raises(RuntimeError, match="'cuda' was asked for but cannot run"):
        snn.SCSEGate(4, backend="cuda")(torch.zeros(1, 4, 2, 2))
