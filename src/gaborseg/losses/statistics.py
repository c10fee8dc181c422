"""The five sums a label that the losses know of a volume.

Pearson's correlation, the concordance correlation, Dice, Jaccard, Tversky and cross-entropy know a
volume only through `LabelStatistics`. No volume is encoded one-hot.

Shape letters: B samples, C labels (background first), `*S` any space of N voxels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gaborseg.losses.sums import label_sums


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
        ValueError: The shapes do not belong together, or the logits are empty.
        RuntimeError: A label is not of 0 ... C - 1.
    """
    check_shapes(logits, target)
    return LabelStatistics(target.shape[1:].numel(), *label_sums(logits, target).unbind())


def check_shapes(logits: Tensor, target: Tensor) -> None:
    """Raise unless logits (B, C, *S) and an integer target (B, *S) belong together, not empty."""
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating, got {logits.dtype}")
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"target must be of an integer type, got {target.dtype}")
    if logits.ndim < 3 or target.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"logits must be (B, C, *S) and target (B, *S), "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if not logits.numel():
        raise ValueError(
            f"logits must have a sample, a channel and a voxel, got {tuple(logits.shape)}"
        )
