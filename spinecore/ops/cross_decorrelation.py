"""Decorrelation between two batches of features: the cross-covariance penalty and the orthogonality
("difference") penalty.

cross         = ||(a - mean)^T (b - mean)||_F^2 / (B - 1)^2 / (Da Db)
orthogonality = mean((A^T B)^2),  A, B: columns centred over the batch, rows divided by (norm + 1e-6)
"""

# ruff: noqa: ARG001, D417 - the parts of one operator share one argument list, like arguments a description
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spinecore import backends
from spinecore.ops import _cross_cuda, _cross_native, _cross_triton
from spinecore.ops._shared import accumulation_dtype, fail, fail_dtype
from spinecore.ops._spec import OPS, Cost, OpSpec, Sample, register
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


def _keeps_gram(a: Tensor, b: Tensor) -> bool:
    """With few rows the Gram matrices A A^T and B B^T (B, B) say all that A^T B (Da, Db) says."""
    return a.shape[0] * (a.shape[1] + b.shape[1]) <= a.shape[1] * b.shape[1]


def _squares(left: Tensor, right: Tensor, divisor: int) -> tuple[Tensor, Tensor]:
    """Mean of the squares of left^T right / divisor, and what the backward reads: that product (Da, Db), or
    both Gram matrices over the divisor, one above the other (2 B, B).
    """
    if not _keeps_gram(left, right):
        product = left.T @ right / divisor
        return product.square().mean(), product
    kept = torch.cat((left @ left.T, right @ right.T)) / divisor
    of_left, of_right = kept.chunk(2)
    return ((of_left * of_right).sum() / (left.shape[1] * right.shape[1])).clamp_min(0), kept


def _squares_backward(
    left: Tensor, right: Tensor, grad: Tensor, kept: Tensor, divisor: int
) -> tuple[Tensor, Tensor]:
    scale = 2 * grad / (left.shape[1] * right.shape[1] * divisor)
    if not _keeps_gram(left, right):
        return (right @ kept.T) * scale, (left @ kept) * scale
    of_left, of_right = kept.chunk(2)
    return (of_right @ left) * scale, (of_left @ right) * scale


def _statistics(a: Tensor, b: Tensor, *norms: Tensor) -> Tensor:
    """For a, then for b: the mean of the columns and what the dtype leaves of it (a backend may keep it to
    centre exactly); then the norms of the rows.
    """
    count = max(a.shape[0], 1)
    means = [z.to(accumulation_dtype(z.dtype)).sum(0) / count for z in (a, b)]
    return torch.cat(
        [part for mean in means for part in (mean, torch.zeros_like(mean))] + [n.flatten() for n in norms]
    )


def _cross_reference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The penalty, and what the backward reads (``_squares``, ``_statistics``)."""
    penalty, kept = _squares(_centred(a), _centred(b), max(a.shape[0] - 1, 1))
    return penalty, kept, _statistics(a, b)


def _cross_backward_reference(
    a: Tensor, b: Tensor, grad: Tensor, kept: Tensor, statistics: Tensor
) -> tuple[Tensor, Tensor]:
    """The columns of a centred factor sum to zero, so centring adds nothing to the gradient."""
    da, db = _squares_backward(_centred(a), _centred(b), grad, kept, max(a.shape[0] - 1, 1))
    return da.to(a.dtype).contiguous(), db.to(b.dtype).contiguous()


def _orthogonality_reference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The penalty, and what the backward reads (``_squares``, ``_statistics`` with norms)."""
    left, right = _centred(a), _centred(b)
    penalty, kept = _squares(_normalised(left), _normalised(right), 1)
    return penalty, kept, _statistics(a, b, _norms(left), _norms(right))


def _orthogonality_backward_reference(
    a: Tensor, b: Tensor, grad: Tensor, kept: Tensor, statistics: Tensor
) -> tuple[Tensor, Tensor]:
    left, right = _centred(a), _centred(b)
    d_left, d_right = _squares_backward(_normalised(left), _normalised(right), grad, kept, 1)
    da, db = _normalisation_gradient(d_left, left), _normalisation_gradient(d_right, right)
    return da.to(a.dtype).contiguous(), db.to(b.dtype).contiguous()


