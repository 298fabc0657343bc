"""What a GPU should need for each operator: bytes over bandwidth, operations over a rate, and launches.

python -m spinecore.bench.roofline    prints the tables of benchmarks/NOTES.md

Nothing here was measured. Bandwidths, caches, peaks and clocks are those of NVIDIA's data sheets; the shares
of the peaks are our assumption, which a first run (``make bench DEVICE=cuda``) should replace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from spinecore.bench.case import Shape
from spinecore.bench.cases.images import SHAPES

Units = Literal["float32", "library", "tf32", "half", "fused"]
LAUNCH = 2.5e-6
"""Seconds for each thing put into the stream: a kernel, a reset of tickets."""
SHARE_OF_FLOAT32, SHARE_OF_LIBRARY, SHARE_OF_TENSOR_CORES = 0.6, 0.85, 0.8
FED = {"tf32": 683, "half": 1365, "fused": 2048}
"""Operations a cycle and multiprocessor that shared memory feeds: a warp multiplies 32 x 32 x 8 for 24
wavefronts of 128 bytes (staging included), and with two bytes an element 32 x 32 x 16; the fused recurrence
stages nothing, and needs 16 for these.
"""


@dataclass(frozen=True)
class Card:
    """Bytes a second, bytes of L2, operations a second, multiprocessors, cycles a second."""

    name: str
    bandwidth: float
    cache: float
    float32: float
    tf32: float
    half: float
    processors: int
    clock: float

    def rate(self, units: Units) -> float:
        """Operations a second that our tiles should reach, or cuBLAS in float32."""
        if units in ("float32", "library"):
            return (SHARE_OF_FLOAT32 if units == "float32" else SHARE_OF_LIBRARY) * self.float32
        fed = FED[units] * self.processors * self.clock
        return SHARE_OF_TENSOR_CORES * min(self.tf32 if units == "tf32" else self.half, fed)


CARDS = (
    Card("H100", 3.35e12, 50e6, 67e12, 495e12, 989e12, 132, 1.83e9),
    Card("A100", 2.04e12, 40e6, 19.5e12, 156e12, 312e12, 108, 1.41e9),
    Card("L4", 0.30e12, 48e6, 30.3e12, 60e12, 121e12, 58, 2.04e9),
)


def card_named(name: str) -> Card | None:
    """The card of a device's name, as torch gives it."""
    return next((card for card in CARDS if card.name in name.replace("-", " ").split()), None)


@dataclass(frozen=True)
class Prediction:
    """What one direction of an operator moves, computes and launches.

    ``cached`` of the ``bytes`` are a second read of an image; they come from L2 where ``images`` of them fit.
    """

    bytes: float
    operations: float = 0.0
    units: Units = "float32"
    launches: int = 1
    cached: float = 0.0
    images: int = 2

    def seconds(self, card: Card) -> tuple[float, float]:
        """At best and at worst; they differ by what the cache may keep."""
        work = self.operations / card.rate(self.units)
        fixed = LAUNCH * self.launches
        most = max(work, self.bytes / card.bandwidth) + fixed
        if not self.cached or self.cached > card.cache / self.images:
            return most, most
        return max(work, (self.bytes - self.cached) / card.bandwidth) + fixed, most


def together(forward: Prediction, backward: Prediction) -> Prediction:
    """One after the other."""
    return Prediction(
        forward.bytes + backward.bytes,
        forward.operations + backward.operations,
        forward.units,
        forward.launches + backward.launches,
    )


Pair = tuple[Prediction, Prediction]


def scse_gate(shape: Shape, element: int) -> Pair:
    """Three passes over the image forward, four backward; the second read may come from L2."""
    image = math.prod(shape) * element
    return (
        Prediction(3.0 * image, launches=3, cached=image),
        Prediction(4.0 * image, launches=3, cached=image, images=3),
    )


