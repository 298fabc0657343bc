"""Does language help ATM-Net? The same backbone, steps and data with prompts, without text, with a learned
vector a class instead of words, and MONAI's U-Net: `unet` with our widths, `unet_equal` with three quarters
of them, which takes the CPU time a slice of our network where both are plain PyTorch
(`benchmarks/atm_net.py --unet`).

python benchmarks/atm_net_ablation.py --data DATA --out RUNS [--steps 900] [--seeds 1] [--variants ...]
python benchmarks/atm_net_ablation.py --data DATA --out RUNS --patients 4 --half [--steps 250]    few labels

DATA holds slices as images/ and masks/. Runs that are there go on or are kept; RUNS/table.md holds figures
on the held patients, every slice of them: Dice by structure, HD95 in pixels, and for `prompts` what other
prompts at test time change: predicted (two passes), oracle (from the annotation: an upper bound), shuffled
(each class gets the prompt of another). With --patients N only N of the training patients train, and figures
are those of the other training patients: nothing of the held ones is looked at. --half halves the slices.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from spinecore.plugins.atm_net.anatomy import CLASSES, STRUCTURES
from spinecore.plugins.atm_net.config import STRIDE, ATMConfig
from spinecore.plugins.atm_net.evaluation import figures
from spinecore.plugins.atm_net.prompted import ATMOutput
from spinecore.plugins.atm_net.prompts import described, generic
from spinecore.plugins.atm_net.slice_input import to_input
from spinecore.plugins.atm_net.task import SliceTask
from spinecore.plugins.atm_net.text import tokens
from spinecore.training.checkpoint import load_checkpoint
from spinecore.training.loop import Schedule, train

VARIANTS = ("prompts", "none", "one_hot", "unet", "unet_equal")
UNET_WIDTHS = {"unet": (16, 32, 64, 128, 192), "unet_equal": (12, 24, 48, 96, 144)}
SHUFFLED = (0, 2, 3, 1)

Mask = NDArray[np.uint8]


class UNet(nn.Module):
    """MONAI's U-Net, (B, C, H, W) -> `ATMOutput`; its first convolution halves the slice as our stem does."""

    def __init__(self, config: ATMConfig) -> None:
        super().__init__()
        from monai.networks.nets import UNet as MonaiUNet

        self.config = config
        self.net = MonaiUNet(2, config.in_channels, len(CLASSES), config.widths, (2,) * 4, num_res_units=2)

    def forward(self, x: Tensor, _prompts: Tensor | None = None) -> ATMOutput:
        height, width = x.shape[2:]
        padded = nn.functional.pad(x, (0, -width % STRIDE, 0, -height % STRIDE))
        none = x.new_empty(len(x), 0, 1)
        return ATMOutput(self.net(padded)[..., :height, :width], none, none)


class UNetTask(SliceTask):
    """`SliceTask` for MONAI's network."""

    def build(self) -> Any:
        torch.manual_seed(self.seed)
        return UNet(self.config)

    def save(self, model: Any, path: Path, figures_of: dict[str, float]) -> None:
        """The checkpoint of the loop is enough."""


def few(task: SliceTask, patients: int | None, half: bool) -> SliceTask:
    """The task on few patients, the other training patients held, and on slices of half the size."""
    if half:
        images = tuple(np.asarray(Image.fromarray(i).reduce(2)) for i in task.slices.images)
        masks = tuple(np.ascontiguousarray(mask[::2, ::2]) for mask in task.slices.masks)
        task.slices = replace(task.slices, images=images, masks=masks)
        task.size = tuple((side + 1) // 2 for side in task.size)
    if patients is not None:
        task.training, task.held = task.training[:patients], task.training[patients:]
        task.train = np.array(task.slices.of(task.training))
        task.validation = task.slices.of(task.held)[::9]
        task.steps_per_epoch = len(task.train) // task.batch
    return task


def trained(
    variant: str, data: Path, run: Path, steps: int, seed: int, patients: int | None, half: bool
) -> tuple[SliceTask, nn.Module, float]:
    """Task, averaged network and seconds a step."""
    if variant in UNET_WIDTHS:
        config = {"text": "none", "widths": UNET_WIDTHS[variant]}
        task: SliceTask = UNetTask(data, config=config, seed=seed)
    else:
        task = SliceTask(data, config={"text": variant}, seed=seed)
    task = few(task, patients, half)
    schedule = Schedule(steps=steps, ema=0.995, weight_decay=1e-2, bf16=False, validate_every=steps)
    train(task, schedule, run)
    model = task.build().to(memory_format=torch.channels_last)
    average = task.build().to(memory_format=torch.channels_last)
    meta = load_checkpoint(
        run / "checkpoint.safetensors", model, average, torch.optim.AdamW(model.parameters())
    )
    return task, average.eval(), meta["seconds"] / meta["step"]


@torch.inference_mode()
def segment(model: nn.Module, pixels: Mask, prompts: tuple[str, ...]) -> Mask:
    x = to_input(pixels).contiguous(memory_format=torch.channels_last)
    given = tokens(prompts)[None] if model.config.text == "prompts" else None  # type: ignore[union-attr]
    return model(x, given).logits[0].argmax(0).numpy().astype(np.uint8)  # type: ignore[no-any-return]


def shuffled() -> tuple[str, ...]:
    plain = generic()
    return tuple(plain[i] for i in SHUFFLED)


def ways(variant: str) -> dict[str, Callable[[nn.Module, Mask, Mask], Mask]]:
    """Names of rows and how each segments (model, slice, annotation)."""
    rows = {variant: lambda model, pixels, _truth: segment(model, pixels, generic())}
    if variant == "prompts":
        rows |= {
            "prompts, predicted": lambda model, pixels, _truth: segment(
                model, pixels, described(segment(model, pixels, generic()))
            ),
            "prompts, shuffled": lambda model, pixels, _truth: segment(model, pixels, shuffled()),
            "prompts, oracle": lambda model, pixels, truth: segment(model, pixels, described(truth)),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--patients", type=int)
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    given = parser.parse_args()
    heads = ["dice", *(f"dice_{name}" for name in STRUCTURES), *(f"hd95_{name}" for name in STRUCTURES)]
    lines = [
        f"| variant | seed | parameters | s a step | {' | '.join(heads)} |",
        "|---" * (len(heads) + 4) + "|",
    ]
    torch.set_num_threads(1)
    for seed in given.seeds:
        for variant in given.variants:
            task, model, seconds = trained(
                variant,
                given.data,
                given.out / f"{variant}-{seed}",
                given.steps,
                seed,
                given.patients,
                given.half,
            )
            size = sum(p.numel() for p in model.parameters())
            held = task.slices.of(task.held)
            for name, way in ways(variant).items():
                begin = time.process_time()
                found = [way(model, task.slices.images[i], task.slices.masks[i]) for i in held]
                print(f"{name}: {(time.process_time() - begin) / len(held):.3f} s a slice")
                values = figures(found, [task.slices.masks[i] for i in held], distances=True)
                cells = " | ".join(
                    f"{values[head]:.4f}" if "dice" in head else f"{values[head]:.1f}" for head in heads
                )
                lines.append(f"| {name} | {seed} | {size / 1e6:.2f} M | {seconds:.2f} | {cells} |")
            (given.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
