"""The comparators themselves: each must notice the fault it is there for, and nothing else."""

from __future__ import annotations

import pytest
import torch

from spinecore.testing import assert_calibrated, assert_gradient_close, vector_error


@pytest.fixture
def gradient() -> torch.Tensor:
    return torch.randn(4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_equal_vectors_have_no_error(gradient: torch.Tensor) -> None:
    error = vector_error(gradient, gradient)
    assert error.relative_l2 == 0
    assert error.cosine == pytest.approx(1, abs=1e-14)
    assert error.signed_bias == 0


def test_a_shrunk_gradient_shows_as_bias_and_not_as_angle(gradient: torch.Tensor) -> None:
    error = vector_error(gradient * 0.99, gradient)
    assert error.signed_bias == pytest.approx(-0.01)
    assert error.cosine == pytest.approx(1, abs=1e-12)
    with pytest.raises(AssertionError, match=r"signed bias -0\.01"):
        assert_gradient_close(gradient * 0.99, gradient, max_relative_l2=0.02, max_signed_bias=0.005)


def test_noise_of_the_same_size_has_no_bias(gradient: torch.Tensor) -> None:
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 0.01
    error = vector_error(gradient + noise, gradient)
    assert error.relative_l2 == pytest.approx(0.01, rel=0.1)
    assert abs(error.signed_bias) < 0.001
    assert_gradient_close(gradient + noise, gradient, max_relative_l2=0.012, max_signed_bias=0.001)


def test_a_missing_gradient_near_zero_is_noticed(gradient: torch.Tensor) -> None:
    tiny = gradient * 1e-12
    with pytest.raises(AssertionError, match="relative L2 1"):
        assert_gradient_close(torch.zeros_like(tiny), tiny, max_relative_l2=0.1)


def test_a_flipped_sign_and_a_gradient_out_of_nothing_are_noticed(gradient: torch.Tensor) -> None:
    assert vector_error(-gradient, gradient).cosine == pytest.approx(-1)
    with pytest.raises(AssertionError):
        assert_gradient_close(gradient, torch.zeros_like(gradient), max_relative_l2=0.1)
    assert_gradient_close(torch.zeros_like(gradient), torch.zeros_like(gradient), max_relative_l2=0.0)


def test_values_that_are_not_finite_and_wrong_shapes_fail(gradient: torch.Tensor) -> None:
    broken = gradient.clone()
    broken[7] = float("nan")
    with pytest.raises(AssertionError, match="1 of 4000 elements are not finite"):
        vector_error(broken, gradient)
    with pytest.raises(AssertionError, match="shape"):
        vector_error(gradient[:-1], gradient)


def test_the_calibrated_tolerance_follows_the_dtype(gradient: torch.Tensor) -> None:
    oracle = torch.exp(gradient)
    for dtype in (torch.float32, torch.bfloat16):
        baseline = torch.exp(gradient.to(dtype))
        assert_calibrated(baseline, baseline, oracle)
        spread = vector_error(baseline, oracle).relative_l2
        with pytest.raises(AssertionError):
            assert_calibrated((oracle * (1 + 20 * spread)).to(dtype), baseline, oracle, floor_ulps=1)
    single, half = torch.exp(gradient.float()), torch.exp(gradient.bfloat16())
    with pytest.raises(AssertionError):
        assert_calibrated(half.float(), single, oracle)


def test_one_wrong_element_of_many_fails_the_calibrated_comparison(gradient: torch.Tensor) -> None:
    oracle = gradient + 10
    baseline = oracle.float()
    wrong = baseline.clone()
    wrong[123] *= 1.0001
    with pytest.raises(AssertionError, match=r"largest error|relative L2"):
        assert_calibrated(wrong, baseline, oracle)
