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


def away_from_edges(model: R2MFNet) -> R2MFNet:
    """Normalised values around +4 in one half of the channels and -4 in the other: rounding moves none over
    the edge of a ReLU, which passes the one half and stops the other.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() <= 2 and (name.endswith(("1.bias", "beta"))):
            with torch.no_grad():
                parameter[..., 0::2] = 4.0
                parameter[..., 1::2] = -4.0
    return model


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_gradients_and_statistics_are_those_of_float64(switch: dict[str, object]) -> None:
    config = dataclasses.replace(CONFIG, **switch)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = away_from_edges(R2MFNet(config).train())
    x = torch.randn(2, config.in_channels, config.height, config.width)
    exact, single = copy.deepcopy(model).double(), copy.deepcopy(model)
    found = gradients(model, x)
    assert backends.usage()["taped R2MFNet"]["cpu"] == 1
    single.coarse_mask.register_forward_hook(lambda *_: None)  # a hook inside: the plain form runs
    wanted, usual = gradients(exact, x.double()), gradients(single, x)
    assert backends.usage()["taped R2MFNet"]["cpu"] == 1
    assert apart(found, wanted) <= 2 * apart(usual, wanted) + 1e-5
    for (name, a), b in zip(model.named_buffers(), exact.buffers(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5), name


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
