"""Losses of overlap: Dice (eq. 5), Jaccard, Tversky."""

from torch import Tensor

from gaborseg.losses.base import Reduction, StatisticsLoss, positive
from gaborseg.losses.statistics import LabelStatistics

_EPSILON = 1e-7
"""Voxels added to both sides of an overlap ratio, so that empty against empty is 1 (eq. 5)."""


def dice(statistics: LabelStatistics, epsilon: float = _EPSILON) -> Tensor:
    """Soft Dice coefficient, (B, C) in [0, 1]: (2 sum py + eps) / (sum p + sum y + eps).

    Args:
        statistics: Sums over space.
        epsilon: Voxels added to both sides.

    References:
        Wong and Moradi, MLMI 2022, eq. (5).
    """
    return (2 * statistics.sum_py + epsilon) / (statistics.sum_p + statistics.sum_y + epsilon)


def jaccard(statistics: LabelStatistics, epsilon: float = _EPSILON) -> Tensor:
    """Soft Jaccard index, (B, C) in [0, 1]: intersection over union.

    Args:
        statistics: Sums over space.
        epsilon: Voxels added to both sides.
    """
    return tversky(statistics, alpha=1, beta=1, epsilon=epsilon)


def tversky(
    statistics: LabelStatistics, alpha: float, beta: float, epsilon: float = _EPSILON
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


class DiceLoss(StatisticsLoss):
    """Dice loss: mean over labels of 1 - (2 sum py + eps) / (sum p + sum y + eps).

    p is the softmax score, y the truth, eps 1e-7 voxels. 0 is perfect, 1 no overlap; an absent
    label has nearly 1 as soon as anything is predicted.

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
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 1.0, -1.0], [-2.0, -1.0, 1.0]]])  # B, C, *S = 1, 2, (3,)
        >>> DiceLoss()(logits, torch.tensor([[0, 0, 1]]))
        tensor(0.0957)

    References:
        Wong and Moradi, MLMI 2022, eq. (5).
    """

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """1 - Dice of each sample and label, (B, C)."""
        return 1 - dice(statistics)


class JaccardLoss(StatisticsLoss):
    """Jaccard loss: mean over labels of 1 - intersection over union.

    The intersection is sum py, the union sum p + sum y - sum py, both plus 1e-7 voxels; p is the
    softmax score, y the truth. 0 is perfect, 1 no overlap.

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
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 1.0, -1.0], [-2.0, -1.0, 1.0]]])  # B, C, *S = 1, 2, (3,)
        >>> JaccardLoss()(logits, torch.tensor([[0, 0, 1]]))
        tensor(0.1732)

    References:
        Rahman and Wang, Optimizing intersection-over-union in deep neural networks for image
        segmentation, ISVC 2016.
    """

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """1 - Jaccard of each sample and label, (B, C)."""
        return 1 - jaccard(statistics)


class TverskyLoss(StatisticsLoss):
    """Tversky loss: mean over labels of 1 - TP / (TP + alpha FP + beta FN).

    With softmax score p and truth y: TP = sum py, FP = sum p - TP, FN = sum y - TP, and 1e-7 voxels
    added to both sides. 0 is perfect, 1 no overlap; alpha = beta = 1/2 is Dice, 1 is Jaccard.

    Args:
        alpha: Weight of false positives, positive.
        beta: Weight of false negatives, positive.
        include_background: Whether label 0 counts like any other.
        sigmoid: Scores are the sigmoid of each channel, for structures that may overlap.
        reduction: `"mean"`, `"sum"` or `"none"`: over samples and labels.

    Shape:
        Logits (B, C, *S) and labels (B, *S) -> a scalar, in [0, 1].

    Raises:
        TypeError: The logits are not floating, or the target is not of an integer type.
        ValueError: A weight is not positive, or the shapes do not belong together.
        RuntimeError: A label is not of 0 ... C - 1.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 1.0, -1.0], [-2.0, -1.0, 1.0]]])  # B, C, *S = 1, 2, (3,)
        >>> TverskyLoss()(logits, torch.tensor([[0, 0, 1]]))
        tensor(0.0950)

    References:
        Salehi et al., Tversky loss function for image segmentation using 3D fully convolutional
        deep networks, MLMI 2017.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        *,
        include_background: bool = True,
        sigmoid: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            include_background=include_background, sigmoid=sigmoid, reduction=reduction
        )
        self.alpha = positive("alpha", alpha)
        self.beta = positive("beta", beta)

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """1 - Tversky of each sample and label, (B, C)."""
        return 1 - tversky(statistics, self.alpha, self.beta)
