"""The concordance-correlation loss: correlation that also asks for scale and mean."""

import torch
from torch import Tensor

from gaborseg.losses.base import StatisticsLoss
from gaborseg.losses.statistics import LabelStatistics


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


class CCCLoss(StatisticsLoss):
    """Concordance-correlation loss: mean over labels of (1 - c) / 2.

    c = 2 cov(p, y) / (var p + var y + (mean p - mean y)^2) between softmax score p and truth y.
    Unlike with Pearson's r, scale and mean count too. 0 is perfect, 1/2 unrelated, 1 inverted; an
    absent label has 1/2 and no gradient.

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
        >>> CCCLoss()(logits, torch.tensor([[0, 0, 1]]))
        tensor(0.0129)

    References:
        Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics 1989.
    """

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """(1 - c) / 2 of each sample and label, (B, C)."""
        return (1 - concordance_correlation(statistics)) / 2
