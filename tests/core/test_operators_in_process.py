"""What the native kernels of every operator do to the process they run in, and its threads to them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from spinecore import backends
from spinecore.ops import OPS, OpSpec
from spinecore.testing import outputs_and_gradients, runnable_backends

NATIVE = [pytest.param(spec, id=name) for name, spec in OPS.items() if name in backends.CPU.kernels]

RUN_EVERY_OPERATOR = """
import ctypes, ctypes.util, re
def mxcsr():
    environment = (ctypes.c_uint32 * 8)()  # fenv_t of glibc on x86-64: 28 bytes of x87, then MXCSR
    ctypes.CDLL(ctypes.util.find_library("m")).fegetenv(environment)
    return environment[7] & ~0x3F  # without the sticky exception flags
from spinecore import backends
from spinecore.ops import OPS
from spinecore.testing import outputs_and_gradients, runnable_backends
torch.set_num_threads(2)
torch.ones(300, 300) @ torch.ones(300, 300)
before, ran = mxcsr(), 0
for name in backends.CPU.kernels.keys() & OPS.keys():
    spec = OPS[name]
    for sample in spec.samples(torch.float32, 0):
        if "cpu" in runnable_backends(spec, sample.args):
            rest = [a.default_value for a in spec.overload._schema.arguments[len(sample.args) : -1]]
            outputs_and_gradients(lambda *a: spec.overload(*a, "cpu"), [*sample.args, *rest])
            assert mxcsr() == before, name
            ran += 1
maps = open("/proc/self/maps").read().splitlines()
print(ran > 0, len({line.split()[-1] for line in maps if re.search("gomp|iomp|libomp", line)}))
"""


@pytest.fixture(autouse=True)
def keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="only on Linux on x86-64"
)
@pytest.mark.parametrize("first", ["import torch, spinecore._core", "import spinecore._core, torch"])
def test_no_second_openmp_runtime_and_the_same_floating_point_mode(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", first + RUN_EVERY_OPERATOR],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stdout.split() == ["True", "1"], done.stderr


@pytest.mark.parametrize("spec", NATIVE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_the_same_bits_for_one_and_two_threads(spec: OpSpec, dtype: torch.dtype) -> None:
    for sample in spec.samples(dtype, 7):
        if "cpu" not in runnable_backends(spec, sample.args):
            continue
        rest = [argument.default_value for argument in spec.overload._schema.arguments[len(sample.args) : -1]]
        results = []
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            outputs, gradients = outputs_and_gradients(
                lambda *a: spec.overload(*a, "cpu"), [*sample.args, *rest]
            )
            results.append([*outputs, *gradients])
        for other in results[1:]:
            for got, want in zip(other, results[0], strict=True):
                assert torch.equal(got, want), sample.label


def test_scse_gate_of_more_than_two_gibibytes() -> None:
    """Offsets beyond 2^31 bytes: zeros but for three pixels, the first, one at 2^31 bytes, and the last."""
    channels, hidden, side = 16, 2, 8256
    x = torch.zeros(1, side, side, channels, dtype=torch.bfloat16).permute(0, 3, 1, 2)
    assert x.numel() * 2 > 2**31
    generator = torch.Generator().manual_seed(0)
    places = [(0, 0), (8190, 127), (side - 1, side - 1)]
    values = torch.randn(3, channels, generator=generator).bfloat16()
    for (row, column), value in zip(places, values, strict=True):
        x[0, :, row, column] = value
    w1, w2 = (
        torch.randn(hidden, channels, generator=generator),
        torch.randn(channels, hidden, generator=generator),
    )
    b1, b2, ws = (torch.randn(size, generator=generator) for size in (hidden, channels, channels))
    arguments = (x, w1, b1, w2, b2, ws, None, "add", "cpu")

    y, channel, spatial, pooled = OPS["scse_gate"].overload(*arguments)
    pixels, wide = side * side, values.double()
    mean = wide.sum(0) / pixels
    before = w1.double() @ mean + b1
    gate = torch.sigmoid(w2.double() @ before.relu() + b2)
    point = torch.sigmoid(wide @ ws.double())[:, None]
    for (row, column), want in zip(places, wide * (gate + point), strict=True):
        torch.testing.assert_close(y[0, :, row, column].double(), want, rtol=1e-2, atol=1e-6)
    assert not y[0, :, 8200:, :200].any()
    del y

    dx = OPS["scse_gate"].backward_overload(x, x, *arguments[1:6], channel, spatial, pooled, "add", "cpu")[0]
    d_excite = (wide * wide).sum(0) * gate * (1 - gate)
    d_mean = ((d_excite @ w2.double()) * (before > 0)) @ w1.double() / pixels
    d_score = (wide * wide).sum(1, keepdim=True) * point * (1 - point)
    wanted = wide * (gate + point) + d_score * ws.double() + d_mean
    for (row, column), want in zip(places, wanted, strict=True):
        torch.testing.assert_close(dx[0, :, row, column].double(), want, rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(dx[0, :, 8200, 200].double(), d_mean, rtol=1e-2, atol=1e-12)
