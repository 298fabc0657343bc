"""A launch that the device refuses: after a failed assertion every one does, hence a process of its own.

python -m gpu_checks.refused_launch --device cuda     prints the exception of the operator
"""

from __future__ import annotations

import argparse
import os
from contextlib import suppress

import torch

from gpu_checks import stand_in
from spinecore import _native


def _break(device: torch.device) -> None:
    """Nothing can be launched any more."""
    if device.type == "cpu":
        os.environ["EMULATION_REFUSES_LAUNCHES"] = "1"
        return
    with suppress(RuntimeError):
        torch.zeros(2, device=device)[torch.tensor([5], device=device)]
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    device = torch.device(parser.parse_args().device)
    if device.type == "cpu":
        stand_in.install()
    image = torch.ones(2, 4, 5, 3, device=device).contiguous(memory_format=torch.channels_last)
    none = torch.empty(0, device=device)
    given = dict.fromkeys(("scale", "shift", "addend", "before", "after", "raw"), none)
    given |= {"x": image, "w": torch.ones(6, 9, 4, device=device)}
    given["y"] = torch.empty(2, 6, 5, 3, device=device).contiguous(memory_format=torch.channels_last)
    core = _native.core()
    core.cuda_conv3x3_forward(**given, relu=False, tf32=False, stream=0)
    _break(device)
    try:
        core.cuda_conv3x3_forward(**given, relu=False, tf32=False, stream=0)
    except RuntimeError as error:
        print(f"RuntimeError: {error}", flush=True)
    os._exit(0)  # a broken device also fails what would run at the end


if __name__ == "__main__":
    main()
