"""Figures of merit for masks, angles and classifiers; empty and missed cases are counted, never forgiven."""

from __future__ import annotations

from spinecore.metrics.agreement import BlandAltman, Icc, bland_altman, icc_a1
from spinecore.metrics.angles import bias, cmae, mae, measured_pairs, share_within, smape_aasce
from spinecore.metrics.overlap import BOTH_EMPTY, OverlapMean, dice, iou, mean_overlap
from spinecore.metrics.ranking import (
    Estimate,
    accuracy,
    bootstrap_interval,
    brier_score,
    calibration_error,
    macro_f1,
    mean_interval,
    roc_auc,
)
from spinecore.metrics.surface import SurfaceMean, assd, hd95, is_missed, mean_surface

__all__ = [
    "BOTH_EMPTY",
    "BlandAltman",
    "Estimate",
    "Icc",
    "OverlapMean",
    "SurfaceMean",
    "accuracy",
    "assd",
    "bias",
    "bland_altman",
    "bootstrap_interval",
    "brier_score",
    "calibration_error",
    "cmae",
    "dice",
    "hd95",
    "icc_a1",
    "iou",
    "is_missed",
    "macro_f1",
    "mae",
    "mean_interval",
    "mean_overlap",
    "mean_surface",
    "measured_pairs",
    "roc_auc",
    "share_within",
    "smape_aasce",
]
