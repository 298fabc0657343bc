"""The CUDA recurrence that does all steps of a tile in one kernel, run on the CPU, through the package's own
Python, binding and checks.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pytest
import torch
from emulation import conv_oracle as oracle
from emulation import ptx, sources
from hypothesis import HealthCheck, given, settings

from spinecore.ops import _device
from spinecore.ops import _recurrent_residual_conv_cuda as implementation

OPERATOR = "recurrent_residual_conv"
FORMS = ["source", *(pytest.param(arch, marks=pytest.mark.gpu_less) for arch in (75, 80))]


@pytest.fixture(scope="module", params=FORMS)
def module(request: pytest.FixtureRequest) -> ModuleType:
    """The sources compiled for the CPU, or all that nvcc makes of them, translated."""
    if request.param == "source":
        return sources.operator_module(OPERATOR, "emulated_recurrence")
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    return ptx.operator_module(OPERATOR, f"ptx_recurrence_{request.param}", (), request.param)


@pytest.fixture(scope="module")
def has_bfloat16(module: ModuleType) -> bool:
    return not module.__name__.endswith("75")


@pytest.fixture(autouse=True)
def emulated(module: ModuleType, as_the_core: object, nan_memory: None) -> None:
    """With the convolution beside it, for what goes step by step."""
    steps = vars(sources.operator_module("conv3x3", "emulated_conv3x3"))
    as_the_core(SimpleNamespace(**steps | vars(module)))  # type: ignore[operator]


def check(case: oracle.Recurrence) -> None:
    oracle.assert_forward_close(case, implementation.run_fused)


@given(case=oracle.recurrences(implementation.FUSED_STEPS))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Recurrence, has_bfloat16: bool) -> None:
    if has_bfloat16 or case.dtype is not torch.bfloat16:
        check(case)


# Several tiles both ways, each number of channels that the kernel is made for, one of everything.
@pytest.mark.parametrize("dtype", oracle.DTYPES)
@pytest.mark.parametrize("shape", [(2, 16, 25, 13), (1, 32, 14, 30), (1, 64, 9, 13), (1, 1, 1, 1)])
def test_every_path_of_the_kernel(
    shape: tuple[int, int, int, int], dtype: torch.dtype, has_bfloat16: bool
) -> None:
    if dtype is torch.bfloat16 and not has_bfloat16:
        return
    channels = min(shape[1], 128 // dtype.itemsize)
    shape = (shape[0], channels, *shape[2:])
    case = oracle.make_recurrence(shape, dtype)
    for each in (case, case._replace(w_rec=case.w_in), oracle.make_recurrence(shape, dtype, 1, False)):
        check(each)


def test_a_nan_reaches_its_neighbours_and_nothing_else() -> None:
    case = oracle.make_recurrence((1, 8, 30, 30), torch.float32)
    case.x[0, 3, 15, 4] = float("nan")
    y = implementation.run_fused(*case.arguments())
    reached = y.isnan().any(1)[0]
    assert reached[15, 4]
    assert set(reached.nonzero()[:, 0].tolist()) == set(range(12, 19))
    assert set(reached.nonzero()[:, 1].tolist()) == set(range(1, 8))


@pytest.mark.parametrize("order", ["reverse", "random:1"])
def test_no_schedule_changes_a_bit(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_recurrence((2, 20, 20, 15), torch.float16)
    first = implementation.run_fused(*case.arguments())
    monkeypatch.setenv("EMULATION_ORDER", order)
    assert torch.equal(first, implementation.run_fused(*case.arguments()))


def launches(monkeypatch: pytest.MonkeyPatch, case: oracle.Recurrence) -> bool:
    """Whether the operator's kernel took the fused way."""
    taken = []
    run = implementation.run_fused
    monkeypatch.setattr(implementation, "run_fused", lambda *a: (taken.append(1), run(*a))[1])
    oracle.assert_forward_close(case, implementation.FORWARD.run)
    return bool(taken)


@given(case=oracle.recurrences((0, 1, 2, 3), most_channels=70, most_side=4))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_operator_takes_either_way(case: oracle.Recurrence, has_bfloat16: bool) -> None:
    with pytest.MonkeyPatch.context() as patched:
        if not has_bfloat16:
            patched.setattr(_device, "capability", lambda _x: (7, 5))
        fits = case.x.shape[1] * case.x.element_size() <= 128 and case.steps in (1, 2)
        multiplies = has_bfloat16 or case.x.dtype is not torch.bfloat16
        assert launches(patched, case) == (fits and multiplies)


def test_tf32_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(1, 16, 3, 3)
    assert implementation.fused(x, 2)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert not implementation.fused(x, 2)


def test_wrong_arguments_are_refused(module: ModuleType) -> None:
    image = torch.ones(2, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    weights, row = torch.ones(9 * 16 * 16), torch.ones(1, 4)
    given = {"x": image, "w_in": weights, "w_rec": weights, "scale": row, "shift": row, "steps": 2}
    given["y"] = torch.empty_like(image)

    def call(**changes: object) -> None:
        module.cuda_recurrent_residual_conv_forward(**(given | changes), residual=True, stream=0)

    call()
    call(scale=torch.ones(3, 4))
    wide = torch.ones(1, 33, 2, 2).contiguous(memory_format=torch.channels_last)
    for changes, error, words in (
        ({"x": image.contiguous()}, ValueError, "'x' is not channels-last"),
        ({"x": wide}, ValueError, "33 channels, 2 steps: no fused kernel"),
        ({"steps": 3}, ValueError, "3 steps: no fused kernel"),
        ({"w_in": weights[1:]}, ValueError, "'w_in'"),
        ({"w_rec": weights.half()}, TypeError, "'w_rec' is not of the dtype of 'x'"),
        ({"w_rec": torch.ones(9 * 16 * 16 + 1)[1:]}, ValueError, "aligned to 16 bytes"),
        ({"scale": torch.ones(2, 4)}, ValueError, "'scale'"),
        ({"shift": torch.ones(4)}, ValueError, "'shift'"),
        ({"y": image[:1]}, ValueError, "'y'"),
        ({"y": image}, ValueError, "share"),
    ):
        with pytest.raises(error, match=words):
            call(**changes)


def test_a_refused_launch_names_operator_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_recurrence((2, 4, 5, 3), torch.float16)
    monkeypatch.setenv("EMULATION_REFUSES_LAUNCHES", "1")
    with pytest.raises(
        RuntimeError, match=r"recurrent_residual_conv_forward.*= 2, 4, 5, 3 and 2 steps.*float16"
    ):
        implementation.run_fused(*case.arguments())
