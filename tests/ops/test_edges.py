"""The edges of every operator: empty rows, padding full of garbage, one sample, constant channels, shared
weights.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore import ops


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def projections(width: int) -> list[Tensor]:
    return [draw(width, width, seed=i + 1) for i in range(4)]


def test_a_row_without_tokens_gives_zeros_and_no_gradient() -> None:
    x, table = draw(2, 3, 4).requires_grad_(), draw(2, 4).requires_grad_()
    mask = torch.tensor([[True, True, False], [False, False, False]])
    weights = [w.requires_grad_() for w in projections(4)]
    for pool in (ops.latent_attention_pool, ops.latent_dictionary_pool):
        y = pool(x, table, *weights, 2, mask)
        assert isinstance(y, Tensor)
        assert (y[1] == 0).all()
        assert (y[0] != 0).all()
        gradients = torch.autograd.grad(y[1].sum(), [x, table, *weights], retain_graph=True)
        assert all((gradient == 0).all() for gradient in gradients)
        (dx,) = torch.autograd.grad(y.sum(), [x])
        assert (dx[1] == 0).all()
        assert (dx[0, 2] == 0).all()
        assert (dx[0, :2] != 0).any()


def test_a_bias_of_minus_infinity_excludes_a_token() -> None:
    x, latents, weights = draw(1, 4, 4), draw(2, 4, seed=9), projections(4)
    bias = torch.zeros(2, 4, dtype=torch.float64)
    bias[:, 3] = float("-inf")
    bias[1] = float("-inf")
    bias.requires_grad_()
    y = ops.latent_attention_pool(x, latents, *weights, 2, None, bias)
    assert isinstance(y, Tensor)
    shorter = ops.latent_attention_pool(x[:, :3], latents, *weights, 2)
    assert isinstance(shorter, Tensor)
    torch.testing.assert_close(y[0, 0], shorter[0, 0])
    assert (y[0, 1] == 0).all()
    (gradient,) = torch.autograd.grad(y.sum(), [bias])
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 3] == 0).all()


@pytest.mark.parametrize("garbage", [float("nan"), float("inf")])
def test_garbage_in_padding_does_not_leak(garbage: float) -> None:
    mask = torch.tensor([[True, True, False]])
    clean = draw(1, 3, 4)
    dirty = clean.clone()
    dirty[0, 2] = garbage
    for pool in (ops.latent_attention_pool, ops.latent_dictionary_pool):
        results = []
        for x in (clean, dirty):
            x.requires_grad_()
            weights = [w.requires_grad_() for w in projections(4)]
            y = pool(x, draw(2, 4, seed=7), *weights, 2, mask)
            assert isinstance(y, Tensor)
            results.append([y.detach(), *torch.autograd.grad(y.sum(), [x, *weights])])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b)
    z = draw(5, 3)
    keep = torch.tensor([True, True, True, True, False])
    z[4] = garbage
    for got, wanted in zip(ops.covariance_penalty(z, keep), ops.covariance_penalty(z[:4]), strict=True):
        torch.testing.assert_close(got, wanted)


def test_attention_weights_sum_to_one_and_carry_a_gradient() -> None:
    x, latents, weights = draw(2, 5, 6).requires_grad_(), draw(3, 6), projections(6)
    mask = torch.tensor([[True] * 5, [True, False, True, False, False]])
    y, attention = ops.latent_attention_pool(x, latents, *weights, 3, mask, need_weights=True)
    assert attention.shape == (2, 3, 3, 5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, 3, dtype=torch.float64))
    assert (attention[1][..., ~mask[1]] == 0).all()
    values = (x @ weights[2]).unflatten(-1, (3, 2)).transpose(1, 2)
    torch.testing.assert_close((attention @ values).transpose(1, 2).flatten(2) @ weights[3], y)
    assert torch.autograd.grad(attention.square().sum(), [x])[0].abs().sum() > 0


def test_pools_do_not_depend_on_the_order_of_tokens() -> None:
    x, table, weights = draw(2, 6, 4), draw(3, 4), projections(4)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    for pool in (ops.latent_attention_pool, ops.latent_dictionary_pool):
        torch.testing.assert_close(pool(x, table, *weights, 2), pool(x[:, order], table, *weights, 2))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(rows=st.integers(2, 30), width=st.integers(1, 8), seed=st.integers(0, 1000), shift=st.floats(-5, 5))
def test_covariance_agrees_with_numpy_and_ignores_the_mean(
    rows: int, width: int, seed: int, shift: float
) -> None:
    z = draw(rows, width, seed=seed)
    off, hinge = ops.covariance_penalty(z + shift)
    matrix = np.atleast_2d(np.cov(z.numpy(), rowvar=False))
    wanted = (matrix**2).sum() - (np.diag(matrix) ** 2).sum()
    assert float(off) == pytest.approx(wanted / width, rel=1e-6, abs=1e-9)
    deviations = np.sqrt(np.diag(matrix) + 1e-4)
    assert float(hinge) == pytest.approx(np.maximum(1 - deviations, 0).mean(), rel=1e-6, abs=1e-9)
    assert float(ops.cross_covariance_penalty(z, z + shift)) == pytest.approx(
        (matrix**2).mean(), rel=1e-6, abs=1e-9
    )


def test_decorrelation_of_collapsed_whitened_and_single_rows() -> None:
    constant = torch.full((8, 4), 3.0)
    off, hinge = ops.covariance_penalty(constant)
    assert float(off) == 0
    assert float(hinge) == pytest.approx(0.99)  # 1 - sqrt(1e-4)
    basis, _ = torch.linalg.qr(draw(20, 5) - draw(20, 5).mean(0))
    white = basis * 19**0.5
    assert float(ops.covariance_penalty(white - white.mean(0))[0]) < 0.2
    assert float(ops.orthogonality_penalty(basis[:, :2], basis[:, :2])) > 0
    for rows in (0, 1):
        z = draw(rows, 3).requires_grad_()
        off, hinge = ops.covariance_penalty(z)
        (gradient,) = torch.autograd.grad(off + hinge, [z])
        assert (gradient == 0).all()
        assert off.item() == 0
        assert hinge.item() == pytest.approx(0.99)
        assert ops.cross_covariance_penalty(z, z).item() == 0


def test_orthogonal_features_have_no_orthogonality_penalty() -> None:
    a = torch.zeros(4, 2)
    b = torch.zeros(4, 2)
    a[0], a[1] = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])
    b[2], b[3] = torch.tensor([0.0, 1.0]), torch.tensor([0.0, -1.0])
    assert float(ops.orthogonality_penalty(a, b)) == 0


def test_shared_weights_get_the_sum_of_both_gradients() -> None:
    x, scale, shift = draw(2, 3, 5, 4), draw(3, seed=2), draw(3, seed=3)
    shared = draw(3, 3, 3, 3, seed=4).requires_grad_()
    first, second = shared.detach().clone().requires_grad_(), shared.detach().clone().requires_grad_()
    for function in (ops.recurrent_residual_conv, lambda *a: ops.recurrent_residual_conv_bn(*a)[0]):
        together = torch.autograd.grad(function(x, shared, shared, scale, shift).square().sum(), [shared])
        apart = torch.autograd.grad(function(x, first, second, scale, shift).square().sum(), [first, second])
        torch.testing.assert_close(together[0], apart[0] + apart[1])


def test_shared_weights_are_r2u_nets_recurrence() -> None:
    """g(x + u) with one convolution of the sum, as in the published code."""
    x, w, scale, shift = draw(2, 3, 6, 5), draw(3, 3, 3, 3, seed=1) / 5, draw(3, seed=2), draw(3, seed=3)

    def unit(value: Tensor) -> Tensor:
        return torch.relu(F.conv2d(value, w, padding=1) * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1))

    u = unit(x)
    for steps in range(4):
        torch.testing.assert_close(ops.recurrent_residual_conv(x, w, w, scale, shift, steps), x + u)
        u = unit(x + u)


def test_a_constant_channel_has_no_negative_variance() -> None:
    x = torch.zeros(2, 2, 4, 4)
    x[:, 1] = 1000.0
    w = torch.eye(2).view(2, 2, 1, 1)
    _, mean, variance = ops.recurrent_residual_conv_bn(x, w, w, torch.ones(2), torch.zeros(2), steps=0)
    torch.testing.assert_close(mean, torch.tensor([[0.0, 1000.0]]))
    assert (variance >= 0).all()
    assert (variance < 1e-3).all()


def test_statistics_of_half_precision_are_single_precision_and_carry_no_gradient() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        x = draw(2, 3, 6, 6).to(dtype).requires_grad_()
        w = draw(3, 3, 3, 3).to(dtype)
        y, mean, variance = ops.recurrent_residual_conv_bn(x, w, w, torch.ones(3), torch.zeros(3))
        assert y.dtype is dtype
        assert mean.dtype is variance.dtype is torch.float32
        assert y.requires_grad
        assert not mean.requires_grad
        assert not variance.requires_grad


def test_zero_gates_halve_and_empty_images_pass() -> None:
    zero = [torch.zeros(2, 4), None, torch.zeros(4, 2), None, torch.zeros(4), None]
    x = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(ops.scse_gate(x, *zero), x)
    torch.testing.assert_close(ops.scse_gate(x, *zero, mode="max"), x / 2)
    for shape in ((0, 4, 3, 5), (2, 4, 0, 5), (2, 4, 3, 0)):
        empty = torch.zeros(shape, requires_grad=True)
        y = ops.scse_gate(empty, *zero)
        assert y.shape == shape
        y.sum().backward()
        w = torch.zeros(4, 4, 3, 3)
        for out in (
            ops.recurrent_residual_conv(empty, w, w, torch.ones(4), torch.zeros(4)),
            ops.recurrent_residual_conv_bn(empty, w, w, torch.ones(4), torch.zeros(4))[0],
            ops.conv3x3(empty, w, torch.zeros(4), "relu"),
            ops.conv1x1(empty, w[:, :, :1, :1], torch.zeros(4)),
            ops.conv1x1_bn(empty, w[:, :, :1, :1], torch.ones(4), torch.zeros(4))[0],
        ):
            assert out.shape == shape
            out.sum().backward()


def test_mixed_parameter_precision_is_accepted() -> None:
    """Half-precision features beside float32 parameters, as under autocast, and a whole model in bfloat16."""
    x = draw(2, 6, 4, 4).bfloat16()
    single = [
        draw(3, 6).float(),
        draw(3).float(),
        draw(6, 3).float(),
        draw(6).float(),
        draw(6).float(),
        draw(1).float(),
    ]
    for parameters in (single, [p.bfloat16() for p in single]):
        leaves = [p.clone().requires_grad_() for p in parameters]
        y = ops.scse_gate(x, *leaves)
        assert y.dtype is torch.bfloat16
        y.sum().backward()
        assert [leaf.grad.dtype for leaf in leaves if leaf.grad is not None] == [p.dtype for p in parameters]
    with pytest.raises(TypeError, match=r"w1 has dtype torch.float64"):
        ops.scse_gate(x, single[0].double(), *single[1:])
