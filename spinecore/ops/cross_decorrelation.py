"""Decorrelation between two batches of features: the cross-covariance penalty and the orthogonality
("difference") penalty.

cross         = ||(a - mean)^T (b - mean)||_F^2 / (B - 1)^2 / (Da Db)
orthogonality = mean((A^T B)^2),  A, B: columns centred over the batch, rows divided by (norm + 1e-6)
"""

# ruff: noqa: D417 - like arguments are described together
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spinecore import backends
from spinecore.ops._shared import accumulation_dtype, fail, fail_dtype
from spinecore.ops._spec import Cost, OpSpec, Sample, register
from spinecore.ops.covariance_decorrelation import check_features

_CROSS = "cross_covariance_penalty"
_ORTHOGONALITY = "orthogonality_penalty"
_NORM_EPS = 1e-6  # MISA's


def cross_covariance_penalty(a: Tensor, b: Tensor, *, backend: str | None = None) -> Tensor:
    """Mean squared cross-covariance between the features of ``a`` and of ``b``.

    Args:
        a, b: (B, Da) and (B, Db), rows paired, one dtype.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        A scalar, float32 for half-precision inputs; 0 with fewer than two rows.

    Source: the off-diagonal block of VICReg's covariance term (Bardes et al. 2022); the normalisation by Da
    Db is our choice.

    """
    penalty: Tensor = _CROSS_FORWARD(a, b, backend)[0]
    return penalty


def orthogonality_penalty(a: Tensor, b: Tensor, *, backend: str | None = None) -> Tensor:
    """Mean squared inner product between the feature columns of ``a`` and of ``b``: the difference loss.

    Args:
        a, b: (B, Da) and (B, Db), rows paired, one dtype.
        backend: ``reference``, ``cpu``, ``triton`` or ``cuda``; None takes the best that can run.

    Returns:
        A scalar, float32 for half-precision inputs. The gradient flows through the row norms, as in the
        domain separation networks' own code; MISA's code cuts it there.

    Source: Bousmalis et al. 2016 (domain separation networks), eq. 5; Hazarika et al. 2020 (MISA).

    """
    penalty: Tensor = _ORTHOGONALITY_FORWARD(a, b, backend)[0]
    return penalty


def _checker(op: str) -> Any:
    def check(a: Tensor, b: Tensor) -> None:
        check_features(op, "a", a)
        check_features(op, "b", b)
        if a.shape[0] != b.shape[0]:
            fail(
                op,
                "b",
                f"of shape {tuple(b.shape)}",
                f"as many rows as a, B = {a.shape[0]}",
                "Pair the rows of a and b.",
            )
        if a.dtype is not b.dtype:
            fail_dtype(op, "b", b.dtype, f"{a.dtype} (as a)", "Convert b with .to(a.dtype).")

    return check


def _centred(z: Tensor) -> Tensor:
    z = z.to(accumulation_dtype(z.dtype))
    return z - z.sum(0) / max(z.shape[0], 1)


