"""Fitting the lines of a calibrated decision, over batches and processes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class _AffineMap(NamedTuple):
    """y is about scale * p + offset, label by label; (C,) float64 each."""

    scale: Tensor
    offset: Tensor


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
