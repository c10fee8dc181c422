"""What the losses compute: sums per sample and label, and the formulas on those sums.

Pearson's correlation, the concordance correlation, Dice, Jaccard and Tversky know a volume only
through four sums a label (`LabelStatistics`). `label_statistics` takes them slab by slab, and its
backward pass computes the scores again, slab by slab: beside the logits, the largest tensor that
ever exists is the gradient of the logits. No volume is encoded one-hot.

Shape letters: B samples, C labels (background first), `*S` any space of N voxels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

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


SLAB_VOXELS = 2**14
"""Size of a slab on a CPU: with 20 labels it stays in the cache."""

SLAB_VOXELS_CUDA = 2**19
"""Size of a slab on a GPU: enough to fill the device."""


class LabelStatistics(NamedTuple):
    """All that the losses know about scores p and labels y (0 or 1) over N voxels; (B, C) each."""

    voxels: int
    sum_p: Tensor
    sum_pp: Tensor
    sum_py: Tensor
    sum_y: Tensor

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
    """
    check_shapes(logits, target)
    sums = _Sums.apply(logits, target)
    return LabelStatistics(target[0].numel(), *sums.unbind())


def log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probability of each voxel's own label, (B, *S), in at least float32.

    Args:
        logits: (B, C, *S), floating.
        target: Label of each voxel, (B, *S), any integer type, 0 ... C - 1.

    Raises:
        TypeError: The logits are not floating or the target is not of an integer type.
        ValueError: The shapes do not belong together.
    """
    check_shapes(logits, target)
    return _LogLikelihood.apply(logits, target)


def pearson_correlation(statistics: LabelStatistics) -> Tensor:
    """Pearson's r between score and label over space, (B, C) in [-1, 1].

    r = cov(p, y) / sqrt(var p * var y). An absent label, or one that fills the volume, or a score
    that is constant up to the rounding of float32, is unrelated: r = 0, and no gradient.

    References:
        Wong and Moradi, 3D segmentation with fully trainable Gabor kernels and Pearson's
        correlation coefficient, MLMI 2022, eqs. (3) and (4).
    """
    rounding = torch.finfo(torch.float32).eps * statistics.mean_p.detach()
    varies = (statistics.variance_p > rounding.square()) & (statistics.variance_y > 0)
    variances = torch.where(varies, statistics.variance_p * statistics.variance_y, 1)
    covariance = torch.where(varies, statistics.covariance, 0)
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
    totals = _sum_by_label(values, index, num_classes)
    return totals / _sum_by_label(torch.ones_like(values), index, num_classes)


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


class _Sums(torch.autograd.Function):
    """Sums of p, p^2, p y and y over space, (4, B, C).

    Saves its arguments and the softmax's logarithmic denominator, one number a voxel. Each sum is
    linear or quadratic in p, so that its gradient is affine in p, label by label.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        sums, log_totals = [], []
        for logits_slab, target_slab in zip(_slabs(logits, 2), _slabs(target, 1), strict=True):
            probs, log_total = _softmax(logits_slab)
            sums.append(_slab_sums(probs, _flat_index(target_slab)))
            log_totals.append(log_total)
        ctx.save_for_backward(logits, target, *log_totals)
        return torch.stack(sums).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor, None]:
        logits, target, *log_totals = ctx.saved_tensors
        by_p, by_pp, by_py, _ = grad_sums.to(_working_dtype(logits)).unsqueeze(-1).unbind()
        grad = torch.empty_like(logits, memory_format=torch.contiguous_format)
        slabs = zip(_slabs(logits, 2), _slabs(target, 1), log_totals, _slabs(grad, 2), strict=True)
        for logits_slab, target_slab, log_total, grad_slab in slabs:
            probs, index = (_flat(logits_slab) - log_total).exp_(), _flat_index(target_slab)
            own = probs.gather(1, index) * by_py.expand_as(probs).gather(1, index)
            weighted = torch.addcmul(by_p, probs, 2 * by_pp).mul_(probs).scatter_add_(1, index, own)
            shared = weighted.sum(1, keepdim=True)
            torch.addcmul(weighted, probs, shared, value=-1, out=grad_slab.flatten(2))
        return grad, None


