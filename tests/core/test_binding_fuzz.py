"""Whatever the binding is given: a clear error or the right result, and nothing written elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from spinecore import _native

core = _native.core()
MARGIN = 64  # elements before and behind every tensor, which must stay as they are
CANARY = -12345.0
INPUTS = ("x", "w1", "b1", "w2", "b2", "ws", "bs")
OUTPUTS = ("y", "channel_gate", "spatial_gate", "pooled")
CLEAR = (TypeError, ValueError, RuntimeError, BufferError, NotImplementedError)


class Placed(NamedTuple):
    memory: Tensor
    tensor: Tensor


def place(value: Tensor, shift: int) -> Placed:
    """The value inside memory with margins; an odd shift is an address no vector is aligned to."""
    memory = torch.full((value.numel() + 2 * MARGIN + shift,), CANARY, dtype=value.dtype)
    tensor = memory.as_strided(value.size(), value.stride(), MARGIN + shift)
    return Placed(memory, tensor.copy_(value))


def fake(tensor: Tensor) -> Tensor:
    with FakeTensorMode() as mode:
        return mode.from_tensor(tensor)


def overlapping(tensor: Tensor) -> Tensor:
    """Rows that share elements, as unfolding gives them."""
    return tensor.as_strided(tensor.shape, [1] * tensor.dim())


TWISTS: dict[str, Callable[[Tensor], Any]] = {
    "as it is": lambda t: t,
    "double": lambda t: t.double(),
    "half": lambda t: t.half(),
    "integers": lambda t: t.int(),
    "complex": lambda t: t.to(torch.complex64),
    "float8": lambda t: t.to(torch.float8_e4m3fn),
    "other image type": lambda t: t.float() if t.dtype is torch.bfloat16 else t.bfloat16(),
    "transposed": lambda t: t.transpose(0, -1),
    "channels-last": lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t,
    "every second": lambda t: torch.cat([t, t], -1)[..., ::2],
    "flipped": lambda t: t.flip(-1),
    "expanded": lambda t: t[..., :1].expand(t.shape),
    "overlapping": overlapping,
    "one more": lambda t: torch.cat([t, t[..., :1]], -1),
    "one less": lambda t: t[..., :-1],
    "empty": lambda t: t[..., :0],
    "flat": lambda t: t.flatten(),
    "one more dimension": lambda t: t[None],
    "scalar": lambda t: t.flatten()[0],
    "fake": fake,
    "meta": lambda t: t.to("meta"),
    "sparse": lambda t: t.to_sparse(),
    "conjugated lazily": lambda t: t.to(torch.complex64).conj(),
    "a leaf": lambda t: t.detach().requires_grad_(),
    "an array": lambda t: t.float().numpy(),
    "nothing": lambda _: None,
    "a list": lambda t: t.tolist(),
}


def complaint(values: dict[str, Any]) -> str | None:
    """What the binding said, or None when it ran."""
    try:
        core.scse_gate_forward(**values)
    except CLEAR as error:
        return str(error) or type(error).__name__
    return None


def formula(values: dict[str, Any]) -> Tensor:
    x, w1, b1, w2, b2, ws, bs = (values[name].detach().double() for name in INPUTS)
    channel = torch.sigmoid(torch.relu(x.mean((2, 3)) @ w1.T + b1) @ w2.T + b2)[:, :, None, None]
    spatial = torch.sigmoid(torch.einsum("nchw,c->nhw", x, ws) + bs)[:, None]
    return x * (channel + spatial if values["mode"] == 0 else torch.maximum(channel, spatial))


@settings(max_examples=400, deadline=None)
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 19), st.integers(1, 9), st.integers(1, 9)),
    reduced=st.integers(1, 5),
    mode=st.integers(0, 1),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    channels_last=st.booleans(),
    shift=st.integers(0, 3),
    twists=st.dictionaries(st.sampled_from(INPUTS + OUTPUTS), st.sampled_from(sorted(TWISTS)), max_size=2),
    seed=st.integers(0, 1000),
)
def test_any_argument_gives_an_error_or_the_result(
    size: tuple[int, int, int, int],
    reduced: int,
    mode: int,
    dtype: torch.dtype,
    channels_last: bool,
    shift: int,
    twists: dict[str, str],
    seed: int,
) -> None:
    n, c, h, w = size
    generator = torch.Generator().manual_seed(seed)
    shapes = {"x": size, "w1": (reduced, c), "b1": (reduced,), "w2": (c, reduced), "b2": (c,), "ws": (c,)}
    shapes |= {"bs": (1,), "y": size, "channel_gate": (n, c), "spatial_gate": (n, h * w), "pooled": (n, c)}
    placed: dict[str, Placed] = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if name in ("x", "y"):
            value = value.to(dtype)
            value = value.contiguous(memory_format=torch.channels_last) if channels_last else value
        placed[name] = place(value, shift)
    values: dict[str, Any] = {
        name: TWISTS[twists.get(name, "as it is")](placed[name].tensor) for name in shapes
    }
    values["mode"] = mode
    before = {name: placed[name].memory.clone() for name in INPUTS}
    said = complaint(values)
    if said is not None:
        assert twists, f"good arguments were refused: {said}"
    else:
        expected = formula(values)
        got = values["y"].detach().double()
        tolerance = 2e-2 if dtype is torch.bfloat16 else 1e-4
        torch.testing.assert_close(
            got, expected, rtol=tolerance, atol=tolerance, msg=lambda m: f"{twists}: {m}"
        )
    for name in INPUTS:
        assert torch.equal(placed[name].memory, before[name]), f"{name} was written"
    for name in OUTPUTS:
        memory = placed[name].memory
        assert bool((memory[: MARGIN + shift] == memory.new_tensor(CANARY)).all()), f"written before {name}"
        assert bool((memory[-MARGIN:] == memory.new_tensor(CANARY)).all()), f"written behind {name}"


@settings(max_examples=100, deadline=None)
@given(
    written=st.sampled_from(OUTPUTS),
    other=st.sampled_from(INPUTS + OUTPUTS),
    start=st.integers(-80, 80),
)
def test_results_that_share_memory_are_refused(written: str, other: str, start: int) -> None:
    """Any overlap, partial ones too, and never a refusal of tensors that lie side by side."""
    if written == other:
        return
    n, c, h, w, reduced = 2, 4, 3, 5, 2
    shapes = {
        "x": (n, c, h, w),
        "w1": (reduced, c),
        "b1": (reduced,),
        "w2": (c, reduced),
        "b2": (c,),
        "ws": (c,),
    }
    shapes |= {
        "bs": (1,),
        "y": (n, c, h, w),
        "channel_gate": (n, c),
        "spatial_gate": (n, h * w),
        "pooled": (n, c),
    }
    values: dict[str, Any] = {name: torch.zeros(shape) for name, shape in shapes.items()}
    memory = torch.zeros(1000)
    sizes = {name: values[name].numel() for name in (written, other)}
    first, second = 400, 400 + start
    values[written] = memory[first : first + sizes[written]].view(shapes[written])
    values[other] = memory[second : second + sizes[other]].view(shapes[other])
    overlap = first < second + sizes[other] and second < first + sizes[written]
    said = complaint({**values, "mode": 0})
    assert overlap == (said is not None), said
    assert said is None or "shares memory" in said
