"""The native latent attention pooling against its reference in float64, in both algorithms and under every
instruction set this machine runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import spinecore
from spinecore import _native, ops
from spinecore.ops import _latent_attention_pool_native as native
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


@pytest.fixture(autouse=True)
def keep_rule() -> Iterator[None]:
    rule = native.absorbs
    yield
    native.absorbs = rule


def choose(absorbed: bool) -> None:
    """Use one algorithm whatever the sizes; keep_rule takes it back."""
    native.absorbs = lambda *_: absorbed


def make_arguments(
    shape: tuple[int, int, int, int],
    heads: int,
    mask: str = "none",
    bias: int = 0,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> list[Any]:
    """shape: B, N, D, R. mask: none, some, or empty (one sample without tokens). bias: its dimensions."""
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
    added = draw(*((batch, rows, tokens) if bias == 3 else (rows, tokens))) if bias else None
    if added is not None:
        added[..., 0] = float("-inf")
    projections = [draw(width, width) / width**0.5 for _ in range(4)]
    floats = [draw(batch, tokens, width), draw(rows, width), *projections]
    return [*(t.to(dtype) for t in floats), heads, keep, None if added is None else added.to(dtype)]


def reference(*args: Any) -> Tensor:
    y = ops.latent_attention_pool(*args, backend="reference")
    assert isinstance(y, Tensor)
    return y


def run(args: list[Any]) -> list[Tensor]:
    """The result and all gradients of the native kernel."""
    outputs, gradients = outputs_and_gradients(lambda *a: ops.latent_attention_pool(*a, backend="cpu"), args)
    return [*outputs, *gradients]


@given(
    batch=st.integers(1, 4),
    tokens=st.integers(1, 150),
    depth=st.integers(1, 40),
    rows=st.integers(1, 20),
    heads=st.integers(1, 5),
    mask=st.sampled_from(["none", "some", "empty"]),
    bias=st.sampled_from([0, 2, 3]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    absorbed=st.booleans(),
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
    bias: int,
    dtype: torch.dtype,
    absorbed: bool,
    isa: str,
    seed: int,
) -> None:
    # In narrower ones a gradient is a few numbers, each a sum that may cancel: luck decides whose is better.
    assume(heads * depth >= 4)
    core.set_isa(isa)
    choose(absorbed)
    args = make_arguments((batch, tokens, heads * depth, rows), heads, mask, bias, seed)
    check_against_formula("latent_attention_pool", reference, args, dtype, seed)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("absorbed", [True, False])
@pytest.mark.parametrize(
    ("shape", "heads"),
    [((1, 2200, 64, 3), 2), ((2, 700, 256, 16), 8), ((3, 90, 96, 33), 2), ((40, 5, 48, 2), 3)],
    ids=str,
)
def test_splits_panels_and_many_samples(
    isa: str, absorbed: bool, shape: tuple[int, int, int, int], heads: int
) -> None:
    require_isa(isa)
    choose(absorbed)
    args = make_arguments(shape, heads, "some", 2, seed=1)
    check_against_formula("latent_attention_pool", reference, args, torch.float32, 1)


@pytest.mark.parametrize("absorbed", [True, False])
def test_a_forward_in_several_groups_of_samples(absorbed: bool) -> None:
    choose(absorbed)
    args = make_arguments((300, 16, 256, 16), 8, "some", 0, seed=2, dtype=torch.float32)
    with torch.no_grad():
        got = ops.latent_attention_pool(*args, backend="cpu")
        torch.testing.assert_close(got, reference(*args), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("absorbed", [True, False])
def test_the_error_is_a_few_units_in_the_last_place(absorbed: bool) -> None:
    choose(absorbed)
    args = make_arguments((1, 1024, 512, 16), 8, "some", 0, seed=3, dtype=torch.float32)
    wanted = reference(*(a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args))
    error = (run(args)[0].double() - wanted).abs().max() / wanted.abs().max()
    assert error <= 5e-6


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("absorbed", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bitwise_equal_for_any_number_of_threads(isa: str, absorbed: bool, dtype: torch.dtype) -> None:
    require_isa(isa)
    choose(absorbed)
    for shape in ((2, 3000, 48, 5), (5, 70, 96, 9)):
        args = make_arguments(shape, 3, "some", 3, seed=4, dtype=dtype)
        first = run(args)
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            assert all(torch.equal(a, b) for a, b in zip(run(args), first, strict=True)), threads
        torch.set_num_threads(1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("absorbed", [True, False])
@pytest.mark.parametrize("bias", [0, 2])
def test_old_memory_and_garbage_in_padding_do_not_leak(isa: str, absorbed: bool, bias: int) -> None:
    """The kernel's own memory stays with the thread: here it is full of NaN from the call before."""
    require_isa(isa)
    choose(absorbed)
    args = make_arguments((3, 150, 40, 5), 5, "empty", bias, seed=5, dtype=torch.float32)
    clean = run(args)
    poison = list(args)
    poison[0], poison[1] = torch.full_like(args[0], torch.nan), torch.full_like(args[1], torch.nan)
    run(poison)
    dirty = list(args)
    dirty[0] = args[0].masked_fill(~args[7][:, :, None], torch.nan)
    assert all(torch.equal(a, b) for a, b in zip(run(dirty), clean, strict=True))


