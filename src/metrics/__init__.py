"""Scores of segmentations: pure functions, and torchmetrics that hold the state."""

from src.metrics.calibration import AffineCalibration, AffineMap, calibrated_labels
from src.metrics.overlap import (
    confusion_counts,
    dice_from_counts,
    dice_from_sizes,
    mean_dice,
    structure_means,
)
from src.metrics.subject_dice import SubjectDice, SubjectTable

__all__ = [
    "AffineCalibration",
    "AffineMap",
    "SubjectDice",
    "SubjectTable",
    "calibrated_labels",
    "confusion_counts",
    "dice_from_counts",
    "dice_from_sizes",
    "mean_dice",
    "structure_means",
]
