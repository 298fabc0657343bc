"""ATM-Net: text-guided segmentation of lumbar MRI (after the abstract of arXiv 2504.03476).

Anatomy-aware prompts, holistic fusion and channel-wise contrast are named by the abstract; backbone, wording,
sizes and the exact form of each part are our choice.
"""

from __future__ import annotations

from spinecore.registry import ModelSpec

_PACKAGE = "spinecore.plugins.atm_net"

SPEC = ModelSpec(
    api=1,
    name="atm_net",
    task="mri",
    build=f"{_PACKAGE}.build:build",
    config=f"{_PACKAGE}.config:ATMConfig",
    ops=("conv1x1", "conv1x1_bn", "conv3x3", "latent_attention_pool", "scse_gate"),
    weights="weights/atm_net.safetensors",
    provenance="mechanisms after the abstract of arXiv 2504.03476; weights from SPIDER (CC BY 4.0)",
    reader=f"{_PACKAGE}.segmenter:build_reader",
    trainer=f"{_PACKAGE}.task:build_task",
    example=f"{_PACKAGE}.example:example_inputs",
)
