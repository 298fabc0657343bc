"""Transformed weights are kept, and never used once the weights are others."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinecore import _native, ops
from spinecore.ops import _winograd


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv3x3(x, self.weight, backend="cpu")


def assert_current(layer: Layer, x: Tensor) -> None:
    expected = F.conv2d(x.double(), layer.weight.detach().double(), padding=1)
    with torch.no_grad():
        y = layer(x)
    assert float((y.double() - expected).abs().max() / expected.abs().max()) < 1e-2


def optimise(layer: Layer) -> None:
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    layer.weight.grad = torch.randn_like(layer.weight)
    optimiser.step()


def through_data(layer: Layer) -> None:
    layer.weight.data.neg_()


def through_numpy(layer: Layer) -> None:
    layer.weight.detach().numpy()[:] += 1


def one_element(layer: Layer) -> None:
    layer.weight.data[7, 7, 2, 2] += 100


def another_state(layer: Layer) -> None:
    layer.load_state_dict(Layer().state_dict())


def assigned_state(layer: Layer) -> None:
    layer.load_state_dict(Layer().state_dict(), assign=True)


def new_storage(layer: Layer) -> None:
    layer.weight.data = torch.randn(8, 8, 3, 3)


def other_layout(layer: Layer) -> None:
    layer.weight.data.neg_()
    layer.to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "change",
    [
        optimise,
        through_data,
        through_numpy,
        one_element,
        another_state,
        assigned_state,
        new_storage,
        other_layout,
    ],
    ids=lambda function: function.__name__,
)
def test_a_change_of_the_weights_is_seen(change: Callable[[Layer], None]) -> None:
    layer, x = Layer(), torch.randn(1, 8, 9, 9)
    assert_current(layer, x)
    change(layer)
    assert_current(layer, x)


def test_copies_and_casts_have_weights_of_their_own() -> None:
    layer, x = Layer(), torch.randn(1, 8, 9, 9)
    assert_current(layer, x)
    twin = copy.deepcopy(layer)
    twin.weight.data.neg_()
    assert_current(twin, x)
    assert_current(layer, x)
    assert_current(layer.to(torch.bfloat16), x.to(torch.bfloat16))
    assert_current(layer.to(torch.float32), x)


def test_a_compiled_layer_sees_the_change_too() -> None:
    layer, x = Layer(), torch.randn(1, 8, 9, 9)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        before = compiled(x)
        layer.weight.data.neg_()
        torch.testing.assert_close(compiled(x), -before, rtol=0, atol=0)


def test_the_weights_are_transformed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Layer(), torch.randn(1, 8, 9, 9)
    core = _native.core()
    calls = []

    def counted(*args: object) -> None:
        calls.append(args)
        core_transform(*args)

    core_transform = core.winograd_transform
    monkeypatch.setattr(core, "winograd_transform", counted)
    with torch.no_grad():
        for _ in range(3):
            layer(x)
    assert len(calls) == 1
    with torch.inference_mode():
        layer(x)
    assert len(calls) == 1


def test_what_is_kept_goes_with_the_weights() -> None:
    before = len(_winograd._kept)
    layer = Layer()
    with torch.no_grad():
        layer(torch.randn(1, 8, 9, 9))
    assert len(_winograd._kept) == before + 1
    del layer
    gc.collect()
    assert len(_winograd._kept) == before
