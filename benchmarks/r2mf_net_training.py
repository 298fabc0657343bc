"""A training step of R2MF-Net beside eager PyTorch: forward, loss, backward, AdamW; one thread, CPU time.

python benchmarks/r2mf_net_training.py              batch 2 at the default working size
python benchmarks/r2mf_net_training.py --profile    also where the time goes
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import torch
from r2mf_net_plain import plain
from torch import Tensor, nn

import spinecore
from spinecore.bench.timing import keep_memory, one_thread, time_in_turns
from spinecore.plugins.r2mf_net.loss import r2mf_loss

BATCH, HEIGHT, WIDTH = 2, 512, 192


def step_of(model: nn.Module, layout: torch.memory_format) -> Callable[[], Tensor]:
    """One training step, ready to be called; answers with the loss."""
    model = copy.deepcopy(model).train().to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, 2, HEIGHT, WIDTH, generator=generator).contiguous(memory_format=layout)
    mask = torch.rand(BATCH, 1, HEIGHT, WIDTH, generator=generator)
    corners = torch.rand(BATCH, 17, 4, 2, generator=generator) * 1.6 - 0.8

    def step() -> Tensor:
        loss, _ = r2mf_loss(model(x), mask, corners, (HEIGHT, WIDTH), torch.Generator().manual_seed(1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    keep_memory()
    model = spinecore.create_model("r2mf_net", weights="shipped")
    steps = {
        "spinecore": step_of(model, torch.channels_last),
        "eager nchw": step_of(plain(model), torch.contiguous_format),
        "eager nhwc": step_of(plain(model), torch.channels_last),
    }
    with one_thread():
        losses = [float(step()) for step in steps.values()]
        assert max(losses) - min(losses) <= 1e-5 * max(losses), losses
        seconds = time_in_turns(steps, rounds=9, seconds=0.3)
        best = min(value for name, value in seconds.items() if name != "spinecore")
        cells = ", ".join(f"{name} {value * 1e3:.0f}" for name, value in seconds.items())
        print(f"batch {BATCH}, {HEIGHT}x{WIDTH}: ratio {best / seconds['spinecore']:.2f}; ms: {cells}")
        for name in ("spinecore", "eager nhwc") if given.profile else ():
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                for _ in range(3):
                    steps[name]()
            print(f"where the time goes, {name}, three steps")
            print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=16))


if __name__ == "__main__":
    main()
