"""Steps of screening one clip, for `spinecore bench`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from spinecore.registry import Stage, create_model

from .kinematics import knowledge_map
from .network import ScoliGait
from .pictures import skeleton_maps
from .samples import clip_arrays, stack_clips
from .simulator import draw_camera, draw_walker, simulate
from .text.encoders import hashed
from .text.findings import measures

MAP_SECONDS, MODEL_SECONDS = 0.020, 0.050
"""What the map of a clip of 96 frames and the pooled model may take."""


def stages() -> list[Stage]:
    """Map, measures and pictures of a simulated clip, the network with the shipped weights, and the pooling
    inside it.
    """
    draw = np.random.default_rng(0)
    walk = simulate(draw_walker(draw), draw_camera(draw), draw)
    model = create_model("scoligait", weights="shipped").eval()
    assert isinstance(model, ScoliGait)
    config = model.config
    text = hashed(["walks evenly, trunk leans to the left"], config.vocabulary, config.text_length)
    clip = stack_clips([clip_arrays(walk, config)], text[:, None])
    inputs = clip.inputs(config)
    pool = model.fusion.get_submodule("pool")
    pooled = given(model, pool, inputs)
    size = (config.video_frames, config.video_height, config.video_width)

    def without_gradient(module: nn.Module, tensors: tuple[Tensor, ...]) -> None:
        with torch.no_grad():
            module(*tensors)

    frames = f"{len(walk.joints)} frames"
    network = "network, map to score"
    return [
        Stage(f"knowledge map, {frames}", lambda: knowledge_map(walk.joints, walk.confidence), MAP_SECONDS),
        Stage("13 measures for the text", lambda: measures(walk)),
        Stage("skeleton pictures", lambda: skeleton_maps(walk, config.frames, *size)),
        Stage(network, lambda: without_gradient(model, inputs), MODEL_SECONDS),
        Stage("latent pooling", lambda: without_gradient(pool, pooled), part_of=network),
    ]


def given(model: nn.Module, inside: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What `inside`, a module of `model`, is called with when `model` gets `inputs`."""
    seen: list[tuple[Tensor, ...]] = []
    hook = inside.register_forward_pre_hook(lambda _, tensors: seen.append(tensors))
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        hook.remove()
    (tensors,) = seen
    return tensors
