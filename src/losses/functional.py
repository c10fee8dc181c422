"""What the losses compute: sums per sample and label, and the formulas on those sums.

Pearson's correlation, the concordance correlation, Dice, Jaccard, Tversky and cross-entropy know a
volume only through five sums a label (`LabelStatistics`). No volume is encoded one-hot.

Shape letters: B samples, C labels (background first), `*S` any space of N voxels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from src.losses.slabs import SlabLogLikelihood, sum_by_label
from src.losses.sums import label_sums

__all__ = [
    "LabelStatistics",
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

EPSILON = 1e-7
"""Voxels added to both sides of an overlap ratio, so that empty against empty is 1 (eq. 5)."""


class LabelStatistics(NamedTuple):
    """All that the losses know about scores p and labels y (0 or 1) over N voxels; (B, C) each."""

    voxels: int
    sum_p: Tensor
    sum_pp: Tensor
    sum_py: Tensor
    sum_y: Tensor
    sum_log: Tensor
    """Sum of ln p over the label's own voxels."""

    @property
    def mean_p(self) -> Tensor:
        """Mean score, (B, C)."""
        return self.sum_p / self.voxels

    @property
    def mean_y(self) -> Tensor:
        """Fraction of the volume that the label fills, (B, C)."""
        return self.sum_y / self.voxels

    @property
    def variance_p(self) -> Tensor:
        """Variance of the score over the volume, (B, C); rounding may leave it just below 0."""
        return self.sum_pp / self.voxels - self.mean_p.square()

    @property
    def variance_y(self) -> Tensor:
        """Variance of the label over the volume, (B, C); exactly 0 for an absent label."""
        return self.mean_y * (1 - self.mean_y)

    @property
    def covariance(self) -> Tensor:
        """Covariance of score and label over the volume, (B, C)."""
        return self.sum_py / self.voxels - self.mean_p * self.mean_y


def label_statistics(logits: Tensor, target: Tensor) -> LabelStatistics:
    """Sums of the softmax scores and the labels over space, differentiable in the logits.

    The scores are taken in at least float32 and summed in float64, whatever the precision of the
    logits, also under autocast.

    Args:
        logits: (B, C, *S), floating.
        target: Label of each voxel, (B, *S), any integer type, 0 ... C - 1.

    Returns:
        Statistics in float64, (B, C) each.

    Raises:
        TypeError: The logits are not floating or the target is not of an integer type.
        ValueError: The shapes do not belong together.
        RuntimeError: A label is not of 0 ... C - 1.
    """
    check_shapes(logits, target)
    return LabelStatistics(target[0].numel(), *label_sums(logits, target).unbind())


def log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probability of each voxel's own label, (B, *S), in at least float32.

    Args:
        logits: (B, C, *S), floating.
        target: Label of each voxel, (B, *S), any integer type, 0 ... C - 1.

    Raises:
        TypeError: The logits are not floating or the target is not of an integer type.
        ValueError: The shapes do not belong together.
        RuntimeError: A label is not of 0 ... C - 1.
    """
    check_shapes(logits, target)
    return SlabLogLikelihood.apply(logits, target)


def pearson_correlation(statistics: LabelStatistics) -> Tensor:
    """Pearson's r between score and label over space, (B, C) in [-1, 1].

    r = cov(p, y) / sqrt(var p * var y). An absent label, or one that fills the volume, or a score
    that is constant up to the rounding of float32, is unrelated: r = 0, and no gradient. A score
    that is no number gives none.

    References:
        Wong and Moradi, 3D segmentation with fully trainable Gabor kernels and Pearson's
        correlation coefficient, MLMI 2022, eqs. (3) and (4).
    """
    rounding = torch.finfo(torch.float32).eps * statistics.mean_p.detach()
    constant = (statistics.variance_p <= rounding.square()) | (statistics.variance_y <= 0)
    variances = torch.where(constant, 1, statistics.variance_p * statistics.variance_y)
    covariance = torch.where(constant, 0, statistics.covariance)
    return (covariance * variances.rsqrt()).clamp(-1, 1)


def concordance_correlation(statistics: LabelStatistics) -> Tensor:
    """Lin's concordance correlation between score and label over space, (B, C) in [-1, 1].

    2 cov(p, y) / (var p + var y + (mean p - mean y)^2): Pearson's r that also asks for the right
    scale and mean. An absent label has 0 and no gradient; a constant score of a present label
    has 0 and a finite gradient towards the label.

    References:
        Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics 1989.
    """
    shift = statistics.mean_p - statistics.mean_y
    spread = statistics.variance_p + statistics.variance_y + shift.square()
    return 2 * statistics.covariance / torch.where(spread > 0, spread, 1)


def dice(statistics: LabelStatistics, epsilon: float = EPSILON) -> Tensor:
    """Soft Dice coefficient, (B, C) in [0, 1]: (2 sum py + eps) / (sum p + sum y + eps).

    Args:
        statistics: Sums over space.
        epsilon: Voxels added to both sides.

    References:
        Wong and Moradi, MLMI 2022, eq. (5).
    """
    return (2 * statistics.sum_py + epsilon) / (statistics.sum_p + statistics.sum_y + epsilon)


def jaccard(statistics: LabelStatistics, epsilon: float = EPSILON) -> Tensor:
    """Soft Jaccard index, (B, C) in [0, 1]: intersection over union.

    Args:
        statistics: Sums over space.
        epsilon: Voxels added to both sides.
    """
    return tversky(statistics, alpha=1, beta=1, epsilon=epsilon)


def tversky(
    statistics: LabelStatistics, alpha: float, beta: float, epsilon: float = EPSILON
) -> Tensor:
    """Soft Tversky index, (B, C) in [0, 1].

    TP / (TP + alpha FP + beta FN); alpha = beta = 1/2 is Dice, alpha = beta = 1 is Jaccard.

    Args:
        statistics: Sums over space.
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        epsilon: Voxels added to both sides.

    References:
        Salehi et al., Tversky loss function for image segmentation using 3D fully convolutional
        deep networks, MLMI 2017.
    """
    hits = statistics.sum_py
    misses = alpha * (statistics.sum_p - hits) + beta * (statistics.sum_y - hits)
    return (hits + epsilon) / (hits + misses + epsilon)


def exponential_logarithm(negative_log: Tensor, gamma: float) -> Tensor:
    """(-ln q)^gamma of a probability or coefficient q, element by element.

    Args:
        negative_log: -ln q, any shape; below float32's epsilon (q is 1) it counts as that, where
            a gamma below 1 would have an infinite slope.
        gamma: Exponent, positive; below 1 it is steep both near q = 0 and near q = 1.

    References:
        Wong et al., 3D segmentation with exponential logarithmic loss for highly unbalanced
        object sizes, MICCAI 2018, eqs. (2) and (3).
    """
    return negative_log.clamp_min(torch.finfo(torch.float32).eps).pow(gamma)


def label_means(values: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Mean of a map over each label's own voxels, (B, C) in float64; NaN where a label is absent.

    Args:
        values: (B, *S).
        target: Label of each voxel, (B, *S).
        num_classes: C.
    """
    values, index = values.flatten(1).double(), target.flatten(1).long()
    totals = sum_by_label(values, index, num_classes)
    return totals / sum_by_label(torch.ones_like(values), index, num_classes)


def check_shapes(logits: Tensor, target: Tensor) -> None:
    """Raise unless logits (B, C, *S) and an integer target (B, *S) belong together."""
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating, got {logits.dtype}")
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"target must be of an integer type, got {target.dtype}")
    if logits.ndim < 3 or target.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"logits must be (B, C, *S) and target (B, *S), "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
