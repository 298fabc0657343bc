"""The CUDA 3x3 convolutions, run on the CPU, through the package's own Python, binding and checks."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from emulation import conv_oracle as oracle
from emulation import ptx, sources
from hypothesis import HealthCheck, given, settings

from spinecore.ops import _conv3x3_cuda as implementation
from spinecore.ops import _conv3x3_gpu

FORMS = ["source", *(pytest.param(arch, marks=pytest.mark.gpu_less) for arch in (75, 80))]


@pytest.fixture(scope="module", params=FORMS)
def module(request: pytest.FixtureRequest) -> ModuleType:
    """The sources compiled for the CPU, or all that nvcc makes of them, translated: sm_75 has no bfloat16 on
    tensor cores and no asynchronous copies.
    """
    if request.param == "source":
        return sources.operator_module("conv3x3", "emulated_conv3x3")
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    return ptx.operator_module("conv3x3", f"ptx_conv3x3_{request.param}", (), request.param)


@pytest.fixture(autouse=True)
def emulated(module: ModuleType, as_the_core: object, nan_memory: None) -> None:
    as_the_core(module)  # type: ignore[operator]


def check(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.FORWARD.run, implementation.BACKWARD.run)


@given(case=oracle.cases())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Case) -> None:
    check(case)


# Many pixels and splits, several tiles of channels, eights and tiles that end early, one of everything.
@pytest.mark.parametrize("dtype", oracle.DTYPES)
@pytest.mark.parametrize(
    ("shape", "out"),
    [
        ((2, 16, 24, 20), 24),
        ((1, 72, 5, 7), 130),
        ((1, 8, 11, 12), 72),
        ((1, 40, 18, 33), 72),
        ((1, 1, 1, 1), 1),
        ((1, 5, 1, 40), 3),
    ],
)
def test_every_path_of_the_kernels(shape: tuple[int, int, int, int], out: int, dtype: torch.dtype) -> None:
    for activation, extras in (("relu", True), ("none", False)):
        check(oracle.make_case(shape, out, dtype, activation, extras, channels_last=extras))


@pytest.mark.parametrize("dtype", oracle.DTYPES)
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("bn", [False, True])
def test_the_recurrences(bn: bool, steps: int, dtype: torch.dtype) -> None:
    """Step by step, whatever their width."""
    form = _conv3x3_gpu.recurrent_bn if bn else _conv3x3_gpu.recurrent
    kernels = form(implementation.CONVOLUTION)
    oracle.assert_recurrence_close((2, 12, 9, 11), dtype, steps, bn, kernels)


def test_tf32_where_torch_allows_it_and_only_there(
    tf32_allowed: None, request: pytest.FixtureRequest
) -> None:
    """Then float32 has tf32's 10 bits; without it, and on sm_75, the other tests hold it to float32's."""
    case = oracle.make_case((1, 32, 8, 8), 32, activation="none", extras=False)
    y = implementation.FORWARD.run(case.x, case.w, None, "none", None)
    want = torch.nn.functional.conv2d(case.x.double(), case.w.double(), padding=1)
    error = float((y.double() - want).abs().max() / want.abs().max())
    if request.node.callspec.params["module"] == 75:
        assert error < 2e-6
    else:
        assert 2e-6 < error < 2e-3


@pytest.mark.gpu_less
def test_which_instructions_multiply_the_halves() -> None:
    """As they are, in bfloat16 and float16, copied asynchronously from sm_80 on."""
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    old, new = (ptx.emitted("conv3x3", arch).read_text() for arch in (75, 80))
    assert "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32" in old
    assert "bf16.bf16" not in old
    assert "cp.async" not in old
    for kind in ("bf16", "f16"):
        assert f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32" in new
    assert "cp.async.cg.shared.global" in new
    assert all("ldmatrix" in text for text in (old, new))


@pytest.mark.parametrize("order", ["reverse", "random:1"])
def test_no_schedule_changes_a_bit(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case((2, 20, 20, 15), 24, torch.bfloat16)

    def run() -> list[torch.Tensor]:
        y = implementation.FORWARD.run(*case[:1], *case[2:])
        return [y, *implementation.BACKWARD.run(case.x, case.dy, case.w, y, True, True)]

    first = run()
    monkeypatch.setenv("EMULATION_ORDER", order)
    assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


def test_wrong_arguments_are_refused(module: ModuleType) -> None:
    image = torch.ones(2, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    none = torch.empty(0)
    given = dict.fromkeys(("scale", "shift", "addend", "before", "after", "raw"), none)
    given |= {"x": image, "w": torch.ones(4, 9, 4), "y": torch.empty_like(image)}

    def call(**changes: torch.Tensor) -> None:
        module.cuda_conv3x3_forward(**(given | changes), relu=False, tf32=False, stream=0)

    call()
    for changes, error, words in (
        ({"x": image.contiguous()}, ValueError, "'x' is not channels-last"),
        ({"w": torch.ones(4, 9, 5)}, ValueError, "'w'"),
        ({"w": torch.ones(4, 9, 4).half()}, TypeError, "'w' is not of the dtype of 'x'"),
        ({"shift": torch.ones(5)}, ValueError, "'shift'"),
        ({"addend": image[:1]}, ValueError, "'addend' has not the shape"),
        ({"y": none}, ValueError, "'y'"),
        ({"y": image}, ValueError, "share"),
    ):
        with pytest.raises(error, match=words):
            call(**changes)


def test_a_refused_launch_names_operator_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case((2, 4, 5, 3), 6, torch.float16)
    monkeypatch.setenv("EMULATION_REFUSES_LAUNCHES", "1")
    with pytest.raises(RuntimeError, match=r"conv3x3_forward.*= 2, 4, 5, 3 and 6 channels.*float16"):
        implementation.FORWARD.run(case.x, case.w, None, "none", None)
