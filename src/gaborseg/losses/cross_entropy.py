"""Cross-entropy, alone and with Dice."""

from torch import Tensor

from gaborseg.losses.base import StatisticsLoss, positive
from gaborseg.losses.overlap import DiceLoss
from gaborseg.losses.statistics import LabelStatistics


class CrossEntropyLoss(StatisticsLoss):
    """Cross-entropy: mean over voxels of -ln p, p the softmax score of the voxel's own label.

    Without the background, voxels of label 0 are left out; a sample that has no other has 0. Label
    by label it is the mean over the label's own voxels, and NaN where there are none.

    Args:
        include_background: Whether label 0 counts like any other.

    Shape:
        Logits (B, C, *S) and labels (B, *S) -> a scalar, 0 or more.

    Raises:
        TypeError: The logits are not floating, or the target is not of an integer type.
        ValueError: The shapes do not belong together.
        RuntimeError: A label is not of 0 ... C - 1.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 1.0, -1.0], [-2.0, -1.0, 1.0]]])  # B, C, *S = 1, 2, (3,)
        >>> CrossEntropyLoss()(logits, torch.tensor([[0, 0, 1]]))
        tensor(0.0907)

    References:
        Wong and Moradi, MLMI 2022, compare it with the PCC and the Dice loss.
    """

    def __init__(self, *, include_background: bool = True) -> None:
        super().__init__(include_background=include_background)

    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """Mean over the voxels of each label, (B, C); NaN where it is absent."""
        return -statistics.sum_log / statistics.sum_y

    def mean(self, statistics: LabelStatistics) -> Tensor:
        """Mean over the voxels that count, then over samples: a scalar."""
        voxels = self.counted(statistics.sum_y).sum(1).clamp_min(1)
        return (-self.counted(statistics.sum_log).sum(1) / voxels).mean()


class DiceCELoss(StatisticsLoss):
    """Dice loss plus cross-entropy: dice_weight * L_dice + cross_weight * L_cross_entropy.

    See `DiceLoss` and `CrossEntropyLoss`. Label by label it is NaN where a label is absent.

    Args:
        dice_weight: Weight of the Dice loss, positive.
        cross_weight: Weight of the cross-entropy, positive.
        include_background: Whether label 0 counts like any other.

    Shape:
        Logits (B, C, *S) and labels (B, *S) -> a scalar, 0 or more.

    Raises:
        TypeError: The logits are not floating, or the target is not of an integer type.
        ValueError: A weight is not positive, or the shapes do not belong together.
        RuntimeError: A label is not of 0 ... C - 1.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 1.0, -1.0], [-2.0, -1.0, 1.0]]])  # B, C, *S = 1, 2, (3,)
        >>> DiceCELoss()(logits, torch.tensor([[0, 0, 1]]))
        tensor(0.1864)

    References:
        Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image
        segmentation, Nature Methods 2021.
    """

    def __init__(
        self,
        dice_weight: float = 1.0,
        cross_weight: float = 1.0,
        *,
        include_background: bool = True,
    ) -> None:
        super().__init__(include_background=include_background)
        self.dice_weight = positive("dice_weight", dice_weight)
        self.cross_weight = positive("cross_weight", cross_weight)
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