def _triangle(side: int) -> float:
    """Elements of the upper-triangle tiles of 64 x 64."""
    tiles = -(-side // 64)
    return tiles * (tiles + 1) / 2 * 64 * 64


def covariance_decorrelation(shape: Shape, element: int) -> Pair:
    """Of the smaller of both matrices; half of it, and all of it backward."""
    rows, width = shape
    side, depth = (rows, width) if 2 * rows <= width else (width, rows)
    z, matrix = rows * width * element, 4.0 * side * side
    return (
        Prediction(2.0 * z + matrix, 2.0 * _triangle(side) * depth, launches=5),
        Prediction(2.0 * z + matrix, 2.0 * rows * width * side, launches=3),
    )


def latent_attention_pool(shape: Shape, element: int) -> Pair:
    """Absorbed queries: two products with the tokens forward; both and four more backward. Ten and twenty-two
    of the launches are torch's small products, and of halves one and three more round a factor. The gradient
    of the scores is of the tokens' type; of halves P lies beside it.
    """
    batch, tokens, width, rows, heads = shape
    product = 2.0 * batch * tokens * width * heads * rows
    image, scores = float(batch * tokens * width * element), 4.0 * batch * tokens * heads * rows
    if element == 4:
        return (
            Prediction(2 * image + 2 * scores, 2 * product, "float32", 14),
            Prediction(5 * image + 7 * scores, 6 * product, "float32", 40),
        )
    return (
        Prediction(2 * image + 2 * scores, 2 * product, "half", 15),
        Prediction(5 * image + 5.5 * scores, 6 * product, "half", 43),
    )


def latent_attention_pool_reference(shape: Shape, element: int) -> Prediction:
    """Its forward, by torch in float32: tokens widened, keys and values written and read, twelve passes over
    the scores (product, scale, largest, exponentials, sum, division, product).
    """
    batch, tokens, width, rows, heads = shape
    operations = 4.0 * batch * tokens * width * (width + rows)
    image, scores = 4.0 * batch * tokens * width, 4.0 * batch * tokens * heads * rows
    widened = (1 + element / 4) * image if element < 4 else 0.0
    return Prediction(widened + 6 * image + 12 * scores, operations, "library", 20)


def conv3x3(shape: Shape, element: int) -> Pair:
    """As many channels after it as before."""
    image, operations, units = _convolution(shape, element)
    return Prediction(2 * image, operations, units, 2), Prediction(7 * image, 2 * operations, units, 9)


def recurrent_residual_conv(shape: Shape, element: int) -> Pair:
    """Two steps, shared weights: three convolutions; backward those again and two gradients of each. Few
    channels are one launch: of 16 x 16 pixels that a block computes, 12 x 12 are right after the last step,
    which leaves two of eight warps idle; x is read with its halo (18 x 18) and once more at the end, from L2
    where it fits. A tile of single steps has 64 columns, be there as many channels or not.
    """
    image, operations, units = _convolution(shape, element)
    wide = max(1.0, 64 / shape[1])
    forward = Prediction(9 * image, 3 * operations * wide, units, 4)
    if shape[1] * element <= 128:
        computed = (16 / 12) ** 2 * 22 / 24
        moved = ((18 / 12) ** 2 + 2) * image
        units_fused: Units = "float32" if element == 4 else "fused"
        forward = Prediction(moved, 3 * operations * computed, units_fused, 2, cached=moved - 2 * image)
    return forward, Prediction(40 * image, 9 * operations * wide, units, 30)


def _convolution(shape: Shape, element: int) -> tuple[float, float, Units]:
    batch, channels, height, width = shape
    operations = 2.0 * batch * height * width * channels * channels * 9
    return float(math.prod(shape) * element), operations, "float32" if element == 4 else "half"


WIDE: tuple[Shape, ...] = tuple(shape for shape in SHAPES if shape[1] >= 64)
FEATURES: tuple[Shape, ...] = ((256, 512), (1024, 1024), (4096, 2048), (512, 8192))
TOKENS: tuple[Shape, ...] = ((8, 1024, 512, 16, 8), (64, 256, 256, 8, 4), (1, 4096, 512, 32, 8))
OPERATORS = {
    "scse_gate": (scse_gate, SHAPES, (4, 2)),
    "covariance_decorrelation": (covariance_decorrelation, FEATURES, (4,)),
    "latent_attention_pool": (latent_attention_pool, TOKENS, (4, 2)),
    "conv3x3": (conv3x3, WIDE, (4, 2)),
    "recurrent_residual_conv": (recurrent_residual_conv, SHAPES, (4, 2)),
}
"""Operator: its model, the shapes it is predicted and measured for, and the bytes of an element."""


def microseconds(span: tuple[float, float]) -> str:
    """``18-23``, or one number."""
    low, high = (f"{value * 1e6:.0f}" for value in span)
    return high if span[0] == span[1] else f"{low}-{high}"


def rows(operator: str) -> list[str]:
    """The operator's rows of the table in NOTES."""
    model, shapes, elements = OPERATORS[operator]
    lines = []
    for shape in shapes:
        for element in elements:
            both = model(shape, element)
            cells = [microseconds(p.seconds(card)) for card in CARDS for p in both]
            name = "x".join(map(str, shape)) + {4: " fp32", 2: " bf16"}[element]
            megabytes = "/".join(f"{p.bytes / 1e6:.1f}" for p in both)
            lines.append(f"| {operator} {name} | {megabytes} | {' | '.join(cells)} |")
    return lines


def table() -> str:
    """All of them."""
    heads = " | ".join(f"{card.name} forward | backward" for card in CARDS)
    lines = [f"| shape | MB forward/backward | {heads} |", "|---" * (2 + 2 * len(CARDS)) + "|"]
    return "\n".join(lines + [row for operator in OPERATORS for row in rows(operator)])


if __name__ == "__main__":
    print(table())