@pytest.mark.parametrize("absorbed", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_spoils_its_sample_as_in_the_reference(absorbed: bool, value: float) -> None:
    for isa in available_isas():
        core.set_isa(isa)
        choose(absorbed)
        args = make_arguments((3, 20, 32, 4), 2, "some", 0, seed=6, dtype=torch.float32)
        args[0][1, 10, 7] = value
        (got, dx, *parameters), (want, want_dx, *_) = (
            run(args),
            [t for part in outputs_and_gradients(reference, args) for t in part],
        )
        assert got[1].isnan().all()
        assert want[1].isnan().all()
        assert got[[0, 2]].isfinite().all()
        assert dx[[0, 2]].isfinite().all()
        assert want_dx[[0, 2]].isfinite().all()
        assert all(gradient.isnan().any() for gradient in parameters)


def test_the_baseline_instruction_set_leaves_the_choice_to_the_reference() -> None:
    args = make_arguments((2, 6, 32, 3), 2, dtype=torch.float32)
    for isa in available_isas():
        core.set_isa(isa)
        facts = spinecore.explain(ops.latent_attention_pool, *args)
        expected = "reference" if isa == "baseline" else "cpu"
        assert facts.chosen == facts.backward_chosen == expected
        assert spinecore.explain(ops.latent_dictionary_pool, *args[:7]).chosen == expected
    core.set_isa("baseline")
    assert "baseline" in spinecore.explain(ops.latent_attention_pool, *args).verdicts["cpu"].reason


def test_scores_and_means_are_kept_only_where_a_backward_will_want_them() -> None:
    args = make_arguments((2, 60, 32, 3), 2, "some", 0, seed=7, dtype=torch.float32)
    kept = torch.ops.spinecore.latent_attention_pool(*args, True, "cpu")
    bare = torch.ops.spinecore.latent_attention_pool(*args, False, "cpu")
    wanted = torch.ops.spinecore.latent_attention_pool(*args, True, "reference")
    for got, want in zip(kept, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert [tensor.numel() for tensor in bare[3:]] == [0, 0]
    # Without them the backward takes them again, to the last bit.
    dy = torch.ones_like(kept[0])
    operator = torch.ops.spinecore.latent_attention_pool_backward
    full = operator(args[0], dy, *args[1:], *kept[1:], "cpu")
    again = operator(args[0], dy, *args[1:], *bare[1:], "cpu")
    assert all(torch.equal(a, b) for a, b in zip(full, again, strict=True))


def forward_arguments() -> dict[str, Any]:
    zero = torch.zeros
    return {
        "x": zero(2, 5, 20),
        "latents": zero(3, 32),
        **{name: zero(32, 32) for name in ("wq", "wk", "wv", "wo")},
        "heads": 2,
        "scale": 0.3,
        "mask": zero(2, 5),
        "bias": zero(1, 3, 5),
        "absorbed": True,
        "y": zero(2, 3, 32),
        "norms": zero(2, 2, 2, 3),
        "pooled": zero(2, 3, 32),
        "scores": zero(2, 5, 6),
        "means": zero(2, 2, 3, 32),
    }


@pytest.mark.parametrize("name", [n for n, v in forward_arguments().items() if isinstance(v, Tensor)])
def test_a_wrong_tensor_is_refused_by_name(name: str) -> None:
    core.latent_attention_pool_forward(**forward_arguments())
    for wrong in (
        torch.zeros(7, 7, 7),
        torch.zeros(3, 32, dtype=torch.float64),
        forward_arguments()[name].repeat_interleave(2, -1)[..., ::2],
    ):
        with pytest.raises((ValueError, TypeError), match=r"latent_attention_pool_forward: .*'"):
            core.latent_attention_pool_forward(**{**forward_arguments(), name: wrong})


def test_heads_that_do_not_fit_are_refused() -> None:
    for heads in (0, -1, 3, 4):
        with pytest.raises(ValueError, match="multiple of 16 for each"):
            core.latent_attention_pool_forward(**{**forward_arguments(), "heads": heads})
