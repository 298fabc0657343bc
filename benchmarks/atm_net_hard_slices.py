"""Where could words help ATM-Net? The networks of `atm_net_ablation.py` on slices that lack something.

python benchmarks/atm_net_hard_slices.py --data DATA --runs RUNS [--seed 1]

Every slice of the held patients, as it is and made hard: noise, a quarter of the resolution, only its lower
half; and those slices that do not show a whole canal. Rows: the backbone alone, one-hot classes, and prompts:
generic, shuffled, of the annotation of a neighbouring slice of the same scan, of the annotation itself (an
upper bound; of the part that is shown). Nothing is chosen on these figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from atm_net_ablation import segment, shuffled
from numpy.typing import NDArray
from torch import nn

from spinecore.plugins.atm_net.anatomy import CANAL
from spinecore.plugins.atm_net.evaluation import figures
from spinecore.plugins.atm_net.prompts import described, generic
from spinecore.plugins.atm_net.task import SliceTask
from spinecore.training.checkpoint import load_checkpoint

SHORT_CANAL = 0.5
"""A canal with fewer pixels than this share of the largest of its scan is not whole."""

Mask = NDArray[np.uint8]
Case = tuple[Mask, Mask, Mask]  # pixels, annotation, annotation of a neighbour


def averaged(task: SliceTask, run: Path) -> nn.Module:
    """The moving average of a run's weights."""
    model, average = task.build(), task.build()
    load_checkpoint(run / "checkpoint.safetensors", model, average, torch.optim.AdamW(model.parameters()))
    return average.eval()


def noisy(case: Case, rng: np.random.Generator) -> Case:
    pixels = case[0] + 40 * rng.standard_normal(case[0].shape)
    return pixels.clip(0, 255).astype(np.uint8), *case[1:]


def coarse(case: Case, _rng: np.random.Generator) -> Case:
    pixels = torch.from_numpy(case[0])[None, None].float()
    small = nn.functional.avg_pool2d(pixels, 4, ceil_mode=True)
    back = nn.functional.interpolate(small, case[0].shape, mode="bilinear", align_corners=False)
    return back[0, 0].numpy().astype(np.uint8), *case[1:]


def lower(case: Case, _rng: np.random.Generator) -> Case:
    half = len(case[0]) // 2
    return tuple(np.ascontiguousarray(part[half:]) for part in case)  # type: ignore[return-value]


def cases(task: SliceTask) -> tuple[list[Case], list[bool]]:
    """Held slices with a neighbour of the same scan, and whether their canal is not whole."""
    found, short = [], []
    for patient in task.held:
        own = task.slices.of([patient])
        masks = [task.slices.masks[i] for i in own]
        canal = [int((mask == CANAL).sum()) for mask in masks]
        for n, i in enumerate(own):
            neighbour = masks[n - 1] if n else masks[1]
            found.append((task.slices.images[i], masks[n], neighbour))
            short.append(canal[n] < SHORT_CANAL * max(canal))
    return found, short


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    networks = {}
    for variant in ("none", "one_hot", "prompts"):
        task = SliceTask(given.data, config={"text": variant}, seed=given.seed)
        networks[variant] = averaged(task, given.runs / f"{variant}-{given.seed}")
    plain, short = cases(task)
    rng = np.random.default_rng(0)
    conditions = {
        "as they are": plain,
        "canal not whole": [case for case, part in zip(plain, short, strict=True) if part],
        "noise": [noisy(case, rng) for case in plain],
        "quarter resolution": [coarse(case, rng) for case in plain],
        "lower half alone": [lower(case, rng) for case in plain],
    }
    prompts = networks["prompts"]
    rows = {
        "without text": lambda c: segment(networks["none"], c[0], generic()),
        "one-hot classes": lambda c: segment(networks["one_hot"], c[0], generic()),
        "prompts, generic": lambda c: segment(prompts, c[0], generic()),
        "prompts, shuffled": lambda c: segment(prompts, c[0], shuffled()),
        "prompts of a neighbouring slice's annotation": lambda c: segment(prompts, c[0], described(c[2])),
        "prompts of the annotation": lambda c: segment(prompts, c[0], described(c[1])),
    }
    print(f"| Dice | {' | '.join(f'{name} ({len(of)})' for name, of in conditions.items())} |")
    print("|---" * (len(conditions) + 1) + "|")
    for name, way in rows.items():
        dice = [figures([way(c) for c in of], [c[1] for c in of])["dice"] for of in conditions.values()]
        print(f"| {name} | {' | '.join(f'{value:.4f}' for value in dice)} |", flush=True)


if __name__ == "__main__":
    main()
