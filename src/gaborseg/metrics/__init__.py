"""Scores of segmentations: pure functions, and torchmetrics that hold the state."""

from gaborseg.metrics.calibration_error import calibration_errors
from gaborseg.metrics.case_scores import case_scores
from gaborseg.metrics.overlap import (
    confusion_counts,
    counted_labels,
    dice_from_counts,
    mean_dice,
    structure_means,
)
from gaborseg.metrics.own import OwnMetrics
from gaborseg.metrics.subject_dice import SubjectDice, SubjectTable
from gaborseg.metrics.surface import surface_scores, voxel_tolerance

__all__ = [
    "OwnMetrics",
    "SubjectDice",
    "SubjectTable",
    "calibration_errors",
    "case_scores",
    "confusion_counts",
    "counted_labels",
    "dice_from_counts",
    "mean_dice",
    "structure_means",
    "surface_scores",
    "voxel_tolerance",
]
