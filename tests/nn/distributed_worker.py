"""One process of two, run by test_distributed_decorrelation: the covariance loss of its part of a batch."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from spinecore import nn as snn


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    cases = torch.load(folder / "cases.pt")
    results = []
    for z, mask, split in cases:
        part = slice(0, split) if rank == 0 else slice(split, None)
        rows = z[part].clone().requires_grad_()
        kept = None if mask is None else mask[part]
        loss = snn.CovarianceLoss(1.3, 0.7, process_group=dist.group.WORLD)
        value = loss(rows, kept)
        value.backward()
        results.append((value.detach(), rows.grad))
    torch.save(results, folder / f"result{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
