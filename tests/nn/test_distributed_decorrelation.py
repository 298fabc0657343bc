"""The covariance loss over a process group is that of the concatenated batch: two processes over gloo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from spinecore import nn as snn

WORKER = Path(__file__).with_name("distributed_worker.py")


def make_cases() -> list[tuple[torch.Tensor, torch.Tensor | None, int]]:
    generator = torch.Generator().manual_seed(0)

    def draw(rows: int, width: int) -> torch.Tensor:
        return torch.randn((rows, width), generator=generator, dtype=torch.float64)

    mask = torch.arange(11) % 3 != 1
    dirty = draw(11, 4)
    dirty[~mask] = torch.nan
    return [
        (draw(9, 4) * 0.7 + 3, None, 4),
        (dirty, mask, 6),
        (draw(6, 20), None, 5),  # fewer rows than features
        (draw(5, 3), None, 0),  # one process has no rows
        (draw(3, 3), torch.tensor([False, True, False]), 1),  # one row that counts
        ((draw(40, 7) + 1000).float(), None, 30),
        (draw(12, 5).bfloat16(), None, 6),
    ]


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="only on Linux: gloo")
def test_two_processes_have_the_loss_and_the_gradient_of_the_concatenated_batch(tmp_path: Path) -> None:
    cases = make_cases()
    torch.save(cases, tmp_path / "cases.pt")
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(tmp_path), str(rank)], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    first, second = (torch.load(tmp_path / f"result{rank}.pt") for rank in range(2))
    for (z, mask, _), (loss, upper), (other, lower) in zip(cases, first, second, strict=True):
        assert torch.equal(loss, other)
        whole = z.double().requires_grad_()
        wanted = snn.CovarianceLoss(1.3, 0.7)(whole, mask)
        wanted.backward()
        assert whole.grad is not None
        got = torch.cat((upper, lower))
        assert got.dtype is z.dtype
        tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}[z.dtype]
        torch.testing.assert_close(loss.double(), wanted.detach(), rtol=min(tolerance, 1e-5), atol=1e-12)
        torch.testing.assert_close(
            got.double(), whole.grad, rtol=tolerance, atol=tolerance * float(whole.grad.abs().max())
        )
