"""Every operator, by its OpSpec: nothing of the contract is missing, and every part of it holds."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from spinecore import ops
from spinecore.ops import OPS, OpSpec
from spinecore.testing import (
    backward_arguments,
    cast_arguments,
    leaves,
    outputs_and_gradients,
    runnable_backends,
)

SPECS = [pytest.param(spec, id=name) for name, spec in OPS.items()]
EVERY_TEST = {"test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"}


def first_sample(spec: OpSpec, dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
    return next(iter(spec.samples(dtype, 0))).args


def differentiable(spec: OpSpec, *args: Any) -> Any:
    result = spec.overload(*args)
    return result if isinstance(result, Tensor) else result[: spec.differentiable]


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for item in value for t in tensors(item)] if isinstance(value, (list, tuple)) else []


def test_every_public_function_is_registered() -> None:
    functions = {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}
    assert functions == set(OPS)


@pytest.mark.parametrize("spec", SPECS)
def test_no_part_of_the_contract_is_missing(spec: OpSpec) -> None:
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        assert value is not None
        if field.name not in ("kernels", "backward_kernels"):
            assert value or value == 0, f"{spec.name} has no {field.name}"
    keys = [f"Autocast{device}" for device in ("CPU", "CUDA")]
    for overload in (spec.overload, spec.backward_overload):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(overload.name(), "Meta"), "no fake"
        assert torch._C._dispatch_has_kernel_for_dispatch_key(overload.name(), "Autograd"), "no autograd"
        assert overload._schema.arguments[-1].name == "backend"
    for key in keys:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(spec.overload.name(), key), f"no rule for {key}"
    names = {argument.name for argument in spec.overload._schema.arguments}
    assert set(spec.autocast) <= names
    assert "backend" in inspect.signature(spec.function).parameters
    assert len(list(spec.samples(torch.float32, 0))) >= 4


@pytest.mark.parametrize("spec", SPECS)
def test_the_documentation_says_shapes_and_source(spec: OpSpec) -> None:
    text = inspect.getdoc(spec.function) or ""
    assert "Args:" in text
    assert "Returns:" in text
    assert "Source:" in text
    tree = ast.parse(inspect.getsource(spec.function))
    arguments = [a.arg for a in tree.body[0].args.args + tree.body[0].args.kwonlyargs]  # type: ignore[attr-defined]
    missing = [argument for argument in arguments if f"{argument}" not in text]
    assert not missing, f"{spec.name} does not document {missing}"


@pytest.mark.parametrize("spec", SPECS)
def test_the_cost_model_counts_work(spec: OpSpec) -> None:
    cost = spec.cost(*first_sample(spec))
    assert cost.flops > 0
    assert cost.bytes > 0


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_opcheck(spec: OpSpec, dtype: torch.dtype) -> None:
    for sample in spec.samples(dtype, 0):
        # Tracing under autograd compares two runs to fp32 precision: in bf16 their different orders of
        # summation differ.
        wanted = EVERY_TEST if dtype is torch.float32 else EVERY_TEST - {"test_aot_dispatch_dynamic"}
        result = torch.library.opcheck(spec.overload, tuple(leaves(sample.args)), test_utils=sorted(wanted))
        assert result == dict.fromkeys(sorted(wanted), "SUCCESS"), sample.label


@pytest.mark.parametrize("spec", SPECS)
def test_opcheck_of_the_backward(spec: OpSpec) -> None:
    for sample in spec.samples(torch.float32, 1):
        result = torch.library.opcheck(spec.backward_overload, backward_arguments(spec, sample.args))
        assert result == dict.fromkeys(EVERY_TEST, "SUCCESS"), sample.label


@pytest.mark.parametrize("spec", SPECS)
def test_gradcheck_in_double_precision(spec: OpSpec) -> None:
    for sample in spec.samples(torch.float64, 2):
        inputs = leaves(sample.args)
        assert torch.autograd.gradcheck(lambda *args: differentiable(spec, *args), inputs, fast_mode=True), (
            sample.label
        )


@pytest.mark.parametrize("spec", SPECS)
def test_a_second_derivative_is_refused_in_words(spec: OpSpec) -> None:
    inputs = leaves(first_sample(spec, torch.float64))
    total = sum(output.square().sum() for output in tensors(differentiable(spec, *inputs)))
    grads = torch.autograd.grad(total, [inputs[0]], create_graph=True)
    with pytest.raises(NotImplementedError, match=rf"{spec.name} has no second derivative"):
        grads[0].sum().backward()


@pytest.mark.parametrize("spec", SPECS)
def test_forward_mode_is_refused_instead_of_giving_zeros(spec: OpSpec) -> None:
    """Torch runs an operator without a forward-mode rule and drops the tangents: a derivative of zero."""
    args = first_sample(spec)

    def of_first(value: Tensor) -> Any:
        return tensors(spec.function(value, *args[1:]))[0]

    with pytest.raises(NotImplementedError, match=rf"{spec.name} has no forward-mode derivative"):
        torch.func.jvp(of_first, (args[0],), (torch.ones_like(args[0]),))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(args[0], torch.ones_like(args[0]))
        with pytest.raises(NotImplementedError, match=rf"{spec.name} has no forward-mode derivative"):
            of_first(dual)
    of_first(args[0])


@pytest.mark.parametrize("spec", SPECS)
def test_compiled_without_a_graph_break(spec: OpSpec) -> None:
    torch._dynamo.reset()
    args = first_sample(spec)

    def step(*inputs: Any) -> Any:
        outputs = tensors(spec.function(*inputs))
        return [output * 2 for output in outputs]

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    eager_outputs, eager_gradients = outputs_and_gradients(lambda *a: tuple(step(*a)), args)
    outputs, gradients = outputs_and_gradients(lambda *a: tuple(compiled(*a)), args)
    for got, wanted in zip(outputs + gradients, eager_outputs + eager_gradients, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("name", ["scse_gate", "recurrent_residual_conv_bn"])
def test_compiled_by_inductor(name: str) -> None:
    torch._dynamo.reset()
    spec = OPS[name]
    args = first_sample(spec)

    def step(x: Tensor, *rest: Any) -> Tensor:
        return tensors(spec.function(torch.relu(x), *rest))[0] * 2

    outputs, gradients = outputs_and_gradients(torch.compile(step, fullgraph=True), args)
    eager_outputs, eager_gradients = outputs_and_gradients(step, args)
    for got, wanted in zip(outputs + gradients, eager_outputs + eager_gradients, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("spec", SPECS)
def test_exported_graph_holds_the_operator(spec: OpSpec) -> None:
    args = first_sample(spec)
    inputs = tuple(value for value in args if isinstance(value, Tensor))

    class Model(torch.nn.Module):
        def forward(self, *given: Tensor) -> Any:
            rest = iter(given)
            return spec.function(*(next(rest) if isinstance(value, Tensor) else value for value in args))

    program = torch.export.export(Model(), inputs)
    assert spec.overload in {node.target for node in program.graph.nodes}
    for got, wanted in zip(tensors(program.module()(*inputs)), tensors(spec.function(*args)), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("spec", SPECS)
def test_autocast_casts_by_the_rule(spec: OpSpec) -> None:
    args = first_sample(spec)
    names = [argument.name for argument in spec.overload._schema.arguments]
    expected = [
        value.bfloat16() if isinstance(value, Tensor) and spec.autocast.get(name) == "lower" else value
        for name, value in zip(names, args, strict=False)
    ]
    # As after a convolution under autocast: what the rule leaves alone may already be half precision.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, gradients = outputs_and_gradients(spec.function, args)
    plain_outputs, _ = outputs_and_gradients(spec.function, expected)
    for got, wanted in zip(outputs, plain_outputs, strict=True):
        assert got.dtype is wanted.dtype
        torch.testing.assert_close(got, wanted)
    wanted_dtypes = [value.dtype for value in args if isinstance(value, Tensor) and value.is_floating_point()]
    assert [gradient.dtype for gradient in gradients] == wanted_dtypes
    double = cast_arguments(args, torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tensors(spec.function(*double))[0].dtype is torch.float64


@pytest.mark.parametrize("spec", SPECS)
def test_every_element_of_every_output_is_written(spec: OpSpec, nan_memory: None) -> None:
    for sample in spec.samples(torch.float32, 3):
        for backend in runnable_backends(spec, sample.args):
            outputs, gradients = outputs_and_gradients(
                lambda *a, b=backend: spec.overload(*a, b), _whole(spec, sample.args)
            )
            for tensor in (*tensors(outputs), *gradients):
                assert not tensor.isnan().any(), f"{sample.label} on {backend}"


def _whole(spec: OpSpec, args: tuple[Any, ...]) -> list[Any]:
    """All arguments but the backend, defaults included."""
    rest = spec.overload._schema.arguments[len(args) : -1]
    return [*args, *(argument.default_value for argument in rest)]


@pytest.mark.parametrize("spec", SPECS)
def test_half_precision_runs_where_torch_can(spec: OpSpec) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        for sample in spec.samples(dtype, 4):
            outputs, gradients = outputs_and_gradients(spec.function, sample.args)
            assert all(torch.isfinite(tensor).all() for tensor in (*outputs, *gradients)), (
                dtype,
                sample.label,
            )


@pytest.mark.parametrize("spec", SPECS)
def test_twice_the_same_bits(spec: OpSpec) -> None:
    for sample in spec.samples(torch.float32, 5):
        first, second = (outputs_and_gradients(spec.function, sample.args) for _ in range(2))
        for a, b in zip((*first[0], *first[1]), (*second[0], *second[1]), strict=True):
            assert torch.equal(a, b), sample.label


@pytest.mark.parametrize("spec", SPECS)
def test_global_defaults_change_nothing(spec: OpSpec) -> None:
    args = first_sample(spec)
    expected = outputs_and_gradients(spec.function, args)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            inputs = leaves(args)
            result = tensors(spec.function(*inputs))
    finally:
        torch.set_default_dtype(torch.float32)
    for got, wanted in zip(result, expected[0], strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("spec", SPECS)
def test_inputs_are_left_alone(spec: OpSpec) -> None:
    for sample in spec.samples(torch.float32, 6):
        copies = [value.clone() for value in sample.args if isinstance(value, Tensor)]
        outputs_and_gradients(spec.function, sample.args)
        for copy, value in zip(copies, (v for v in sample.args if isinstance(v, Tensor)), strict=True):
            assert torch.equal(copy, value), sample.label


def test_integers_are_refused_with_a_remedy() -> None:
    for spec in OPS.values():
        args = list(first_sample(spec))
        args[0] = torch.zeros(args[0].shape, dtype=torch.int64)
        with pytest.raises(
            TypeError, match=rf"{spec.name}: \w+ has dtype torch.int64; expected .*\.float\(\)"
        ):
            spec.function(*args)


def test_tensors_without_strides_are_refused_with_a_remedy() -> None:
    for spec in OPS.values():
        args = list(first_sample(spec))
        args[0] = args[0].to_sparse()
        with pytest.raises(
            TypeError, match=rf"{spec.name}: \w+ has layout torch.sparse_coo; .*\.to_dense\(\)"
        ):
            spec.function(*args)


def test_a_graph_of_any_size_is_compiled_once() -> None:
    """Batch and image sizes are symbols of one graph; results and gradients keep the layout of x."""
    from torch._dynamo.testing import CompileCounterWithBackend

    args = first_sample(OPS["scse_gate"])
    rest = args[1:]
    for layout in (torch.contiguous_format, torch.channels_last):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("inductor")

        def step(x: Tensor) -> Tensor:
            return ops.scse_gate(torch.relu(x), *rest) * 2

        compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=counter)
        for size in ((2, 8, 6, 7), (3, 8, 5, 9), (4, 8, 11, 2)):
            x = torch.randn(size).contiguous(memory_format=layout).requires_grad_()
            y = compiled(x)
            y.sum().backward()
            torch.testing.assert_close(y, step(x))
            assert y.is_contiguous(memory_format=layout)
            assert x.grad is not None
            assert x.grad.is_contiguous(memory_format=layout)
        assert counter.frame_count == 1


def test_a_lazily_negated_tensor_is_resolved_before_a_kernel_reads_it() -> None:
    x, *rest = first_sample(OPS["scse_gate"])
    imaginary = (
        torch.complex(torch.zeros_like(x), x).conj().imag
    )  # -x, by a bit that only the dispatcher sees
    assert imaginary.is_neg()
    torch.testing.assert_close(ops.scse_gate(imaginary, *rest), ops.scse_gate(-x, *rest))


WRONG = [
    ("scse_gate", 0, torch.zeros(2, 8, 5), r"x is of shape \(2, 8, 5\); expected \(N, C, H, W\)"),
    ("scse_gate", 1, torch.zeros(4, 9), r"w1 is of shape \(4, 9\); expected \(h, C\) with h >= 1, C = 8"),
    ("scse_gate", 3, torch.zeros(8, 5), r"w2 is of shape \(8, 5\); expected \(C, h\) = \(8, 4\)"),
    ("scse_gate", 5, torch.zeros(1, 8), r"ws is of shape \(1, 8\); expected \(C,\) = \(8,\)"),
    ("scse_gate", 7, "mean", r"mode is 'mean'; expected one of add, max"),
    ("recurrent_residual_conv", 1, torch.zeros(4, 4, 2, 2), r"w_in is of shape .* k odd"),
    (
        "recurrent_residual_conv",
        3,
        torch.zeros(2, 4),
        r"scale is of shape \(2, 4\); expected \(C,\) = \(4,\) or",
    ),
    ("recurrent_residual_conv", 5, -1, r"steps is -1; expected an integer >= 0"),
    ("recurrent_residual_conv_bn", 5, 0.0, r"eps is 0.0; expected a number > 0"),
    (
        "recurrent_residual_conv_bn",
        1,
        torch.zeros(4, 4, 3, 3).double(),
        r"w_in has dtype torch.float64; expected",
    ),
    ("conv1x1", 1, torch.zeros(4, 3, 3, 3), r"w is of shape .*torch.nn.functional.conv2d"),
    ("conv1x1", 2, torch.zeros(3), r"bias is of shape \(3,\); expected \(D,\) = \(4,\)"),
    ("conv1x1_bn", 1, torch.zeros(4, 2, 1, 1), r"w is of shape .* \(D, C, 1, 1\) with C = 3"),
    ("conv1x1_bn", 2, torch.zeros(3), r"gamma is of shape \(3,\); expected \(D,\) = \(4,\)"),
    ("conv1x1_bn", 4, 0.0, r"eps is 0.0; expected a number > 0"),
    ("conv1x1_bn", 5, "gelu", r"activation is 'gelu'; expected one of none, relu"),
    ("conv3x3", 1, torch.zeros(4, 3, 5, 5), r"w is of shape .*torch.nn.functional.conv2d"),
    ("conv3x3", 3, "gelu", r"activation is 'gelu'; expected one of none, relu"),
    ("conv3x3", 4, torch.zeros(2, 3, 6, 5), r"residual is of shape .* \(N, D, H, W\) = \(2, 4, 6, 5\)"),
    ("latent_attention_pool", 6, 3, r"heads is 3; expected a divisor of D = 8"),
    ("latent_attention_pool", 7, torch.ones(2, 5), r"mask has dtype torch.float32; expected torch.bool"),
    (
        "latent_attention_pool",
        8,
        torch.zeros(3, 4),
        r"bias is of shape \(3, 4\); expected \(R, N\) = \(3, 5\)",
    ),
    ("latent_dictionary_pool", 1, torch.zeros(3, 4), r"dictionary is of shape \(3, 4\); expected \(R, D\)"),
    ("covariance_penalty", 1, torch.ones(4).bool(), r"mask is of shape \(4,\); expected \(B,\) = \(9,\)"),
    (
        "cross_covariance_penalty",
        1,
        torch.zeros(5, 4),
        r"b is of shape \(5, 4\); expected as many rows as a, B = 6",
    ),
]


@pytest.mark.parametrize(("name", "position", "value", "message"), WRONG)
def test_a_wrong_argument_is_named_in_eager_mode_and_when_traced(
    name: str, position: int, value: Any, message: str
) -> None:
    spec = OPS[name]
    args = _whole(spec, first_sample(spec))
    args[position] = value
    with pytest.raises((ValueError, TypeError), match=f"^{name}: {message}"):
        spec.overload(*args)
    with (
        torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True),
        pytest.raises(Exception, match=message),
    ):
        spec.overload(*args)
