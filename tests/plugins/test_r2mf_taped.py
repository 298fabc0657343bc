"""R2MF-Net's recorded training step: gradients and statistics of the plain network, for every option."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from spinecore import backends
from spinecore.plugins.r2mf_net.config import R2MFConfig
from spinecore.plugins.r2mf_net.loss import r2mf_loss
from spinecore.plugins.r2mf_net.network import R2MFNet

CONFIG = R2MFConfig(
    height=96, width=96, coarse_widths=(8, 16, 16, 16, 20), fine_widths=(16, 16, 24, 32, 32), stem_stride=2
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
    {"stem_stride": 1, "height": 48, "width": 64},
    {"stem_stride": 4, "height": 128, "width": 128},
    {"detach_coarse": True},
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    backends.reset_usage()
    yield
    torch.set_num_threads(threads)


def gradients(model: R2MFNet, x: Tensor) -> list[Tensor]:
    """Of a loss that reads every output."""
    model.zero_grad(set_to_none=True)
    outputs = [out for out in model(x) if out is not None]
    torch.stack(
        [(out * torch.linspace(-1, 1, out.shape[-1]).to(out)).square().mean() for out in outputs]
    ).sum().backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


def apart(found: list[Tensor], wanted: list[Tensor]) -> float:
    squares = [
        ((a.double() - b.double()).square().sum(), b.double().square().sum())
        for a, b in zip(found, wanted, strict=True)
    ]
    return float(sum(a for a, _ in squares) / sum(b for _, b in squares)) ** 0.5


def recorded(config: R2MFConfig, seed: int) -> float:
    """How far the gradients of a recorded step are from those of float64, its statistics being the same."""
    torch.manual_seed(seed)
    model = R2MFNet(config).train()
    x = torch.randn(2, config.in_channels, config.height, config.width)
    exact = copy.deepcopy(model).double()
    backends.reset_usage()
    found = gradients(model, x)
    assert backends.usage()["taped R2MFNet"]["cpu"] == 1
    wanted = gradients(exact, x.double())
    for (name, a), b in zip(model.named_buffers(), exact.buffers(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4), name
    return apart(found, wanted)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_gradients_and_statistics_are_those_of_float64(switch: dict[str, object]) -> None:
    # tests/nn/test_taped.py is strict. Among this many ReLUs and maxima rounding moves one or two over their
    # edge in most draws, also in PyTorch's own float32: up to 2e-2. What is wrong is wrong in every draw.
    config = dataclasses.replace(CONFIG, **switch)  # type: ignore[arg-type]
    assert any(recorded(config, seed) <= 1e-3 for seed in range(6))


def test_the_loss_of_the_trainer_learns_on_recorded_steps() -> None:
    torch.manual_seed(0)
    model = R2MFNet(CONFIG).train()
    x, mask = torch.randn(2, 2, 96, 96), torch.zeros(2, 1, 96, 96)
    mask[:, :, :, 36:60] = 1
    corners = torch.rand(2, 17, 4, 2) - 0.5
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss, _ = r2mf_loss(model(x), mask, corners, (96, 96), torch.Generator().manual_seed(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert backends.usage()["taped R2MFNet"]["cpu"] == 12
    assert losses[-1] < 0.8 * losses[0]
