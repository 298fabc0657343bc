"""The CUDA scSE gate, run on the CPU, through the package's own Python, binding and checks."""

from __future__ import annotations

import itertools
from types import ModuleType

import pytest
import torch
from emulation import scse_gate_oracle as oracle
from hypothesis import HealthCheck, given, settings

from spinecore.backends import Call
from spinecore.ops import _scse_gate_cuda as implementation

LAYOUTS = [False, True]
ORDERS = ["forward", "reverse", "random:1", "random:2"]


@pytest.fixture(autouse=True)
def emulated(emulated_scse_gate: ModuleType, as_the_core: object, nan_memory: None) -> None:
    as_the_core(emulated_scse_gate)  # type: ignore[operator]


def check(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.forward, implementation.backward)


@given(case=oracle.cases())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_autograd_in_float64(case: oracle.Case) -> None:
    check(case)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("channels_last", LAYOUTS)
def test_no_schedule_changes_a_bit(channels_last: bool, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks, groups of chunks and samples; every order of threads and blocks."""
    case = oracle.make_case((2, 20, 46, 30), 5, "max", channels_last)
    first = oracle.results(case, implementation.forward, implementation.backward)
    monkeypatch.setenv("EMULATION_ORDER", order)
    check(case)
    second = oracle.results(case, implementation.forward, implementation.backward)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    "shape",
    [
        (1, 257, 5, 5),
        (1, 300, 10, 12),
        (1, 1024, 3, 5),
        (2, 256, 9, 4),
        (1, 64, 40, 48),
        (1, 3, 1, 700),
        (1, 8, 1, 1),
    ],
)
@pytest.mark.parametrize("dtype", oracle.DTYPES)
def test_every_path_of_the_kernels(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Channels that fill one, two and all registers; aligned and unaligned rows; one and many chunks."""
    for mode, channels_last in itertools.product(oracle.MODES, LAYOUTS):
        layout = "channels_last" if channels_last else "contiguous"
        if implementation.can_run(Call("scse_gate", "cuda", dtype, shape, layout, (mode, 6))).ok:
            check(oracle.make_case(shape, 6, mode, channels_last, dtype))


@pytest.mark.parametrize("channels_last", LAYOUTS)
def test_a_slice_that_starts_off_sixteen_bytes(channels_last: bool) -> None:
    case = oracle.make_case((2, 8, 6, 6), 3, channels_last=channels_last)
    buffer = torch.empty(case.x.numel() + 1)[1:]
    off = buffer.as_strided(case.x.shape, case.x.stride()).copy_(case.x)
    assert off.data_ptr() % 16
    check(case._replace(x=off))


@pytest.mark.parametrize("channels_last", LAYOUTS)
def test_results_keep_the_layout(channels_last: bool) -> None:
    case = oracle.make_case((2, 5, 4, 6), 2, channels_last=channels_last)
    results = oracle.results(case, implementation.forward, implementation.backward)
    assert oracle.same_layout(case, results[0])
    assert oracle.same_layout(case, results[4])


@pytest.mark.parametrize("channels_last", LAYOUTS)
def test_equal_gates_share_the_gradient_as_torch_maximum_does(channels_last: bool) -> None:
    case = oracle.make_case((2, 5, 4, 4), 2, "max", channels_last)
    for index in (2, 3, 4, 5):  # w2, b2, ws, bs = 0: both gates are exactly one half
        case.parameters[index].zero_()
    case.dy.copy_(torch.ones_like(case.dy))
    check(case)


@pytest.mark.parametrize("index", [3, 5])
def test_a_nan_gate_gives_nan_in_max_mode(index: int) -> None:
    case = oracle.make_case((1, 4, 3, 3), 2, "max")
    case.parameters[index].fill_(torch.nan)  # of the channel gate, then of the spatial one
    assert implementation.forward(case.x, *case.parameters, case.mode)[0].isnan().all()


def test_what_the_kernel_does_not_take_is_refused_with_a_reason() -> None:
    def verdict(dtype: torch.dtype, shape: tuple[int, ...], layout: str, hidden: int) -> str:
        answer = implementation.can_run(Call("scse_gate", "cuda", dtype, shape, layout, ("add", hidden)))
        assert not answer.ok
        return answer.reason

    assert "not float64" in verdict(torch.float64, (1, 2, 3, 4), "contiguous", 1)
    assert "1025 channels" in verdict(torch.float32, (1, 1025, 3, 4), "contiguous", 1)
    assert "hidden width of 513" in verdict(torch.float32, (1, 2, 3, 4), "contiguous", 513)
    assert "no elements" in verdict(torch.float32, (0, 2, 3, 4), "contiguous", 1)
    assert "no multiple of 8" in verdict(torch.float16, (1, 260, 3, 4), "channels_last", 1)
    assert "2^31" in verdict(torch.float32, (1, 2, 2**15, 2**15), "contiguous", 1)


def test_the_binding_refuses_what_the_kernel_does_not_take(emulated_scse_gate: ModuleType) -> None:
    case = oracle.make_case((1, 8, 4, 4), 2)
    gate, spatial = torch.empty(1, 8), torch.empty(1, 16)

    def call(**changes: object) -> None:
        names = ("x", "w1", "b1", "w2", "b2", "ws", "bs")
        given = dict(zip(names, (case.x, *case.parameters), strict=True))
        given |= {"mode": 0, "y": torch.empty_like(case.x), "channel_gate": gate, "spatial_gate": spatial}
        given |= {"pooled": torch.empty(1, 8), "workspace": torch.empty(4096), "stream": 0}
        emulated_scse_gate.cuda_scse_gate_forward(**(given | changes))

    call()
    for changes, error, words in (
        ({"x": case.x.double()}, TypeError, "'x' is torch.float64"),
        ({"y": case.x}, ValueError, "'y' is written and shares memory with 'x'"),
        ({"y": torch.empty_like(case.x, dtype=torch.bfloat16)}, TypeError, "'y' is bfloat16"),
        ({"w1": torch.empty(2, 7)}, ValueError, r"'w1' has shape \(2, 7\), expected \(2, 8\)"),
        ({"w1": torch.empty(16)}, ValueError, "'w1' is not a matrix"),
        ({"bs": torch.empty(2)}, ValueError, "'bs' has shape"),
        ({"mode": 2}, ValueError, "mode is 2"),
        ({"workspace": torch.empty(7)}, ValueError, "'workspace' has 7 elements"),
        ({"workspace": torch.empty(4097)[1:]}, ValueError, "'workspace' is not aligned"),
        ({"x": torch.empty(0, 8, 4, 4), "y": torch.empty(0, 8, 4, 4)}, ValueError, "N = 0"),
        (
            {"y": torch.empty(1, 8, 4, 4).contiguous(memory_format=torch.channels_last)},
            ValueError,
            "same memory format",
        ),
    ):
        with pytest.raises(error, match=words):  # type: ignore[call-overload]
            call(**changes)


def test_a_refused_launch_names_operator_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case((2, 8, 4, 3), 2, dtype=torch.float16)
    monkeypatch.setenv("EMULATION_REFUSES_LAUNCHES", "1")
    with pytest.raises(RuntimeError, match=r"scse_gate_forward.*= 2, 8, 12 \(float16.*InvalidConfiguration"):
        implementation.forward(case.x, *case.parameters, case.mode)
