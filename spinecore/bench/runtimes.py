"""ONNX Runtime and OpenVINO, where they are installed."""

from __future__ import annotations

import importlib
import io
from functools import lru_cache
from typing import Any

import torch

from spinecore.bench.case import Call, Inputs, Unavailable
from spinecore.bench.models import Formula, as_model, quiet_libraries


@lru_cache(maxsize=2)  # both runtimes take the same models
def _onnx(formula: Formula, inputs: Inputs, leading: int) -> tuple[bytes, list[Any]]:
    """The model in ONNX form, in NCHW as both runtimes want it, and its inputs as arrays."""
    _required("onnx")
    _required("onnxscript")
    model, given = as_model(formula, inputs, "nchw", leading)
    with quiet_libraries(), torch.no_grad():
        # Both runtimes optimise by themselves; the exporter's own rewriting has returned wrong values.
        program = torch.onnx.export(model, given, dynamo=True, optimize=False, verbose=False)
    assert program is not None
    return program.model_proto.SerializeToString(), [tensor.numpy() for tensor in given]


def _required(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        remedy = "pip install 'spinecore-torch[bench]'"
        raise Unavailable(f"{package} is not installed ({error}): {remedy}") from error


def onnxruntime(formula: Formula, inputs: Inputs, leading: int = 1) -> Call:
    """ONNX Runtime on one thread."""
    runtime = _required("onnxruntime")
    content, arrays = _onnx(formula, inputs, leading)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = dict(zip((entry.name for entry in session.get_inputs()), arrays, strict=True))
    return lambda: session.run(None, feed)


def openvino(formula: Formula, inputs: Inputs, leading: int = 1, precision: str = "f32") -> Call:
    """OpenVINO on one thread; its own choice of precision would be bfloat16."""
    runtime = _required("openvino")
    content, arrays = _onnx(formula, inputs, leading)
    core = runtime.Core()
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = core.compile_model(core.read_model(io.BytesIO(content)), "CPU", settings)
    request = compiled.create_infer_request()
    given = [runtime.Tensor(array, shared_memory=True) for array in arrays]
    outputs = len(compiled.outputs)

    def call() -> list[Any]:
        request.infer(given, share_outputs=True)
        return [request.get_output_tensor(index).data for index in range(outputs)]

    return call
