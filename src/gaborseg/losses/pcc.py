"""The Pearson-correlation loss of the paper, eqs. (3) and (4)."""

import torch
from torch import Tensor

from gaborseg.losses.base import StatisticsLoss
from gaborseg.losses.statistics import LabelStatistics


def pearson_correlation(statistics: LabelStatistics) -> Tensor:
    """Pearson's r between score and label over space, (B, C) in [-1, 1].

    r = cov(p, y) / sqrt(var p * var y). An absent label, or one that fills the volume, or a score
    that is constant up to the rounding of float32, is unrelated: r = 0, and no gradient. NaN scores
    give NaN. Otherwise r and its gradient in the logits do not depend on how small all scores are.

    References:
        Wong and Moradi, 3D segmentation with fully trainable Gabor kernels and Pearson's
        correlation coefficient, MLMI 2022, eqs. (3) and (4).
    """
    rounding = torch.finfo(torch.float32).eps * statistics.mean_p.detach()
    least = rounding.square().clamp(min=torch.finfo(statistics.variance_p.dtype).tiny ** 0.5)
    constant = (statistics.variance_p <= least) | (statistics.variance_y <= 0)
    variances = torch.where(constant, 1, statistics.variance_p * statistics.variance_y)
    covariance = torch.where(constant, 0, statistics.covariance)
    return (covariance * variances.rsqrt()).clamp(-1, 1)


class PCCLoss(StatisticsLoss):
    """Pearson-correlation loss, the paper's: mean over labels of (1 - r) / 2.

    r = cov(p, y) / sqrt(var p * var y), over the voxels, between the softmax score p of a label and
    its truth y (0 or 1). Called `loss(logits, target)`: it takes the softmax itself. 0 is perfect,
    1/2 unrelated, 1 inverted. An absent label and a constant score have 1/2 and no gradient.

    Args:
        include_background: Whether label 0 counts like any other.
        sigmoid: Scores are the sigmoid of each channel, for structures that may overlap.
        reduction: `"mean"`, `"sum"` or `"none"`: over samples and labels.

    Shape:
        Logits (B, C, *S) and labels (B, *S) -> a scalar, in [0, 1].

    Raises:
        TypeError: The logits are not floating, or the target is not of an integer type.
        ValueError: The shapes do not belong together.
        RuntimeError: A label is not of 0 ... C - 1.

    Example:
        >>> logits = torch.tensor([[[2.0, 1.0, -1.0], [-2.0, -1.0, 1.0]]])  # B, C, *S = 1, 2, (3,)
        >>> PCCLoss()(logits, torch.tensor([[0, 0, 1]]))
        tensor(0.0029)

    References:
        Wong and Moradi, MLMI 2022, eqs. (3) and (4).
    """

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """(1 - r) / 2 of each sample and label, (B, C)."""
        return (1 - pearson_correlation(statistics)) / 2
