"""The binding refuses what a kernel must not read, and names the argument, the value and the remedy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from spinecore import _native

core = _native.core()
N, C, H, W, R = 2, 4, 3, 5, 2


def forward_arguments() -> dict[str, Any]:
    return {
        "x": torch.randn(N, C, H, W),
        "w1": torch.randn(R, C),
        "b1": torch.randn(R),
        "w2": torch.randn(C, R),
        "b2": torch.randn(C),
        "ws": torch.randn(C),
        "bs": torch.randn(1),
        "mode": 0,
        "y": torch.empty(N, C, H, W),
        "channel_gate": torch.empty(N, C),
        "spatial_gate": torch.empty(N, H * W),
        "pooled": torch.empty(N, C),
    }


def backward_arguments() -> dict[str, Any]:
    given = forward_arguments()
    core.scse_gate_forward(**given)
    kept = {
        name: given[name]
        for name in ("w1", "b1", "w2", "b2", "ws", "channel_gate", "spatial_gate", "pooled", "mode")
    }
    gradients = {
        f"d{name}": torch.empty_like(given[name]) for name in ("x", "w1", "b1", "w2", "b2", "ws", "bs")
    }
    workspace = torch.empty(core.scse_gate_workspace(N, C, H, W, R))
    return {"x": given["x"], "dy": torch.randn(N, C, H, W), **kept, **gradients, "workspace": workspace}


TENSORS = [name for name, value in forward_arguments().items() if isinstance(value, Tensor)]


def refuse(error: type[Exception], words: tuple[str, ...], **changed: Any) -> None:
    with pytest.raises(error) as caught:
        core.scse_gate_forward(**{**forward_arguments(), **changed})
    for word in ("scse_gate_forward", *words):
        assert word in str(caught.value)


def test_good_arguments_pass() -> None:
    core.scse_gate_forward(**forward_arguments())
    core.scse_gate_backward(**backward_arguments())


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int32, torch.complex64])
def test_wrong_dtype(name: str, dtype: torch.dtype) -> None:
    refuse(
        TypeError,
        (f"'{name}'", str(dtype), ".to(torch.float32)"),
        **{name: forward_arguments()[name].to(dtype)},
    )


@pytest.mark.parametrize("name", [name for name in TENSORS if name not in ("x", "y")])
def test_bfloat16_is_for_images_only(name: str) -> None:
    refuse(
        TypeError,
        (f"'{name}'", "bfloat16", "expected float32"),
        **{name: forward_arguments()[name].bfloat16()},
    )


def test_images_of_two_types() -> None:
    refuse(TypeError, ("'y'", "bfloat16", "like 'x'"), y=torch.empty(N, C, H, W, dtype=torch.bfloat16))


@pytest.mark.parametrize("name", TENSORS)
def test_wrong_shape(name: str) -> None:
    tensor = forward_arguments()[name]
    refuse(ValueError, ("expected",), **{name: torch.zeros((*tensor.shape[:-1], tensor.shape[-1] + 1))})


@pytest.mark.parametrize("name", TENSORS)
def test_wrong_number_of_dimensions(name: str) -> None:
    refuse(ValueError, (f"'{name}'", "expected"), **{name: forward_arguments()[name][None]})


@pytest.mark.parametrize("name", TENSORS)
def test_wrong_strides(name: str) -> None:
    tensor = forward_arguments()[name]
    if name == "bs":  # one element: any stride steps over nothing
        core.scse_gate_forward(**{**forward_arguments(), name: torch.zeros(2)[::2]})
        return
    strided = torch.zeros((*tensor.shape[:-1], 2 * tensor.shape[-1]))[..., ::2]
    refuse(ValueError, (f"'{name}'", "strides", ".contiguous()"), **{name: strided})


def test_expanded_image() -> None:
    refuse(ValueError, ("'x'", "strides"), x=torch.zeros(1, C, 1, W).expand(N, C, H, W))


def test_two_layouts() -> None:
    channels_last = torch.empty(N, C, H, W).contiguous(memory_format=torch.channels_last)
    refuse(ValueError, ("'y'", "channels-last", "memory format"), y=channels_last)


def test_more_dimensions_than_a_view_holds() -> None:
    with pytest.raises(TypeError):
        core.scse_gate_forward(**{**forward_arguments(), "x": torch.zeros((1,) * 9)})


@pytest.mark.parametrize("name", TENSORS)
def test_fake_tensor_is_refused_instead_of_read(name: str) -> None:
    tensor = forward_arguments()[name]
    inside = torch.zeros(tensor.numel() + 64)[64:].view(tensor.shape)  # its address is 256, not null
    for like in (tensor, inside):
        with FakeTensorMode() as mode:
            fake = mode.from_tensor(like)
        refuse(ValueError, (f"'{name}'", "no memory"), **{name: fake})


def test_meta_tensor_is_refused() -> None:
    with pytest.raises((ValueError, RuntimeError, BufferError)):
        core.scse_gate_forward(**{**forward_arguments(), "x": torch.empty(N, C, H, W, device="meta")})


@pytest.mark.parametrize("stranger", [None, 3, "x", [1.0], torch.zeros(2).numpy()])
def test_what_is_no_tensor(stranger: Any) -> None:
    with pytest.raises(TypeError):
        core.scse_gate_forward(**{**forward_arguments(), "x": stranger})


@pytest.mark.parametrize("mode", [-1, 2])
def test_unknown_mode(mode: int) -> None:
    refuse(ValueError, (f"mode is {mode}", "0 (add) or 1 (max)"), mode=mode)


def test_shared_memory() -> None:
    x = torch.randn(N, C, H, W)
    refuse(ValueError, ("'y'", "shares memory with 'x'"), x=x, y=x)


def test_backward_checks_what_it_writes() -> None:
    for name, wrong, error in (
        ("dx", torch.empty(N, C, H, W + 1), ValueError),
        ("dw1", torch.empty(R, C, dtype=torch.float64), TypeError),
        ("dw2", torch.empty(R, C), ValueError),
        ("dbs", torch.empty(2), ValueError),
        ("workspace", torch.empty(3), ValueError),
        ("dy", torch.randn(N, C, H, W).bfloat16(), TypeError),
    ):
        with pytest.raises(error, match=f"scse_gate_backward: argument '{name}'"):
            core.scse_gate_backward(**{**backward_arguments(), name: wrong})


def test_parameters_and_tensor_subclasses_are_read_as_tensors() -> None:
    class Labelled(torch.Tensor):
        pass

    given = forward_arguments()
    expected = given["y"]
    core.scse_gate_forward(**given)
    again = {**given, "y": torch.empty_like(expected), "w1": torch.nn.Parameter(given["w1"])}
    again["x"] = given["x"].as_subclass(Labelled)
    core.scse_gate_forward(**again)
    assert torch.equal(again["y"], expected)


class OldTensor:
    """What the binding reads of a tensor whose torch has no DLPack exchange API."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self.dtype, self.device, self.shape = tensor.dtype, tensor.device, tensor.shape

    def stride(self) -> tuple[int, ...]:
        return self._tensor.stride()

    def data_ptr(self) -> int:
        return self._tensor.data_ptr()


def test_tensors_without_the_exchange_api() -> None:
    given = forward_arguments()
    core.scse_gate_forward(**given)
    old = {name: OldTensor(value) if isinstance(value, Tensor) else value for name, value in given.items()}
    y = torch.empty_like(given["y"])
    core.scse_gate_forward(**{**old, "y": OldTensor(y)})
    assert torch.equal(y, given["y"])
    refuse(TypeError, ("'w1'", "torch.float64"), w1=OldTensor(torch.zeros(R, C, dtype=torch.float64)))
    refuse(ValueError, ("'x'", "strides"), x=OldTensor(torch.zeros(N, C, H, 2 * W)[..., ::2]))


def test_workspace_of_negative_sizes() -> None:
    with pytest.raises(ValueError, match="negative"):
        core.scse_gate_workspace(1, -1, 2, 2, 1)


def test_unknown_instruction_set() -> None:
    before = core.info()["isa_selected"]
    with pytest.raises(ValueError, match="baseline, avx2 or avx512"):
        core.set_isa("avx1024")
    assert core.info()["isa_selected"] == before
