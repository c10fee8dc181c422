"""Losses on logits and integer label maps; no volume is encoded one-hot."""

from src.losses.functional import (
    LabelStatistics,
    concordance_correlation,
    dice,
    exponential_logarithm,
    jaccard,
    label_means,
    label_statistics,
    log_likelihood,
    pearson_correlation,
    tversky,
)
from src.losses.modules import (
    CCCLoss,
    CrossEntropyLoss,
    DiceCELoss,
    DiceLoss,
    ExpLogLoss,
    JaccardLoss,
    PCCLoss,
    SegmentationLoss,
    TverskyLoss,
)

__all__ = [
    "CCCLoss",
    "CrossEntropyLoss",
    "DiceCELoss",
    "DiceLoss",
    "ExpLogLoss",
    "JaccardLoss",
    "LabelStatistics",
    "PCCLoss",
    "SegmentationLoss",
    "TverskyLoss",
    "concordance_correlation",
    "dice",
    "exponential_logarithm",
    "jaccard",
    "label_means",
    "label_statistics",
    "log_likelihood",
    "pearson_correlation",
    "tversky",
]
