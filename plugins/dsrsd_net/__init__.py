"""DSRSD-Net: shared and private factors of several modalities, decorrelated (after the abstract of arXiv
2512.07568).

Dual streams by residual projection, residual semantic alignment, decorrelation and orthogonality losses and
gated fusion are named by the abstract; sizes, weights and the exact form of each part are our choice.
"""

from __future__ import annotations

from spinecore.registry import ModelSpec

_PACKAGE = "spinecore.plugins.dsrsd_net"

SPEC = ModelSpec(
    api=1,
    name="dsrsd_net",
    task="multimodal",
    build=f"{_PACKAGE}.network:DSRSDNet",
    config=f"{_PACKAGE}.config:DSRSDConfig",
    ops=("covariance_penalty", "orthogonality_penalty"),
    provenance="mechanisms after the abstract of arXiv 2512.07568, sizes ours; it trains on your table",
    trainer=f"{_PACKAGE}.task:sample_task",
    reader=f"{_PACKAGE}.reader:build_reader",
    study=f"{_PACKAGE}.study.run:run_study",
    example=f"{_PACKAGE}.example:example_inputs",
)
