"""The losses as modules of one call form: `loss(logits, target)` is a scalar to minimise.

The logits are (B, C, *S) and floating, the target is an integer label map (B, *S) with values
0 ... C - 1, background first. The data package checks the values once; here, where a check would
stall a GPU in every step, only shapes and types are checked, and a value out of range is a
RuntimeError on a CPU, a failed assertion on a GPU. Every loss is a mean over samples, so that one
batch of two equals two batches of one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

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

__all__ = [
    "CCCLoss",
    "CrossEntropyLoss",
    "DiceCELoss",
    "DiceLoss",
    "ExpLogLoss",
    "JaccardLoss",
    "PCCLoss",
    "SegmentationLoss",
    "TverskyLoss",
]


class SegmentationLoss(nn.Module, ABC):
    """What all losses share: the call form, the option for the background, values per label.

    Args:
        include_background: Whether label 0 counts like any other.
    """

    def __init__(self, *, include_background: bool = True) -> None:
        super().__init__()
        self.include_background = include_background

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (B, C, *S) against a label map (B, *S), a scalar."""

    @abstractmethod
    def per_label(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample and label, (B, C), or (B, C - 1) without the background."""

    def extra_repr(self) -> str:
        """What `print` shows between the brackets."""
        return f"include_background={self.include_background}"

    def counted(self, per_label: Tensor) -> Tensor:
        """The columns of a (B, C) table that count."""
        return per_label if self.include_background else per_label[:, 1:]


class StatisticsLoss(SegmentationLoss):
    """A loss that knows a volume through its label statistics alone."""

    @abstractmethod
    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """The loss of each sample and label, (B, C)."""

    def mean(self, statistics: LabelStatistics) -> Tensor:
        """The loss of the whole batch, a scalar: the mean over samples and labels that count."""
        return self.counted(self.from_statistics(statistics)).mean()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (B, C, *S) against a label map (B, *S), a scalar, at least float32."""
        return self.mean(label_statistics(logits, target)).to(_result_dtype(logits))

    def per_label(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample and label, (B, C), or (B, C - 1) without the background."""
        values = self.from_statistics(label_statistics(logits, target))
        return self.counted(values).to(_result_dtype(logits))


class PCCLoss(StatisticsLoss):
    """(1 - r) / 2 with Pearson's r of score and label: 0 perfect, 1/2 unrelated, 1 inverted.

    An absent label and a constant score have 1/2 and no gradient.
    """

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """(1 - r) / 2 of each sample and label, (B, C)."""
        return (1 - pearson_correlation(statistics)) / 2


class CCCLoss(StatisticsLoss):
    """(1 - c) / 2 with Lin's concordance c of score and label; an absent label has 1/2."""

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """(1 - c) / 2 of each sample and label, (B, C)."""
        return (1 - concordance_correlation(statistics)) / 2


class DiceLoss(StatisticsLoss):
    """1 - soft Dice; an absent label has nearly 1 as soon as anything is predicted."""

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """1 - Dice of each sample and label, (B, C)."""
        return 1 - dice(statistics)


class JaccardLoss(StatisticsLoss):
    """1 - soft intersection over union."""

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """1 - Jaccard of each sample and label, (B, C)."""
        return 1 - jaccard(statistics)


class TverskyLoss(StatisticsLoss):
    """1 - soft Tversky index.

    Args:
        alpha: Weight of false positives, positive.
        beta: Weight of false negatives, positive.
        include_background: Whether label 0 counts like any other.

    Raises:
        ValueError: A weight is not positive.
    """

    def __init__(
        self, alpha: float = 0.3, beta: float = 0.7, *, include_background: bool = True
    ) -> None:
        super().__init__(include_background=include_background)
        self.alpha = _positive("alpha", alpha)
        self.beta = _positive("beta", beta)

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """1 - Tversky of each sample and label, (B, C)."""
        return 1 - tversky(statistics, self.alpha, self.beta)


class CrossEntropyLoss(StatisticsLoss):
    """Categorical cross-entropy, -ln p of each voxel's own label, averaged over the voxels.

    Without the background, voxels of label 0 are left out; a sample that has no other has 0. Label
    by label it is the mean over the label's own voxels, and NaN where there are none.
    """

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """Mean over the voxels of each label, (B, C); NaN where it is absent."""
        return -statistics.sum_log / statistics.sum_y

    def mean(self, statistics: LabelStatistics) -> Tensor:
        """Mean over the voxels that count, then over samples: a scalar."""
        voxels = self.counted(statistics.sum_y).sum(1).clamp_min(1)
        return (-self.counted(statistics.sum_log).sum(1) / voxels).mean()


class DiceCELoss(StatisticsLoss):
    """Dice loss plus cross-entropy; label by label NaN where a label is absent.

    Args:
        dice_weight: Weight of the Dice loss, positive.
        cross_weight: Weight of the cross-entropy, positive.
        include_background: Whether label 0 counts like any other.

    Raises:
        ValueError: A weight is not positive.
    """

    def __init__(
        self,
        dice_weight: float = 1.0,
        cross_weight: float = 1.0,
        *,
        include_background: bool = True,
    ) -> None:
        super().__init__(include_background=include_background)
        self.dice_weight = _positive("dice_weight", dice_weight)
        self.cross_weight = _positive("cross_weight", cross_weight)
        self.dice = DiceLoss(include_background=include_background)
        self.cross = CrossEntropyLoss(include_background=include_background)

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """Weighted sum of both losses of each label, (B, C); NaN where it is absent."""
        overlap, cross = (part.from_statistics(statistics) for part in (self.dice, self.cross))
        return self.dice_weight * overlap + self.cross_weight * cross

    def mean(self, statistics: LabelStatistics) -> Tensor:
        """Weighted sum of the means of both losses, a scalar."""
        overlap, cross = (part.mean(statistics) for part in (self.dice, self.cross))
        return self.dice_weight * overlap + self.cross_weight * cross


class ExpLogLoss(SegmentationLoss):
    """Exponential logarithmic loss: both overlap and cross-entropy, steeper where they are good.

    dice_weight * E_l[(-ln Dice_l)^gamma] + cross_weight * E_x[w_l (-ln p_l(x))^gamma], where l is
    the label of voxel x and w_l = (1 / f_l)^0.5 with f_l the fraction of the voxels that have
    label l. The frequencies are those of the sample, not of a training set, so that the loss needs
    no other data; an absent label has no part in the second term.

    Args:
        gamma: Exponent, positive.
        dice_weight: Weight of the first term, positive.
        cross_weight: Weight of the second term, positive.
        include_background: Whether label 0, and the voxels that have it, count like any other.

    Raises:
        ValueError: An exponent or weight is not positive.

    References:
        Wong et al., 3D segmentation with exponential logarithmic loss for highly unbalanced
        object sizes, MICCAI 2018.
    """

    def __init__(
        self,
        gamma: float = 0.3,
        dice_weight: float = 0.8,
        cross_weight: float = 0.2,
        *,
        include_background: bool = True,
    ) -> None:
        super().__init__(include_background=include_background)
        self.gamma = _positive("gamma", gamma)
        self.dice_weight = _positive("dice_weight", dice_weight)
        self.cross_weight = _positive("cross_weight", cross_weight)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Weighted sum of both terms, a scalar in at least float32."""
        overlap, cross = self.terms(logits, target)
        overlap_mean = self.counted(overlap).mean()
        return self.dice_weight * overlap_mean + self.cross_weight * self.voxel_mean(cross, target)

    def per_label(self, logits: Tensor, target: Tensor) -> Tensor:
        """Weighted sum of both terms of each label, (B, C) or (B, C - 1); NaN where absent."""
        overlap, cross = self.terms(logits, target)
        cross_means = label_means(cross, target, num_classes=logits.shape[1])
        values = self.dice_weight * overlap + self.cross_weight * cross_means
        return self.counted(values).to(cross.dtype)

    def terms(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms before their means: per label, (B, C), and per voxel, (B, *S)."""
        statistics, surprise = label_statistics(logits, target), -log_likelihood(logits, target)
        overlap = exponential_logarithm(-dice(statistics).log(), self.gamma).to(surprise.dtype)
        label_weights = statistics.mean_y.rsqrt().to(surprise.dtype)
        weights = label_weights.gather(1, target.flatten(1).long()).view_as(surprise)
        return overlap, weights * exponential_logarithm(surprise, self.gamma)

    def voxel_mean(self, values: Tensor, target: Tensor) -> Tensor:
        """Mean of a (B, *S) map over the voxels that count, then over samples."""
        values = values.flatten(1)
        if self.include_background:
            return values.mean()
        counts = target.flatten(1) > 0
        return ((values * counts).sum(1) / counts.sum(1).clamp_min(1)).mean()


def _positive(name: str, value: float) -> float:
    if value > 0:
        return value
    raise ValueError(f"{name} must be positive, got {value}")


def _result_dtype(logits: Tensor) -> torch.dtype:
    """The dtype of a loss: that of the logits, but at least float32."""
    return torch.promote_types(logits.dtype, torch.float32)
