"""The native latent dictionary pooling against its reference in float64, under every instruction set this
machine runs. A dictionary with heads * R < D + R takes the absorbed algorithm, a larger one the projected.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore import _native, ops
from spinecore.testing import check_against_formula, outputs_and_gradients

ISAS = ("baseline", "avx2", "avx512")
core = _native.core()
THREADS = 1


def available_isas() -> list[str]:
    compiled = core.info()["isa_compiled"]
    return compiled[: compiled.index(core.info()["isa_best"]) + 1]


def require_isa(isa: str) -> None:
    if isa not in available_isas():
        pytest.skip(f"this machine does not run {isa}")
    core.set_isa(isa)


def make_arguments(
    shape: tuple[int, int, int, int],
    heads: int,
    mask: str = "none",
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> list[Any]:
    """shape: B, N, D, R. mask: none, some, or empty (one sample without tokens)."""
    generator = torch.Generator().manual_seed(seed)
    batch, tokens, width, rows = shape

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    keep = None
    if mask != "none":
        keep = torch.rand((batch, tokens), generator=generator) > 0.4
        keep[:, tokens // 2] = True
        if mask == "empty":
            keep[-1] = False
    floats = [
        draw(batch, tokens, width),
        draw(rows, width),
        *(draw(width, width) / width**0.5 for _ in range(4)),
    ]
    return [*(t.to(dtype) for t in floats), heads, keep]


def reference(*args: Any) -> Tensor:
    return ops.latent_dictionary_pool(*args, backend="reference")


def run(args: list[Any]) -> list[Tensor]:
    """The result and all gradients of the native kernel."""
    outputs, gradients = outputs_and_gradients(lambda *a: ops.latent_dictionary_pool(*a, backend="cpu"), args)
    return [*outputs, *gradients]


SHAPES = [((2, 60, 128, 5), 2), ((2, 70, 48, 37), 3)]  # absorbed, projected


@given(
    batch=st.integers(1, 4),
    tokens=st.integers(1, 120),
    depth=st.integers(1, 40),
    rows=st.integers(1, 40),
    heads=st.integers(1, 5),
    mask=st.sampled_from(["none", "some", "empty"]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    isa=st.sampled_from(available_isas()),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_any_shape_matches_the_reference(
    batch: int,
    tokens: int,
    depth: int,
    rows: int,
    heads: int,
    mask: str,
    dtype: torch.dtype,
    isa: str,
    seed: int,
) -> None:
    # In narrower ones a gradient is a few numbers, each a sum that may cancel: luck decides whose is better.
    assume(heads * depth >= 4)
    core.set_isa(isa)
    args = make_arguments((batch, tokens, heads * depth, rows), heads, mask, seed)
    check_against_formula("latent_dictionary_pool", reference, args, dtype, seed)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("shape", "heads"),
    [
        ((1, 2300, 64, 6), 2),
        ((1, 2300, 32, 40), 2),
        ((2, 200, 512, 16), 8),
        ((2, 150, 96, 130), 2),
        ((40, 5, 48, 2), 3),
    ],
    ids=str,
)
def test_splits_panels_and_many_samples(isa: str, shape: tuple[int, int, int, int], heads: int) -> None:
    require_isa(isa)
    args = make_arguments(shape, heads, "some", seed=1)
    check_against_formula("latent_dictionary_pool", reference, args, torch.float32, 1)


@pytest.mark.parametrize(("shape", "heads"), SHAPES, ids=str)
def test_the_error_is_a_few_units_in_the_last_place(shape: tuple[int, int, int, int], heads: int) -> None:
    args = make_arguments(shape, heads, "some", seed=3, dtype=torch.float32)
    wanted = reference(*(a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args))
    error = (run(args)[0].double() - wanted).abs().max() / wanted.abs().max()
    assert error <= 5e-6


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bitwise_equal_for_any_number_of_threads(isa: str, dtype: torch.dtype) -> None:
    require_isa(isa)
    for shape in ((2, 2100, 96, 3), (2, 2100, 32, 40), (5, 70, 96, 9)):
        args = make_arguments(shape, 2, "some", seed=4, dtype=dtype)
        first = run(args)
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            assert all(torch.equal(a, b) for a, b in zip(run(args), first, strict=True)), threads
        torch.set_num_threads(1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("shape", "heads"), SHAPES, ids=str)
def test_old_memory_and_garbage_in_padding_do_not_leak(
    isa: str, shape: tuple[int, int, int, int], heads: int
) -> None:
    """The kernel's own memory stays with the thread: here it is full of NaN from the call before."""
    require_isa(isa)
    args = make_arguments(shape, heads, "empty", seed=5, dtype=torch.float32)
    clean = run(args)
    poison = list(args)
    poison[0], poison[1] = torch.full_like(args[0], torch.nan), torch.full_like(args[1], torch.nan)
    run(poison)
    dirty = list(args)
    dirty[0] = args[0].masked_fill(~args[7][:, :, None], torch.nan)
    assert all(torch.equal(a, b) for a, b in zip(run(dirty), clean, strict=True))


@pytest.mark.parametrize(("shape", "heads"), SHAPES, ids=str)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_spoils_its_sample_as_in_the_reference(
    shape: tuple[int, int, int, int], heads: int, value: float
) -> None:
    for isa in available_isas():
        core.set_isa(isa)
        args = make_arguments(shape, heads, "none", seed=6, dtype=torch.float32)
        args[0][1, 10, 7] = value
        (got, dx, *_), want = run(args), reference(*args)
        assert got[1].isnan().all()
        assert want[1].isnan().all()
        assert got[0].isfinite().all()
        assert dx[0].isfinite().all()


@pytest.mark.parametrize("name", ["x", "dictionary", "wq", "wk", "wv", "wo", "mask", "y"])
def test_a_wrong_tensor_is_refused_by_name(name: str) -> None:
    zero = torch.zeros
    given: dict[str, Any] = {
        "x": zero(2, 5, 20),
        "dictionary": zero(3, 32),
        **{name: zero(32, 32) for name in ("wq", "wk", "wv", "wo")},
        "heads": 2,
        "scale": 0.3,
        "mask": zero(2, 5),
        "y": zero(2, 32),
    }
    core.latent_dictionary_pool_forward(**given)
    for wrong in (
        torch.zeros(7, 7, 7),
        torch.zeros(3, 32, dtype=torch.float64),
        given[name].repeat_interleave(2, -1)[..., ::2],
    ):
        with pytest.raises((ValueError, TypeError), match=r"latent_dictionary_pool_forward: .*'"):
            core.latent_dictionary_pool_forward(**{**given, name: wrong})
