"""The Triton kernels: their meaning in the guarded interpreter, and their code for sm_80 on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from emulation import scse_gate_oracle as oracle

pytest.importorskip("triton", reason="triton is not installed")

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "check", sorted((HERE / "interpreted").glob("check_*.py")), ids=lambda path: path.stem
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


@pytest.mark.parametrize(
    ("rows", "width", "dtype", "masked"),
    [
        (70, 66, torch.float32, True),
        pytest.param(20, 130, torch.bfloat16, False, marks=pytest.mark.gpu_less),
        pytest.param(130, 65, torch.float16, True, marks=pytest.mark.gpu_less),
        pytest.param(30, 64, torch.float32, False, marks=pytest.mark.gpu_less),
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
