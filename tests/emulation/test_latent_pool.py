"""The CUDA latent attention pooling, run on the CPU, through the package's own Python, binding and checks."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from emulation import latent_oracle as oracle
from emulation import ptx, sources
from hypothesis import HealthCheck, given, settings

from spinecore.ops import _latent_pool_cuda as implementation


@pytest.fixture(scope="module", params=["source", pytest.param("ptx", marks=pytest.mark.gpu_less)])
def module(request: pytest.FixtureRequest) -> ModuleType:
    """The sources compiled for the CPU, or all that nvcc makes of them, translated."""
    if request.param == "source":
        return sources.operator_module("latent_pool", "emulated_latent_pool")
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    return ptx.operator_module("latent_pool", "ptx_latent_pool", ())


@pytest.fixture(autouse=True)
def emulated(module: ModuleType, as_the_core: object, nan_memory: None) -> None:
    as_the_core(module)  # type: ignore[operator]


def check(case: oracle.Case) -> None:
    oracle.assert_close(case, implementation.forward, implementation.backward)


@given(case=oracle.cases())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_matches_the_formulas_in_float64(case: oracle.Case) -> None:
    check(case)


# (B, N, d), latents, heads: many tokens and splits, several tiles of queries and channels, one of everything.
SHAPES = [((1, 700, 16), 6, 2), ((2, 130, 36), 20, 4), ((1, 65, 20), 33, 4)]
SHAPES += [((3, 1, 1), 1, 1), ((2, 9, 3), 2, 5)]


@pytest.mark.parametrize("dtype", oracle.DTYPES)
@pytest.mark.parametrize(("shape", "rows", "heads"), SHAPES)
def test_every_path_of_the_kernels(
    shape: tuple[int, int, int], rows: int, heads: int, dtype: torch.dtype
) -> None:
    for masked, bias in ((False, 0), (True, 3)):
        check(oracle.make_case(shape, rows, heads, dtype, masked, bias))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("shape", "rows", "heads"), [((2, 200, 16), 8, 4), ((4, 64, 9), 5, 3)])
def test_halves_err_no_more_than_twice_what_torch_does(
    shape: tuple[int, int, int], rows: int, heads: int, dtype: torch.dtype
) -> None:
    case = oracle.make_case(shape, rows, heads, dtype)
    wanted, got = oracle.expected(case), oracle.results(case, implementation.forward, implementation.backward)
    named = dict(zip(oracle.NAMES, zip(got, wanted, strict=True), strict=True))
    compared = [name for name in oracle.NAMES if name not in ("norms", "pooled", "d_bias")]
    for name, theirs in zip(compared, oracle.by_torch(case), strict=True):
        ours, want = named[name]
        assert (ours - want).abs().max() <= 2 * (theirs - want).abs().max(), name


def test_tf32_where_torch_allows_it_and_only_there(tf32_allowed: None) -> None:
    """Then float32 has tf32's 10 bits; without it the other tests hold it to float32's."""
    case = oracle.make_case((2, 200, 16), 8, 4)
    wanted, got = oracle.expected(case), oracle.results(case, implementation.forward, implementation.backward)
    for name, ours, want in zip(oracle.NAMES, got, wanted, strict=True):
        if name in ("y", "dx", "d_latents", "d_wk", "d_wv"):
            assert 5e-6 < (ours - want).abs().max() / want.abs().max() < 1e-2, name


@pytest.mark.parametrize("order", ["reverse", "random:1"])
def test_no_schedule_changes_a_bit(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case((2, 300, 20), 5, 4, masked=True)
    runs = (implementation.forward, implementation.backward)
    first = oracle.results(case, *runs)
    monkeypatch.setenv("EMULATION_ORDER", order)
    second = oracle.results(case, *runs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_token_that_is_not_a_number_is_seen() -> None:
    """NaN in a token that counts reaches every result, also where it is the only token."""
    for tokens in (1, 70):
        case = oracle.make_case((1, tokens, 8), 3, 2)
        case.x[0, -1] = float("nan")
        y, norms, *_ = implementation.forward(case.x, *case.parameters, 2, None, None, False)
        assert bool(y.isnan().all())
        assert bool(norms[1].isnan().all())


def test_wrong_arguments_are_refused(module: ModuleType) -> None:
    given = {
        "x": torch.ones(2, 5, 4),
        "queries": torch.ones(6, 4),
        "mask": torch.empty(0),
        "bias": torch.empty(0),
    }
    given |= {"scores": torch.empty(2, 5, 6), "norms": torch.empty(2, 2, 6), "means": torch.empty(2, 6, 4)}
    given["workspace"] = torch.empty(5000)

    def call(rows: int = 3, **changes: torch.Tensor) -> None:
        module.cuda_latent_pool_forward(**(given | changes), rows=rows, tf32=False, stream=0)

    call()
    with pytest.raises(ValueError, match="6 queries of 4 latents"):
        call(rows=4)
    for changes, words in (
        ({"queries": torch.ones(6, 5)}, "'queries'"),
        ({"mask": torch.ones(2, 4)}, "'mask'"),
        ({"bias": torch.ones(3, 3, 5)}, "'bias'"),
        ({"scores": torch.empty(2, 6, 5)}, "'scores'"),
        ({"workspace": torch.empty(7)}, "'workspace' has 7 elements"),
    ):
        with pytest.raises(ValueError, match=words):
            call(**changes)


def test_a_refused_launch_names_operator_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    case = oracle.make_case((2, 6, 4), 3, 2, torch.float16)
    monkeypatch.setenv("EMULATION_REFUSES_LAUNCHES", "1")
    with pytest.raises(RuntimeError, match=r"latent_pool_forward.*= 2, 6, 8 \(float16, 6 q.*InvalidConf"):
        implementation.forward(case.x, *case.parameters, 2, None, None, False)
