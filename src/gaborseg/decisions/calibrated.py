"""The decision that fits a correlation: each label's score on the scale of the label it predicts.

Pearson's correlation does not change when a score p becomes a p + b, so a network trained with it
may rank the voxels of a label well with scores that are far too small to win an argmax. What it
learns is the best *line* through p; the decision is therefore the argmax of those lines.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric


class _AffineMap(NamedTuple):
    """y is about scale * p + offset, label by label; (C,) float64 each."""

    scale: Tensor
    offset: Tensor


def calibrated_scores(probs: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """The line ``scale * p + offset`` of each label at each voxel, (B, C, *S).

    Args:
        probs: Scores, (B, C, *S).
        scale: Slope of each label, (C,).
        offset: Offset of each label, (C,).
    """
    shape = (-1, *[1] * (probs.ndim - 2))
    return torch.addcmul(offset.to(probs).view(shape), probs, scale.to(probs).view(shape))


class AffineCalibration(Metric):
    """Fits y ~ scale * p + offset by least squares, label by label, over many batches.

    The slope is held at 0 or above. Where the scores say nothing about a label, because they are
    constant up to the rounding of float32, fall where the label is, or because the label does not
    occur, the best such line is flat at the label's frequency: its score loses against any label
    that is more likely at a voxel, in particular against the background where nothing is found. A
    label of which no voxel was seen keeps its score.

    Args:
        num_classes: Number of labels, background included.
    """

    is_differentiable = False
    full_state_update = False

    voxels: Tensor
    sums: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros(4, num_classes, dtype=torch.float64)
        counts = torch.zeros(num_classes, dtype=torch.int64)
        self.add_state("voxels", default=counts, dist_reduce_fx="sum")
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")

    def update(self, probs: Tensor, target: Tensor, unlabelled: Tensor | None = None) -> None:
        """Add the voxels of one batch.

        Args:
            probs: Scores, (B, C, *S), floating.
            target: True labels, (B, *S), any integer type.
            unlabelled: Labels that were not looked for, (C,) bool: neither they nor the background,
                in which they are, are fitted on this batch.

        Raises:
            ValueError: The shapes do not belong together.
        """
        if target.shape != probs.shape[:1] + probs.shape[2:] or probs.shape[1] != self.num_classes:
            raise ValueError(
                f"probs must be (B, {self.num_classes}, *S) and target (B, *S), "
                f"got {tuple(probs.shape)} and {tuple(target.shape)}"
            )
        counted = torch.ones(self.num_classes, dtype=torch.bool, device=probs.device)
        if unlabelled is not None and unlabelled.any():
            counted &= ~unlabelled
            counted[0] = False
        self.voxels += target.numel() * counted
        for label in counted.nonzero().flatten().tolist():
            self.sums[:, label] += _sums(probs[:, label].double(), target == label)

    def compute(self) -> _AffineMap:
        """Slope and offset of each label, (C,) float64 each."""
        mean_p, mean_pp, mean_py, mean_y = self.sums / self.voxels.clamp_min(1)
        variance = mean_pp - mean_p.square()
        rounding = torch.finfo(torch.float32).eps * mean_p
        varies = variance > rounding.square()
        slope = (mean_py - mean_p * mean_y) / torch.where(varies, variance, 1)
        scale = torch.where(varies, slope, 0).clamp_min(0)
        scale = torch.where(self.voxels > 0, scale, 1)
        return _AffineMap(scale, mean_y - scale * mean_p)


def _sums(score: Tensor, inside: Tensor) -> Tensor:
    """Sums of p, p^2, p y and y over one label's scores, (4,) float64."""
    hits = torch.where(inside, score, 0)
    return torch.stack([score.sum(), score.square().sum(), hits.sum(), inside.sum().double()])


class Calibrated(nn.Module):
    """The argmax of ``scale * p + offset``, fitted by least squares on validation subjects.

    Until it is fitted it decides as ``Argmax`` does. The maps are buffers, so that they travel in
    checkpoints.

    Args:
        num_classes: Number of classes C, background included.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(num_classes))
        self.register_buffer("offset", torch.zeros(num_classes))
        self.calibration = AffineCalibration(num_classes)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the label map (B, *S) of logits (B, C, *S)."""
        return self.scores(logits).argmax(dim=1)

    def scores(self, logits: Tensor) -> Tensor:
        """Return ``scale * p + offset``, (B, C, *S), the largest of which decides."""
        return calibrated_scores(logits.float().softmax(dim=1), self.scale, self.offset)

    def observe(self, logits: Tensor, target: Tensor, unlabelled: Tensor | None = None) -> None:
        """Collect the statistics of one batch.

        Args:
            logits: (B, C, *S).
            target: (B, *S).
            unlabelled: Labels that were not looked for in the batch, (C,) bool.
        """
        self.calibration.update(logits.float().softmax(dim=1), target, unlabelled)

    def fit(self) -> None:
        """Set the maps from all that was observed, on every process, and forget it."""
        scale, offset = self.calibration.compute()
        self.scale.copy_(scale)
        self.offset.copy_(offset)
        self.calibration.reset()
