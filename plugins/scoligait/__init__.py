"""ScoliGait: gait video, text and a kinematic knowledge map to a scoliosis screening score (after arXiv
2602.06743).

Groups and sizes of the map, a transformer for each modality, aligned time positions and latent attention
pooling
are the paper's; joint conventions, sizes, losses, text, simulator and screening page are our choice.
"""

from __future__ import annotations

from spinecore.registry import ModelSpec

_PACKAGE = "spinecore.plugins.scoligait"

SPEC = ModelSpec(
    api=1,
    name="scoligait",
    task="gait",
    build=f"{_PACKAGE}.network:ScoliGait",
    config=f"{_PACKAGE}.config:ScoliGaitConfig",
    ops=("latent_attention_pool", "latent_dictionary_pool"),
    weights="weights/scoligait.safetensors",
    provenance="after arXiv 2602.06743, sizes ours; shipped weights know simulated walkers only",
    trainer=f"{_PACKAGE}.task:gait_task",
    reader=f"{_PACKAGE}.reader:build_reader",
    study=f"{_PACKAGE}.study.run:run_study",
    example=f"{_PACKAGE}.example:example_inputs",
    stages=f"{_PACKAGE}.speed:stages",
)
