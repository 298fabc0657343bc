"""Modules over :mod:`spinecore.ops`: they hold parameters and running statistics, the operators do the
work.
"""

from __future__ import annotations

from spinecore.nn.conv import Conv3x3
from spinecore.nn.conv2d import Conv2d, ConvNorm
from spinecore.nn.decorrelation import CovarianceLoss, CrossCovarianceLoss, OrthogonalityLoss
from spinecore.nn.distributed_decorrelation import distributed_covariance_penalty
from spinecore.nn.latent import LatentAttentionPool, LatentDictionaryPool
from spinecore.nn.recurrent import RecurrentResidualConv
from spinecore.nn.scse import SCSEGate

__all__ = [
    "Conv2d",
    "Conv3x3",
    "ConvNorm",
    "CovarianceLoss",
    "CrossCovarianceLoss",
    "LatentAttentionPool",
    "LatentDictionaryPool",
    "OrthogonalityLoss",
    "RecurrentResidualConv",
    "SCSEGate",
    "distributed_covariance_penalty",
]