class _LogLikelihood(torch.autograd.Function):
    """Log-softmax at the target, (B, *S); saves its arguments and nothing else."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(logits, target)
        slabs = zip(_slabs(logits, 2), _slabs(target, 1), strict=True)
        return torch.cat([_slab_log_likelihood(*slab) for slab in slabs], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_map: Tensor) -> tuple[Tensor, None]:
        logits, target = ctx.saved_tensors
        grad = torch.empty_like(logits, memory_format=torch.contiguous_format)
        slabs = zip(
            _slabs(logits, 2), _slabs(target, 1), _slabs(grad_map, 1), _slabs(grad, 2), strict=True
        )
        for logits_slab, target_slab, map_slab, grad_slab in slabs:
            own = map_slab.flatten(1).unsqueeze(1)
            probs, _ = _softmax(logits_slab)
            slab = probs.mul_(-own).scatter_add_(1, _flat_index(target_slab), own)
            grad_slab.flatten(2).copy_(slab)
        return grad, None


def _slab_sums(probs: Tensor, index: Tensor) -> Tensor:
    """Sums of p, p^2, p y and y, (4, B, C), of scores (B, C, n) and labels (B, 1, n)."""
    num_classes, wide = probs.shape[1], _sum_dtype(probs)
    own, index = probs.gather(1, index).squeeze(1).to(wide), index.squeeze(1)
    probs = probs.to(wide)
    return torch.stack(
        [
            probs.sum(-1),
            torch.linalg.vector_norm(probs, dim=-1).square(),
            _sum_by_label(own, index, num_classes),
            _sum_by_label(torch.ones_like(own), index, num_classes),
        ]
    )


def _slab_log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    log_probs = F.log_softmax(_flat(logits), dim=1)
    return log_probs.gather(1, _flat_index(target)).view(target.shape)


def _sum_by_label(values: Tensor, index: Tensor, num_classes: int) -> Tensor:
    """Sum (B, n) values over the voxels of each label, (B, C)."""
    if values.is_cuda:  # there, scattered additions end in an order that changes from run to run
        return _masked_sum_by_label(values, index, num_classes)
    return values.new_zeros(len(values), num_classes).scatter_add(1, index, values)


def _masked_sum_by_label(values: Tensor, index: Tensor, num_classes: int) -> Tensor:
    labels = torch.arange(num_classes, device=index.device).unsqueeze(-1)
    return torch.where(index.unsqueeze(1) == labels, values.unsqueeze(1), 0).sum(-1)


def _softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of a slab, (B, C, n), and the logarithm of their denominator, (B, 1, n).

    `torch.softmax` takes as long, but keeps the denominator to itself.
    """
    logits = _flat(logits)
    peak = logits.amax(1, keepdim=True)
    probs = (logits - peak).exp_()
    total = probs.sum(1, keepdim=True)
    return probs.div_(total), total.log().add_(peak)


def _flat(logits: Tensor) -> Tensor:
    """Logits of a slab, (B, C, n), in the dtype in which they are worked with."""
    return logits.flatten(2).to(_working_dtype(logits))


def _flat_index(target: Tensor) -> Tensor:
    """Labels of a slab as gather wants them, (B, 1, n)."""
    return target.flatten(1).unsqueeze(1).long()


def _slabs(volume: Tensor, dim: int) -> Iterator[Tensor]:
    """Views of a volume, cut along its first spatial axis `dim`."""
    voxels = SLAB_VOXELS_CUDA if volume.is_cuda else SLAB_VOXELS
    slice_voxels = volume.shape[0] * volume.shape[dim + 1 :].numel()
    return iter(volume.split(max(1, voxels // slice_voxels), dim))


def _working_dtype(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _sum_dtype(logits: Tensor) -> torch.dtype:
    """Float64, in which sums over millions of voxels keep the digits that a variance needs."""
    return torch.float32 if logits.device.type == "mps" else torch.float64