def _fake(normalise: bool) -> Any:
    def fake(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dtype = accumulation_dtype(a.dtype)
        rows, left, right = a.shape[0], a.shape[1], b.shape[1]
        # No branch on the sizes, as in covariance_penalty.
        gram, none = rows * (left + right) <= left * right, 0 * rows * left * right
        kept = [
            torch.sym_ite(gram, few + none, many + none)  # type: ignore[no-untyped-call]
            for few, many in ((2 * rows, left), (rows, right))
        ]
        statistics = 2 * (left + right) + (2 * rows if normalise else 0)
        return (
            a.new_empty((), dtype=dtype),
            a.new_empty(kept, dtype=dtype),
            a.new_empty((statistics,), dtype=dtype),
        )

    return fake


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, *output[1:])


def _backward_fake(a: Tensor, b: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return a.new_empty(a.shape), b.new_empty(b.shape)


def _samples(dtype: torch.dtype, seed: int) -> Iterator[Sample]:
    generator = torch.Generator().manual_seed(seed)
    for rows, left, right in ((6, 3, 4), (3, 5, 2), (2, 1, 1), (3, 9, 7), (1, 3, 2), (0, 2, 3)):
        draws = (
            torch.randn((rows, width), generator=generator, dtype=torch.float64) + 1
            for width in (left, right)
        )
        yield Sample(f"B={rows} Da={left} Db={right}", tuple(draw.to(dtype) for draw in draws))


def _cost(a: Tensor, b: Tensor) -> Cost:
    return Cost(2 * a.shape[0] * a.shape[1] * b.shape[1], (a.numel() + b.numel()) * a.element_size())


def _spec(
    name: str,
    function: Any,
    normalise: bool,
    reference: Any,
    backward_reference: Any,
    equations: str,
    source: str,
) -> OpSpec:
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b, kept, statistics = ctx.saved_tensors  # once: checkpointing unpacks them once
        da, db = OPS[name].backward_overload(a, b, grad, kept, statistics, ctx.backend)
        return da, db

    families = {"cuda": _cross_cuda, "triton": _cross_triton, "cpu": _cross_native}
    kernels = {name: family.kernels(normalise) for name, family in families.items()}
    return OpSpec(
        name=name,
        function=function,
        schema="(Tensor a, Tensor b, str? backend=None) -> (Tensor, Tensor, Tensor)",
        reference=reference,
        check=_checker(name),
        fake=_fake(normalise),
        setup_context=_setup_context,
        backward=backward,
        backward_schema=(
            "(Tensor a, Tensor b, Tensor grad, Tensor kept, Tensor statistics, str? backend=None) "
            "-> (Tensor, Tensor)"
        ),
        backward_reference=backward_reference,
        backward_fake=_backward_fake,
        call=lambda a, b: backends.call_of(name, a, ("width", b.shape[1])),
        backward_options=lambda _a, b, *_: (("width", b.shape[1]),),
        autocast={"a": "float32", "b": "float32"},
        samples=_samples,
        cost=_cost,
        equations=equations,
        source=source,
        kernels={name: pair[0] for name, pair in kernels.items()},
        backward_kernels={name: pair[1] for name, pair in kernels.items()},
    )


CROSS_SPEC = _spec(
    _CROSS,
    cross_covariance_penalty,
    False,
    _cross_reference,
    _cross_backward_reference,
    "||(a - mean)^T (b - mean)||_F^2 / (B - 1)^2 / (Da Db)",
    "Bardes, Ponce, LeCun 2022 (VICReg), off-diagonal block; normalisation our choice",
)
ORTHOGONALITY_SPEC = _spec(
    _ORTHOGONALITY,
    orthogonality_penalty,
    True,
    _orthogonality_reference,
    _orthogonality_backward_reference,
    "mean((A^T B)^2), A and B centred over the batch with rows of unit norm",
    "Bousmalis et al. 2016 (DSN); Hazarika et al. 2020 (MISA)",
)
_CROSS_FORWARD, _ = register(CROSS_SPEC)
_ORTHOGONALITY_FORWARD, _ = register(ORTHOGONALITY_SPEC)
