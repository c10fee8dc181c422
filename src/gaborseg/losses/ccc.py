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
    """(1 - c) / 2 with Lin's concordance c of score and label; an absent label has 1/2."""

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """(1 - c) / 2 of each sample and label, (B, C)."""
        return (1 - concordance_correlation(statistics)) / 2
