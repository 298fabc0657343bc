"""ATM-Net end to end against its peers on the shipped weights: slices of 512x640 pixels, one thread, CPU
time, in turns. Generic prompts, as by default; the peers have them as constants.

python benchmarks/atm_net.py                    the network; batch 1 and 4
python benchmarks/atm_net.py --compile          also torch.compile with frozen parameters (minutes)
python benchmarks/atm_net.py --whole            from pixels to probabilities, with normalisation and softmax
python benchmarks/atm_net.py --profile          also where the time goes, module by module and prepared
python benchmarks/atm_net.py --unet             cost of the U-Nets of the ablation beside it, plain PyTorch
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from atm_net_ablation import UNET_WIDTHS, UNet
from r2mf_net import PEERS, peers, where_the_time_goes
from r2mf_net_plain import plain
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import spinecore
from spinecore.bench.timing import keep_memory, one_thread, time_in_turns
from spinecore.nn.prepared import freeze
from spinecore.plugins.atm_net.config import ATMConfig
from spinecore.plugins.atm_net.fusion import TextQueriesImage
from spinecore.plugins.atm_net.segmenter import Segmenter
from spinecore.plugins.atm_net.slice_input import to_input

HEIGHT, WIDTH = 512, 640
BATCHES = (1, 4)
TOLERANCE = 1e-4
"""Of probabilities."""


class PlainPooling(nn.Module):
    """`TextQueriesImage` of PyTorch's operations."""

    def __init__(self, part: TextQueriesImage) -> None:
        super().__init__()
        self.part = part

    def forward(self, text: Tensor, pixels: Tensor) -> Tensor:
        part = self.part
        seen = part.tokens(pixels)
        q, k, v = (
            x.unflatten(-1, (part.heads, -1)).transpose(1, 2)
            for x in (text @ part.wq, seen @ part.wk, seen @ part.wv)
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) @ part.wo


class Told(nn.Module):
    """The network with its generic prompts encoded: slices in, logits out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = plain(model)
        for fusion in self.model.fusion:
            fusion.to_text = PlainPooling(fusion.to_text)
        self.register_buffer("vectors", self.model.told(1, None))
        del self.model.text  # its fast path has no export
        self.model.told = lambda batch, _prompts: self.vectors.expand(batch, -1, -1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.model(x).logits
        return logits


def check(calls: dict[str, Callable[[], object]]) -> None:
    """Every variant gives the probabilities of eager PyTorch."""
    expected = torch.as_tensor(calls["eager"]()).softmax(1)
    for name, call in calls.items():
        found = call()
        logits = torch.as_tensor(found[0] if isinstance(found, list) else found)
        assert float((logits.softmax(1) - expected).abs().max()) <= TOLERANCE, name


def timed(calls: dict[str, Callable[[], object]], title: str) -> None:
    seconds = time_in_turns(calls, rounds=9, seconds=0.06)
    best = min(seconds[name] for name in PEERS if name in seconds)
    cells = ", ".join(f"{name} {value * 1e3:.1f}" for name, value in seconds.items())
    print(f"{title}: ratio {best / seconds['spinecore']:.2f}; ms: {cells}", flush=True)


def whole(model: nn.Module, calls: dict[str, Callable[[], object]], told: nn.Module) -> None:
    """Pixels to probabilities: ours by the segmenter, each peer with our normalisation and a softmax."""
    pixels = torch.randint(0, 256, (HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0)).numpy()
    segmenter = Segmenter(model)  # type: ignore[arg-type]

    def around(call: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            to_input(pixels)
            found = call()
            return torch.as_tensor(found[0] if isinstance(found, list) else found)[0].softmax(0).numpy()

        return run

    ends = {name: around(call) for name, call in calls.items() if name != "spinecore"}
    timed({"spinecore": lambda: segmenter.probabilities(pixels), **ends}, "pixels to probabilities")


def costs_of_unets(told: nn.Module, x: Tensor) -> None:
    """Time and multiply-adds a slice of our network and of MONAI's U-Nets, none of them prepared."""
    networks = {"plain ATM-Net": told}
    for name, widths in UNET_WIDTHS.items():
        network = UNet(ATMConfig(text="none", widths=widths)).eval()
        networks[name] = network.to(memory_format=torch.channels_last)
    calls = {name: lambda network=network: network(x) for name, network in networks.items()}
    for name, seconds in time_in_turns(calls, rounds=9, seconds=0.06).items():
        with FlopCounterMode(display=False) as counted:
            networks[name](x)
        print(f"{name}: {seconds * 1e3:.1f} ms, {counted.get_total_flops() / 2e9:.2f} G multiply-adds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--unet", action="store_true")
    given = parser.parse_args()
    keep_memory()
    with one_thread(), torch.no_grad():
        model = spinecore.create_model("atm_net", weights="shipped").eval()
        told = Told(model).eval().to(memory_format=torch.channels_last)
        freeze(model)  # as `spinecore segment` does, and as every peer does that takes a copy of the weights
        for batch in (1,) if given.whole else BATCHES:
            x = torch.randn(batch, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
            x = x.contiguous(memory_format=torch.channels_last)
            if given.unet:
                costs_of_unets(told, x)
                break
            calls = {"spinecore": lambda x=x: model(x).logits, **peers(told, x, given.compile)}
            check(calls)
            if given.whole:
                whole(model, calls, told)
            else:
                timed(calls, f"{HEIGHT}x{WIDTH} batch {batch}")
            if given.profile:
                where_the_time_goes(model, told, x)


if __name__ == "__main__":
    main()
