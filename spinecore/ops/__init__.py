"""The operators: each a PyTorch reference, a schema and the backends that can run it. ``OPS`` lists every
contract.
"""

from __future__ import annotations

from spinecore.ops._spec import OPS, OpSpec, Sample
from spinecore.ops.conv1x1 import conv1x1
from spinecore.ops.conv1x1_bn import conv1x1_bn
from spinecore.ops.conv3x3 import conv3x3
from spinecore.ops.covariance_decorrelation import covariance_penalty
from spinecore.ops.cross_decorrelation import cross_covariance_penalty, orthogonality_penalty
from spinecore.ops.latent_attention_pool import latent_attention_pool
from spinecore.ops.latent_dictionary_pool import latent_dictionary_pool
from spinecore.ops.recurrent_residual_conv import recurrent_residual_conv
from spinecore.ops.recurrent_residual_conv_bn import recurrent_residual_conv_bn
from spinecore.ops.scse_gate import scse_gate

__all__ = [
    "OPS",
    "OpSpec",
    "Sample",
    "conv1x1",
    "conv1x1_bn",
    "conv3x3",
    "covariance_penalty",
    "cross_covariance_penalty",
    "latent_attention_pool",
    "latent_dictionary_pool",
    "orthogonality_penalty",
    "recurrent_residual_conv",
    "recurrent_residual_conv_bn",
    "scse_gate",
]
