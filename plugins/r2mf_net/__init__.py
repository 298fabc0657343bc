"""R2MF-Net: spine segmentation of coronal and bending radiographs (after the abstract of arXiv 2512.07576).

Coarse and fine networks with improved Inception branches, R2-Jump, MC-Skip and SCSE-Lite, as the abstract
names them; sizes and losses are our choice. The vertebra head (17 bodies with corners) is our addition.
"""

from __future__ import annotations

from spinecore.registry import ModelSpec

_PACKAGE = "spinecore.plugins.r2mf_net"

SPEC = ModelSpec(
    api=1,
    name="r2mf_net",
    task="film",
    build=f"{_PACKAGE}.network:R2MFNet",
    config=f"{_PACKAGE}.config:R2MFConfig",
    ops=(
        "conv1x1",
        "conv1x1_bn",
        "conv3x3",
        "recurrent_residual_conv",
        "recurrent_residual_conv_bn",
        "scse_gate",
    ),
    weights="weights/r2mf_net.safetensors",
    provenance="architecture after the abstract of arXiv 2512.07576; weights from AASCE 2019 and phantoms",
    reader=f"{_PACKAGE}.reader:build_reader",
    trainer=f"{_PACKAGE}.trainer:film_task",
    example=f"{_PACKAGE}.example:example_inputs",
)
