"""The Triton kernels: their meaning in the guarded interpreter, and their code for sm_80 on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from emulation import scse_gate_oracle as oracle

pytest.importorskip("triton", reason="triton is not installed")

HERE = Path(__file__).parent


INTERPRETED_QUICKLY = ("check_covariance", "check_scse_gate")


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(
            path,
            id=path.stem,
            marks=() if path.stem in INTERPRETED_QUICKLY else pytest.mark.gpu_less,
        )
        for path in sorted((HERE / "interpreted").glob("check_*.py"))
    ],
)
def test_in_the_guarded_interpreter(check: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(HERE.parents[1]),
    ]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [*command, str(check)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "passed" in done.stdout


QUICK = [((2, 20, 9, 12), False, torch.float32, "max"), ((1, 24, 7, 9), True, torch.bfloat16, "add")]
MORE = [
    ((1, 3, 5, 7), False, torch.float16, "add"),
    ((2, 64, 20, 16), True, torch.float32, "max"),
    ((1, 1, 1, 1), False, torch.float32, "add"),
    ((1, 300, 6, 6), False, torch.bfloat16, "max"),
    ((1, 512, 5, 5), True, torch.float16, "max"),
]


@pytest.mark.parametrize(
    ("shape", "channels_last", "dtype", "mode"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.gpu_less) for case in MORE)],
)
def test_what_triton_compiles_for_sm_80(
    shape: tuple[int, ...],
    channels_last: bool,
    dtype: torch.dtype,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
    nan_memory: None,
) -> None:
    from emulation import triton_ptx

    from spinecore.kernels import _launch
    from spinecore.kernels import scse_gate as kernels

    monkeypatch.setattr(_launch, "launch", triton_ptx.launch)

    def backward(x: torch.Tensor, dy: torch.Tensor, *rest: object) -> tuple[torch.Tensor, ...]:
        w1, b1, w2, _b2, *others = rest
        return kernels.backward(x, dy, w1, b1, w2, *others)

    oracle.assert_close(oracle.make_case(shape, 6, mode, channels_last, dtype), kernels.forward, backward)


@pytest.mark.gpu_less
@pytest.mark.parametrize(
    ("rows", "width", "dtype", "masked"),
    [
        (70, 66, torch.float32, True),
        (20, 130, torch.bfloat16, False),
        (130, 65, torch.float16, True),
        (30, 64, torch.float32, False),
    ],
)
def test_the_covariance_penalty_for_sm_80(
    rows: int,
    width: int,
    dtype: torch.dtype,
    masked: bool,
    monkeypatch: pytest.MonkeyPatch,
    nan_memory: None,
) -> None:
    from emulation import covariance_oracle, triton_ptx

    from spinecore.kernels import _launch
    from spinecore.kernels import covariance_decorrelation as kernels

    def weights(mask: torch.Tensor | None) -> torch.Tensor | None:
        return None if mask is None else mask.float()

    monkeypatch.setattr(_launch, "launch", triton_ptx.launch)
    covariance_oracle.assert_close(
        covariance_oracle.make_case(rows, width, dtype, masked, mean=1.0),
        lambda z, mask, *rest: kernels.forward(z, weights(mask), *rest),
        lambda z, mask, *rest: kernels.backward(z, weights(mask), *rest),
    )


@pytest.mark.gpu_less
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_convolution_for_sm_80(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, nan_memory: None
) -> None:
    """Half precision on tensor cores, in tf32, in which it is exact."""
    from contextlib import nullcontext

    from emulation import conv_oracle, triton_ptx

    from spinecore.kernels import _launch
    from spinecore.kernels import conv3x3 as kernels
    from spinecore.ops import _conv3x3_triton, _device

    class Directly:
        conv3x3_triton = staticmethod(kernels.run)
        conv3x3_triton_weights = staticmethod(kernels.weights)

    emitted: list[str] = []

    def launch(kernel: Any, grid: Any, arguments: Any, constants: Any, warps: int) -> None:
        emitted.append(triton_ptx.compiled(kernel, arguments, constants, warps, 80).ptx)
        triton_ptx.launch(kernel, grid, arguments, constants, warps)

    monkeypatch.setattr(_launch, "launch", launch)
    monkeypatch.setattr(_launch, "architecture_of", lambda _x: 80)
    monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(0))
    monkeypatch.setattr(_conv3x3_triton, "_kernels", lambda: Directly)
    case = conv_oracle.make_case((1, 12, 9, 8), 20, dtype)
    conv_oracle.assert_close(case, _conv3x3_triton.FORWARD.run, _conv3x3_triton.BACKWARD.run)
    assert all(("mma.sync" in ptx) == (dtype is not torch.float32) for ptx in emitted)


@pytest.mark.gpu_less
def test_the_latent_pool_for_sm_80(monkeypatch: pytest.MonkeyPatch, nan_memory: None) -> None:
    from contextlib import nullcontext

    from emulation import latent_oracle, triton_ptx

    from spinecore.kernels import _launch
    from spinecore.kernels import latent_pool as kernels
    from spinecore.ops import _device, _latent_pool_triton

    class Directly:
        latent_pool_triton = staticmethod(kernels.attend)
        latent_pool_triton_backward = staticmethod(kernels.differentiate)

    monkeypatch.setattr(_launch, "launch", triton_ptx.launch)
    monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(0))
    monkeypatch.setattr(_latent_pool_triton, "_kernels", lambda: Directly)
    for dtype in (torch.float32, torch.bfloat16):
        case = latent_oracle.make_case((2, 70, 9), 20, 4, dtype, masked=True, bias=2)
        latent_oracle.assert_close(case, _latent_pool_triton.forward, _latent_pool_triton.backward)
