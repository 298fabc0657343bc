"""The GPU benchmark without a GPU: the model behind the prediction, and the measuring on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spinecore import backends
from spinecore.bench import gpu, roofline
from spinecore.ops import _latent_absorbed

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "scse_gate": (1, 16, 8, 8),
    "covariance_decorrelation": (24, 16),
    "latent_attention_pool": (2, 32, 16, 4, 8),
    "conv3x3": (1, 8, 8, 8),
    "recurrent_residual_conv": (1, 8, 8, 8),
}


@pytest.mark.parametrize("operator", gpu.PROBLEMS)
def test_every_variant_computes_what_the_operator_means(operator: str) -> None:
    """Ours (here its reference) and the peers, both directions, within the tolerance of the dtype."""
    for element in roofline.OPERATORS[operator][2]:
        rows = gpu.measure(
            operator, SMALL[operator], element, torch.device("cpu"),
            backends=["reference"], compiled=False, rounds=1, seconds=0,
        )  # fmt: skip
        assert [row.direction for row in rows] == ["forward", "forward + backward"]
        for row in rows:
            assert row.refused == {}
            assert len(row.seconds) == 1 + len(gpu.PROBLEMS[operator](SMALL[operator]).peers)
        assert "NVIDIA H100" in gpu.markdown(rows, "NVIDIA H100 80GB HBM3")


def test_a_wrong_or_failing_variant_is_named_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return x * 1.5

    honest = gpu.PROBLEMS["conv3x3"]((1, 8, 8, 8))
    problem = gpu.Problem(honest.ours, {"eager wrong": wrong}, honest.inputs)
    monkeypatch.setitem(gpu.PROBLEMS, "conv3x3", lambda _shape: problem)
    row, _ = gpu.measure(
        "conv3x3", (1, 8, 8, 8), 4, torch.device("cpu"),
        backends=["cuda", "reference"], compiled=False, rounds=1, seconds=0,
    )  # fmt: skip
    assert list(row.seconds) == ["spinecore reference"]
    assert row.refused["eager wrong"].startswith("relative error")
    assert row.refused["spinecore cuda"].startswith("BackendUnavailable")


@pytest.mark.parametrize("shape", [(8, 1024, 512, 304, 8), (4, 2048, 1024, 220, 16), (64, 256, 256, 150, 8)])
def test_absorbed_halves_are_predicted_to_beat_keys_and_values_where_they_are_chosen(
    shape: tuple[int, ...],
) -> None:
    """At nearly three times the operations, on every card, the reference at best."""
    batch, tokens, width, rows, heads = shape
    call = backends.Call(
        "latent_attention_pool", "cuda", torch.float16, (batch, tokens, width), "contiguous",
        (("latents", rows), ("heads", heads)),
    )  # fmt: skip
    assert 2.8 < heads * rows / (width + rows) < 3
    assert _latent_absorbed.worthwhile_cuda(call).ok
    ours, _ = roofline.latent_attention_pool(shape, 2)
    theirs = roofline.latent_attention_pool_reference(shape, 2)
    for card in roofline.CARDS:
        assert ours.seconds(card)[1] < theirs.seconds(card)[0], card.name


def test_the_notes_have_the_predicted_table() -> None:
    """`python -m spinecore.bench.roofline` prints it anew."""
    notes = (ROOT / "benchmarks/NOTES.md").read_text(encoding="utf-8")
    for line in roofline.table().splitlines():
        assert line in notes, line


def test_the_model() -> None:
    """Bytes over bandwidth where that is more; what L2 may keep is a range."""
    card = roofline.card_named("NVIDIA H100 80GB HBM3")
    assert card is not None
    assert roofline.card_named("NVIDIA GeForce RTX 4090") is None
    read = roofline.Prediction(3.35e9, launches=2)
    assert read.seconds(card) == pytest.approx((1.005e-3, 1.005e-3))
    low, high = roofline.scse_gate((1, 64, 128, 128), 4)[0].seconds(card)
    assert high - low == pytest.approx(64 * 128 * 128 * 4 / 3.35e12)
    work = roofline.Prediction(1.0, 0.6 * 67e9, launches=0)
    assert work.seconds(card)[0] == pytest.approx(1e-3)


def test_without_a_gpu_the_benchmark_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/run_gpu.py"],
        cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "torch finds no CUDA device" in done.stderr
