"""R2MF-Net end to end against its peers on the shipped weights: one thread, CPU time, in turns.

python benchmarks/r2mf_net.py                   512x256 and the default working size, batch 1 and 4
python benchmarks/r2mf_net.py --compile         also torch.compile with frozen parameters (minutes)
python benchmarks/r2mf_net.py --profile         also where the time goes, module by module and prepared
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable

import torch
from r2mf_net_plain import plain
from torch import Tensor, nn

import spinecore
from spinecore.bench.timing import keep_memory, one_thread, time_in_turns
from spinecore.nn.prepared import freeze

SIZES = ((512, 256), (512, 192))
BATCHES = (1, 4)
PEERS = ("eager", "compile", "onnxruntime", "openvino")


def peers(written_out: nn.Module, x: Tensor, compiled: bool) -> dict[str, Callable[[], object]]:
    """Every peer of a network of PyTorch's operations, ready to be called."""
    import onnxruntime
    import openvino

    calls: dict[str, Callable[[], object]] = {"eager": lambda: written_out(x)}
    content = io.BytesIO()
    torch.onnx.export(written_out, (x,), content, opset_version=17, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content.getvalue(), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.contiguous().numpy()}
    calls["onnxruntime"] = lambda: session.run(None, feed)
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    loaded = core.compile_model(core.read_model(io.BytesIO(content.getvalue())), "CPU", settings)
    request, given = loaded.create_infer_request(), openvino.Tensor(x.contiguous().numpy())
    calls["openvino"] = lambda: list(request.infer([given]).values())
    if compiled:
        import torch._inductor.config as inductor

        fast = torch.compile(written_out, dynamic=False)
        with inductor.patch(freezing=True):
            fast(x)
        calls["compile"] = lambda: fast(x)
    return calls


def where_the_time_goes(model: nn.Module, written_out: nn.Module, x: Tensor) -> None:
    """Self CPU time by operation, of the network module by module and in its prepared form."""
    for name, call in (("written out", written_out), ("spinecore", model)):
        call(x)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            for _ in range(5):
                call(x)
        print(f"where the time goes, {name}, five runs")
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    keep_memory()
    with one_thread(), torch.no_grad():
        for height, width in SIZES:
            model = spinecore.create_model("r2mf_net", weights="shipped").eval()
            model = model.to(memory_format=torch.channels_last)
            freeze(
                model
            )  # as `spinecore measure` does, and as every peer does that takes a copy of the weights
            for batch in BATCHES:
                x = torch.randn(batch, 2, height, width, generator=torch.Generator().manual_seed(0))
                x = x.contiguous(memory_format=torch.channels_last)
                written_out = plain(model)
                calls = {
                    "spinecore": lambda model=model, x=x: model(x),
                    **peers(written_out, x, given.compile),
                }
                expected = calls["eager"]()
                for name, call in calls.items():
                    for a, b in zip(call(), expected, strict=True):  # type: ignore[call-overload]
                        assert float((torch.as_tensor(a) - b).abs().max()) <= 1e-4, name
                seconds = time_in_turns(calls, rounds=9, seconds=0.06)
                best = min(seconds[name] for name in PEERS if name in seconds)
                cells = ", ".join(f"{name} {value * 1e3:.1f}" for name, value in seconds.items())
                print(f"{height}x{width} batch {batch}: ratio {best / seconds['spinecore']:.2f}; ms: {cells}")
                if given.profile:
                    where_the_time_goes(model, written_out, x)


if __name__ == "__main__":
    main()
