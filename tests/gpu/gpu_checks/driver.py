"""Every operator once, forward and backward, with small and odd sizes: what compute-sanitizer runs.

python -m gpu_checks.driver --device cuda [--backend cuda]
"""

from __future__ import annotations

import argparse

import torch

from gpu_checks import stand_in
from gpu_checks.operators import WITH_KERNELS, forward_backward, leaves, samples
from gpu_checks.processors import Processor, processors


def run(processor: Processor, backend: str) -> int:
    """The number of calls that ran."""
    calls = 0
    for name in WITH_KERNELS:
        for args in samples(name, backend):
            results = forward_backward(name, leaves(args, processor.device), backend)
            processor.settle()
            assert all(bool(result.isfinite().all()) for result in results), name
            calls += 1
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--backend", choices=("cuda", "triton"), default="cuda")
    given = parser.parse_args()
    if given.device == "cpu":
        torch.set_num_threads(1)
        stand_in.install()
    calls = run(processors(given.device)[0], given.backend)
    print(f"{calls} calls of {len(WITH_KERNELS)} operators on {given.backend}")


if __name__ == "__main__":
    main()