def _norms(centred: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return norms


def _normalised(centred: Tensor) -> Tensor:
    return centred / (_norms(centred) + _NORM_EPS)


def _normalisation_gradient(grad: Tensor, centred: Tensor) -> Tensor:
    """Through ``_normalised`` and the centring before it; a zero row has no direction and passes no gradient
    through its norm.
    """
    norms = _norms(centred)
    scale = 1.0 / (norms + _NORM_EPS)
    along = (grad * centred).sum(1, keepdim=True) * scale.square() / norms.masked_fill(norms == 0, 1.0)
    grad = grad * scale - centred * along
    return grad - grad.sum(0) / max(grad.shape[0], 1)


def _cross_reference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The penalty and the cross-covariance (Da, Db) the backward reads."""
    covariance = _centred(a).T @ _centred(b) / max(a.shape[0] - 1, 1)
    return covariance.square().mean(), covariance


def _cross_backward_reference(
    a: Tensor, b: Tensor, grad: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor]:
    """The columns of a centred factor sum to zero, so centring adds nothing to the gradient."""
    scale = 2 * grad / (covariance.numel() * max(a.shape[0] - 1, 1))
    da = (_centred(b) @ covariance.T) * scale
    db = (_centred(a) @ covariance) * scale
    return da.to(a.dtype).contiguous(), db.to(b.dtype).contiguous()


def _orthogonality_reference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The penalty and A^T B (Da, Db)."""
    product = _normalised(_centred(a)).T @ _normalised(_centred(b))
    return product.square().mean(), product


def _orthogonality_backward_reference(
    a: Tensor, b: Tensor, grad: Tensor, product: Tensor
) -> tuple[Tensor, Tensor]:
    left, right = _centred(a), _centred(b)
    scale = 2 * grad / product.numel()
    da = _normalisation_gradient((_normalised(right) @ product.T) * scale, left)
    db = _normalisation_gradient((_normalised(left) @ product) * scale, right)
    return da.to(a.dtype).contiguous(), db.to(b.dtype).contiguous()


def _fake(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = accumulation_dtype(a.dtype)
    return a.new_empty((), dtype=dtype), a.new_empty((a.shape[1], b.shape[1]), dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, output[1])


def _backward_fake(a: Tensor, b: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return a.new_empty(a.shape), b.new_empty(b.shape)


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)
    for rows, left, right in ((6, 3, 4), (3, 5, 2), (2, 1, 1), (1, 3, 2), (0, 2, 3)):
        draws = (
            torch.randn((rows, width), generator=generator, dtype=torch.float64) + 1
            for width in (left, right)
        )
        yield Sample(f"B={rows} Da={left} Db={right}", tuple(draw.to(dtype) for draw in draws))


def _cost(a: Tensor, b: Tensor) -> Cost:
    return Cost(2 * a.shape[0] * a.shape[1] * b.shape[1], (a.numel() + b.numel()) * a.element_size())


def _spec(
    name: str, function: Any, reference: Any, backward_reference: Any, equations: str, source: str
) -> OpSpec:
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b, kept = ctx.saved_tensors
        da, db = getattr(torch.ops.spinecore, f"{name}_backward").default(a, b, grad, kept, ctx.backend)
        return da, db

    return OpSpec(
        name=name,
        function=function,
        schema="(Tensor a, Tensor b, str? backend=None) -> (Tensor, Tensor)",
        reference=reference,
        check=_checker(name),
        fake=_fake,
        setup_context=_setup_context,
        backward=backward,
        backward_schema=(
            "(Tensor a, Tensor b, Tensor grad, Tensor kept, str? backend=None) -> (Tensor, Tensor)"
        ),
        backward_reference=backward_reference,
        backward_fake=_backward_fake,
        call=lambda a, b: backends.call_of(name, a, ("width", b.shape[1])),
        autocast={"a": "float32", "b": "float32"},
        samples=_samples,
        cost=_cost,
        equations=equations,
        source=source,
    )


CROSS_SPEC = _spec(
    _CROSS,
    cross_covariance_penalty,
    _cross_reference,
    _cross_backward_reference,
    "||(a - mean)^T (b - mean)||_F^2 / (B - 1)^2 / (Da Db)",
    "Bardes, Ponce, LeCun 2022 (VICReg), off-diagonal block; normalisation our choice",
)
ORTHOGONALITY_SPEC = _spec(
    _ORTHOGONALITY,
    orthogonality_penalty,
    _orthogonality_reference,
    _orthogonality_backward_reference,
    "mean((A^T B)^2), A and B centred over the batch with rows of unit norm",
    "Bousmalis et al. 2016 (DSN); Hazarika et al. 2020 (MISA)",
)
_CROSS_FORWARD, _ = register(CROSS_SPEC)
_ORTHOGONALITY_FORWARD, _ = register(ORTHOGONALITY_SPEC)
