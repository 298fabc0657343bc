"""Configuration of R2MF-Net. Every size here is our choice; the paper's abstract states none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class R2MFConfig:
    """Sizes and ablation switches of R2MF-Net.

    Attributes:
        height, width: working size in pixels; films are resized to it and results mapped back.
        in_channels: 2 = z-scored film and locally normalised film.
        stem_stride: 1, 2 or 4; the first level works at 1/stem_stride of the working size.
        coarse_widths, fine_widths: channels of the five levels, each a multiple of 4.
        steps: recurrent steps t of R2-Jump, one value or one per skip (shallow to deep).
        shared_recurrence: R2-Jump with W_r = W_f, the form of the public R2U-Net code.
        inception: False replaces improved Inception branches with two plain 3x3 convolutions.
        r2_jump, scse_lite, fine: False removes that part (fine=False: coarse network only).
        mc_skip: "all" levels of the coarse decoder, "same" level only, or "none".
        mc_gate: False adds the MC-Skip features ungated.
        detach_coarse: True stops the fine network's gradient at the coarse probability map.
        vertebra_head: the 17-body head, our addition to the paper's binary segmentation.

    """

    height: int = 512
    width: int = 192
    in_channels: int = 2
    stem_stride: int = 4
    coarse_widths: tuple[int, ...] = (32, 48, 64, 96, 128)
    fine_widths: tuple[int, ...] = (48, 96, 128, 192, 256)
    steps: int | tuple[int, ...] = 2
    shared_recurrence: bool = False
    inception: bool = True
    r2_jump: bool = True
    scse_lite: bool = True
    fine: bool = True
    mc_skip: str = "all"
    mc_gate: bool = True
    detach_coarse: bool = False
    vertebra_head: bool = True

    def __post_init__(self) -> None:
        # A list is what a JSON configuration holds.
        for name in ("coarse_widths", "fine_widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.steps, int):
            object.__setattr__(self, "steps", tuple(self.steps))
        stride = self.stem_stride * 16
        if self.stem_stride not in (1, 2, 4):
            raise ValueError(f"R2MFConfig: stem_stride is {self.stem_stride}; use 1, 2 or 4")
        if self.height % stride or self.width % stride or self.height < 1 or self.width < 1:
            raise ValueError(
                f"R2MFConfig: working size {self.height}x{self.width} must be a multiple of {stride} "
                f"(16 x stem_stride) in both directions"
            )
        for name in ("coarse_widths", "fine_widths"):
            widths = getattr(self, name)
            if len(widths) != 5 or any(w < 4 or w % 4 for w in widths):
                raise ValueError(f"R2MFConfig: {name} is {widths}; give five multiples of 4")
        if self.mc_skip not in ("all", "same", "none"):
            raise ValueError(f"R2MFConfig: mc_skip is {self.mc_skip!r}; use 'all', 'same' or 'none'")
        if not isinstance(self.steps, int) and len(self.steps) != 4:
            raise ValueError(f"R2MFConfig: steps is {self.steps}; give one number or four (one a skip)")

    def steps_at(self, level: int) -> int:
        """Recurrent steps of the R2-Jump at skip `level` (0 = shallowest)."""
        return self.steps if isinstance(self.steps, int) else self.steps[level]
