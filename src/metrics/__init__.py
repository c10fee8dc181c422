"""Scores of segmentations: pure functions, and torchmetrics that hold the state."""

from src.metrics.calibration import AffineCalibration, AffineMap, calibrated_labels
from src.metrics.case_scores import CaseScores, case_scores
from src.metrics.overlap import (
    confusion_counts,
    dice_from_counts,
    dice_from_sizes,
    mean_dice,
    structure_means,
)
from src.metrics.subject_dice import SubjectDice, SubjectTable
from src.metrics.surface import SurfaceScores, surface_scores, voxel_sides, voxel_tolerance

__all__ = [
    "AffineCalibration",
    "AffineMap",
    "CaseScores",
    "SubjectDice",
    "SubjectTable",
    "SurfaceScores",
    "calibrated_labels",
    "case_scores",
    "confusion_counts",
    "dice_from_counts",
    "dice_from_sizes",
    "mean_dice",
    "structure_means",
    "surface_scores",
    "voxel_sides",
    "voxel_tolerance",
]
