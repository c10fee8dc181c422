"""The exponential logarithmic loss of small and large structures."""

import torch
from torch import Tensor

from gaborseg.losses.base import SegmentationLoss, positive
from gaborseg.losses.overlap import dice
from gaborseg.losses.slabs import SlabLogLikelihood, sum_by_label
from gaborseg.losses.statistics import check_shapes, label_statistics
from gaborseg.losses.targets import label_map


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
    if logits.is_cuda:
        from gaborseg.losses.on_gpu import gpu_log_likelihood  # slow to import, for GPUs alone

        return gpu_log_likelihood(logits, target)
    return SlabLogLikelihood.apply(logits, target)


def _exponential_logarithm(negative_log: Tensor, gamma: float) -> Tensor:
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


class ExpLogLoss(SegmentationLoss):
    """Exponential logarithmic loss: overlap and cross-entropy, steeper where they are good.

    dice_weight * E_l[(-ln Dice_l)^gamma] + cross_weight * E_x[w_l (-ln p_l(x))^gamma], where l is
    the label of voxel x and w_l = (1 / f_l)^0.5 with f_l the fraction of the voxels that have
    label l. The frequencies are those of the sample, not of a training set, so that the loss needs
    no other data; an absent label has no part in the second term.

    Args:
        gamma: Exponent, positive.
        dice_weight: Weight of the first term, positive.
        cross_weight: Weight of the second term, positive.
        include_background: Whether label 0, and the voxels that have it, count like any other.

    Shape:
        Logits (B, C, *S) and labels (B, *S) -> a scalar, 0 or more.

    Raises:
        TypeError: The logits are not floating, or the target is not of an integer type.
        ValueError: An exponent or weight is not positive, or the shapes do not belong together.
        RuntimeError: A label is not of 0 ... C - 1.

    Example:
        >>> logits = torch.tensor([[[2.0, 1.0, -1.0], [-2.0, -1.0, 1.0]]])  # B, C, *S = 1, 2, (3,)
        >>> ExpLogLoss()(logits, torch.tensor([[0, 0, 1]]))
        tensor(0.5279)

    References:
        Wong et al., 3D segmentation with exponential logarithmic loss for highly unbalanced
        object sizes, MICCAI 2018, eqs. (1) to (3).
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
        self.gamma = positive("gamma", gamma)
        self.dice_weight = positive("dice_weight", dice_weight)
        self.cross_weight = positive("cross_weight", cross_weight)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Weighted sum of both terms, a scalar in at least float32."""
        target = label_map(logits, target)
        overlap, cross = self.terms(logits, target)
        overlap_mean = self.counted(overlap).mean()
        return self.dice_weight * overlap_mean + self.cross_weight * self.voxel_mean(cross, target)

    def per_label(self, logits: Tensor, target: Tensor) -> Tensor:
        """Weighted sum of both terms of each label, (B, C) or (B, C - 1); NaN where absent."""
        target = label_map(logits, target)
        overlap, cross = self.terms(logits, target)
        cross_means = label_means(cross, target, num_classes=logits.shape[1])
        values = self.dice_weight * overlap + self.cross_weight * cross_means
        return self.counted(values).to(cross.dtype)

    def terms(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms before their means: per label, (B, C), and per voxel, (B, *S)."""
        statistics, surprise = label_statistics(logits, target), -log_likelihood(logits, target)
        overlap = _exponential_logarithm(-dice(statistics).log(), self.gamma).to(surprise.dtype)
        label_weights = statistics.mean_y.rsqrt().to(surprise.dtype)
        weights = label_weights.gather(1, target.flatten(1).long()).view_as(surprise)
        return overlap, weights * _exponential_logarithm(surprise, self.gamma)

    def voxel_mean(self, values: Tensor, target: Tensor) -> Tensor:
        """Mean of a (B, *S) map over the voxels that count, then over samples."""
        values = values.flatten(1)
        if self.include_background:
            return values.mean()
        counts = target.flatten(1) > 0
        return ((values * counts).sum(1) / counts.sum(1).clamp_min(1)).mean()
