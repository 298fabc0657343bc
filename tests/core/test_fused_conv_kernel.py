"""The native convolution for inference against PyTorch in float64, under every instruction set."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore import _native

core = _native.core()
ACTIVATIONS = ("none", "relu", "gate")


def available_isas() -> list[str]:
    compiled = core.info()["isa_compiled"]
    return compiled[: compiled.index(core.info()["isa_best"]) + 1]


def image(generator: torch.Generator, n: int, c: int, h: int, w: int, slice_of: int = 0) -> Tensor:
    """Channels-last; with `slice_of`, the middle channels of an image of NaN with that many more."""
    whole = torch.full((n, h, w, c + 2 * slice_of), torch.nan).permute(0, 3, 1, 2)
    x = whole[:, slice_of : slice_of + c]
    x.copy_(torch.randn(n, c, h, w, generator=generator))
    return x


def native(
    inputs: list[Tensor],
    w: Tensor,
    bias: Tensor,
    addends: list[Tensor],
    gate: Tensor,
    stride: int,
    dilation: int,
    activation: str,
    size: tuple[int, ...],
) -> Tensor:
    rows = w.permute(0, 2, 3, 1).reshape(len(w), -1).contiguous()
    packed = torch.full((core.fused_conv_weights_size(rows.shape[1], len(w)),), torch.nan)
    core.fused_conv_pack(rows, packed)
    y = torch.full(size, torch.nan).contiguous(memory_format=torch.channels_last)
    core.fused_conv_forward(
        inputs, packed, bias, addends, gate, w.shape[-1], stride, dilation, ACTIVATIONS.index(activation), y
    )
    return y


def formula(
    inputs: list[Tensor],
    w: Tensor,
    bias: Tensor,
    addends: list[Tensor],
    gate: Tensor,
    stride: int,
    dilation: int,
    activation: str,
) -> Tensor:
    x = torch.cat([t.double() for t in inputs], 1)
    pad = dilation * (w.shape[-1] // 2)
    y = F.conv2d(x, w.double(), bias.double() if bias.numel() else None, stride, pad, dilation)
    for addend in addends:
        y = y + F.interpolate(addend.double(), size=y.shape[-2:], mode="bilinear", align_corners=False)
    if activation == "relu":
        return y.relu()
    return torch.sigmoid(y) * gate.double() if activation == "gate" else y


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_size_against_float64(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    kernel, stride, dilation = data.draw(st.sampled_from([1, 1, 3, 5, 7])), draw(1, 3), draw(1, 3)
    n, h, w, out = draw(1, 2), draw(1, 20), draw(1, 60), draw(1, 70)
    channels = [draw(1, 40) for _ in range(draw(1, 3))]
    activation = data.draw(st.sampled_from(ACTIVATIONS))
    generator = torch.Generator().manual_seed(draw(0, 1000))
    inputs = [image(generator, n, c, h, w, slice_of=draw(0, 1) * 3) for c in channels]
    size = (n, out, -(-h // stride), -(-w // stride))
    addends = [
        image(generator, n, out, draw(1, 9), draw(1, 9), slice_of=draw(0, 2)) for _ in range(draw(0, 4))
    ]
    gate = image(generator, *size) if activation == "gate" else torch.empty(0)
    weight = torch.randn(out, sum(channels), kernel, kernel, generator=generator) / (
        sum(channels) ** 0.5 * kernel
    )
    bias = torch.randn(out, generator=generator) if draw(0, 1) else torch.empty(0)
    expected = formula(inputs, weight, bias, addends, gate, stride, dilation, activation)
    for isa in available_isas():
        core.set_isa(isa)
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(native(inputs, weight, bias, addends, gate, stride, dilation, activation, size))
        assert torch.equal(results[0], results[1])
        assert float((results[0].double() - expected).abs().max()) <= 1e-4


def test_nan_and_infinity_stay_where_they_belong() -> None:
    x = torch.ones(1, 5, 6, 7).contiguous(memory_format=torch.channels_last)
    x[0, 2, 3, 4], x[0, 1, 0, 0] = torch.nan, torch.inf
    w = torch.ones(3, 5, 3, 3)
    nothing = torch.empty(0)
    y = native([x], w, nothing, [], nothing, 1, 1, "relu", (1, 3, 6, 7))
    torch.testing.assert_close(y, F.conv2d(x, w, padding=1).relu(), equal_nan=True)


def test_empty_batch_and_errors() -> None:
    nothing, w = torch.empty(0), torch.ones(4, 3, 1, 1)
    assert (
        native([torch.empty(0, 3, 2, 2)], w, nothing, [], nothing, 1, 1, "none", (0, 4, 2, 2)).shape[0] == 0
    )
    x = torch.zeros(1, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    cases = [
        ([x], (1, 4, 3, 2), [], 1, "none", "height and width"),
        ([x, x[:, :, :1]], (1, 4, 2, 2), [], 1, "none", "differs"),
        ([torch.zeros(1, 3, 2, 2)], (1, 4, 2, 2), [], 1, "none", "channels-last"),
        ([x], (1, 4, 2, 2), [x], 1, "none", "channels of y"),
        ([x], (1, 4, 2, 2), [], 0, "none", "at least 1"),
        ([x], (1, 4, 2, 2), [], 1, "gate", "missing"),
        ([], (1, 4, 2, 2), [], 1, "none", "1 to 16 inputs"),
        ([x[:, :2]], (1, 4, 2, 2), [], 1, "none", "weights"),
    ]
    for inputs, size, addends, stride, activation, words in cases:
        with pytest.raises(ValueError, match=words):
            native(inputs, w, nothing, addends, nothing, stride, 1, activation, size)
    with pytest.raises(TypeError, match="float32"):
        native([x.double()], w, nothing, [], nothing, 1, 1, "none", (1, 4, 2, 2))
    y = torch.zeros(1, 8, 2, 2).contiguous(memory_format=torch.channels_last)
    packed = torch.zeros(core.fused_conv_weights_size(8, 8))
    with pytest.raises(ValueError, match="shares memory"):
        core.fused_conv_forward([y], packed, nothing, [], nothing, 1, 1, 1, 0, y)


def test_winograd_reads_a_slice_of_the_channels() -> None:
    generator = torch.Generator().manual_seed(0)
    for n, c, h, w in ((2, 9, 7, 6), (1, 16, 4, 1), (1, 20, 1, 9), (1, 33, 13, 18)):
        x = image(generator, n, c, h, w, slice_of=5)
        weight = torch.randn(12, c, 3, 3, generator=generator) / c**0.5
        for isa in available_isas():
            core.set_isa(isa)
            packed = torch.empty(core.winograd_weights_size(c, 12))
            core.winograd_transform(weight, False, packed)
            y = torch.full((n, 12, h, w), torch.nan).contiguous(memory_format=torch.channels_last)
            nothing = torch.empty(0)
            assert core.conv3x3_forward(x, packed, nothing, nothing, False, y)
            assert float((y - F.conv2d(x.double(), weight.double(), padding=1)).abs().max()) <= 1e-4


def test_fingerprint_sees_every_bit_shape_and_order() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = [(0,), (1,), (3,), (17, 5), (2, 3, 3, 3), (1000,)]
    tensors = [torch.randn(size, generator=generator) for size in sizes]
    before = core.fingerprint(tensors)
    assert core.fingerprint([t.clone() for t in tensors]) == before
    seen = {before}
    for t in tensors[1:]:
        flat = t.view(-1)
        bits = flat.view(torch.int32)
        for i in {0, flat.numel() // 2, flat.numel() - 1}:
            for bit in (0, 12, 30):
                bits[i] ^= 1 << bit
                seen.add(core.fingerprint(tensors))
                bits[i] ^= 1 << bit
        t.neg_()  # every sign at once
        seen.add(core.fingerprint(tensors))
        t.neg_()
    assert core.fingerprint(tensors) == before
    others = [
        tensors[::-1],
        [tensors[3].reshape(5, 17)],
        [tensors[3]],
        [tensors[3].t()],
        [tensors[3].t().contiguous()],
    ]
    seen |= {core.fingerprint(other) for other in others}
    assert len(seen) == 1 + sum(len({0, t.numel() // 2, t.numel() - 1}) * 3 + 1 for t in tensors[1:]) + len(
        others
    )
    with pytest.raises(ValueError, match="gaps"):
        core.fingerprint([tensors[5][::2]])
    with pytest.raises(TypeError, match="float32"):
        core.fingerprint([tensors[5].double()])


@pytest.mark.parametrize("size", [1, 700, 1024, 1025, 1536, 100_000])
def test_a_sampled_fingerprint_sees_whole_tensors_their_ends_and_their_address(size: int) -> None:
    tensor = torch.randn(size)
    before = core.fingerprint([tensor], True)
    assert core.fingerprint([tensor], True) == before
    assert core.fingerprint([tensor.clone()], True) != before
    for index in (0, size - 1):
        kept = float(tensor[index])
        tensor[index] += 1.0
        assert core.fingerprint([tensor], True) != before
        tensor[index] = kept
    for step in range(512, size, 512):  # a cache line in every 2 KiB
        kept = float(tensor[step])
        if step + 16 > size:
            break
        tensor[step] += 1.0
        assert core.fingerprint([tensor], True) != before
        tensor[step] = kept
    assert core.fingerprint([tensor], True) == before
