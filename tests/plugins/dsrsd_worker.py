"""One process of two under torchrun, run by test_dsrsd_losses: the loss of its part of a batch and its
gradients.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from spinecore.plugins.dsrsd_net.network import DSRSDNet
from spinecore.plugins.dsrsd_net.samples import Samples
from spinecore.plugins.dsrsd_net.synthetic import known_factors
from spinecore.plugins.dsrsd_net.training import batch_loss


def build() -> tuple[DSRSDNet, Samples]:
    """The same model and batch in every process, in double precision."""
    import dataclasses

    from spinecore.plugins.dsrsd_net.config import DSRSDConfig

    samples = known_factors(37, 3, shared=3, private=2, columns=9, missing=0.3).samples
    samples = dataclasses.replace(samples, inputs=tuple(x.double() for x in samples.inputs))
    config = DSRSDConfig(modalities=samples.modalities, width=12, factors=5, dropout=0.0, private_spread=0.2)
    torch.manual_seed(0)
    return DSRSDNet(config).double(), samples


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model, samples = build()
    part = samples.batch(torch.arange(0, 14) if rank == 0 else torch.arange(14, 37))
    loss, _ = batch_loss(model, part, dist.group.WORLD)
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
    torch.save({n: p.grad for n, p in model.named_parameters()}, folder / f"gradient{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
