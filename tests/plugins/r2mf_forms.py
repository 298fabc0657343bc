"""A small R2MF-Net, through its prepared form and module by module, for the tests that compare the two."""

from __future__ import annotations

import torch
from torch import Tensor

from spinecore import backends
from spinecore.plugins.r2mf_net.config import R2MFConfig
from spinecore.plugins.r2mf_net.network import R2MFNet, R2MFOutput

MIDDLE = R2MFConfig(
    height=64, width=64, coarse_widths=(8, 16, 32, 32, 36), fine_widths=(32, 48, 48, 64, 64), stem_stride=4
)


def make(config: R2MFConfig = MIDDLE, seed: int = 0) -> R2MFNet:
    """A network in evaluation whose running statistics and affine maps are no identities."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = R2MFNet(config).eval()
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=generator)
        elif value.is_floating_point() and value.dim() <= 2 and "weight" not in name:
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    return model


def draw(config: R2MFConfig = MIDDLE, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch, config.in_channels, config.height, config.width, generator=generator)


def prepared(model: R2MFNet, x: Tensor) -> R2MFOutput:
    """Through the prepared form, which must have been chosen: run once, recorded, and repeated."""
    backends.reset_usage()
    with torch.no_grad():
        out, recorded, repeated = (model(x) for _ in range(3))
    assert backends.usage().get("prepared R2MFNet", {}).get("cpu", 0) == 3
    for again in (recorded, repeated):
        assert_same(again, out, 0.0)
    return out  # type: ignore[no-any-return]


def plain(model: R2MFNet, x: Tensor) -> R2MFOutput:
    """Module by module: gradients are on."""
    backends.reset_usage()
    with torch.enable_grad():
        out: R2MFOutput = model(x)
    assert "prepared R2MFNet" not in backends.usage()
    return out


def assert_same(a: R2MFOutput, b: R2MFOutput, tolerance: float = 1e-4) -> None:
    for one, other in zip(a, b, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.shape == other.shape
            assert one.dtype is other.dtype
            scale = max(1.0, float(other.detach().abs().max()))
            assert float((one - other).detach().abs().max()) <= tolerance * scale
